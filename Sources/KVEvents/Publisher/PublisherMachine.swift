import DequeModule
package import KVRouter

/// What a publisher knows and has still to send, for one worker and rank.
///
/// Events get their id when the engine reports them and wait, in order and bounded, until they are sent. While routers cannot be
/// reached they are kept up to the bound; beyond it all of them are given up, and once routers can be reached again a resync replaces
/// them: `cleared`, then what the cache holds. Meanwhile no ids are used, so what was given up cannot be confused with it.
package struct PublisherMachine: Sendable {
    package let configuration: PublisherConfiguration
    package private(set) var present = PresentBlocks()
    package private(set) var statistics = PublisherStatistics()
    private var lastID: UInt64 = 0
    /// The newest events, without a gap in their ids.
    private var recent: Deque<RouterEvent> = []
    private var queue: Deque<RouterEvent> = []
    private var queuedBytes = 0
    private var isUp: Bool
    private var needsResync = false
    /// Whether what sends has been told that there is something, and has not looked yet.
    private var isAwake = false

    package init(_ configuration: PublisherConfiguration, isUp: Bool = true) {
        self.configuration = configuration
        self.isUp = isUp
    }

    // MARK: The engine

    /// What the engine and the sending loop have to do after an event.
    package struct Taken: Hashable, Sendable {
        /// The loop has something to send and does not know it yet.
        package var wakesLoop: Bool
        /// More is waiting than is good: the engine should wait if it can.
        package var isCongested: Bool
    }

    /// Takes what the engine has done.
    ///
    /// - Parameter change: of any size; a large one becomes several events.
    /// - Returns: what to do next.
    package mutating func publish(_ change: KVEvent.Change) -> Taken {
        self.present.apply(change)
        self.statistics.changes += 1
        if self.configuration.mode != .none, !self.needsResync {
            let limit = self.configuration.blocksPerEvent
            if change.blockCount <= limit {
                self.enqueue(change)
            } else {
                for part in change.parts(of: limit) { self.enqueue(part) }
            }
            if self.isOverBound { self.giveUpQueue() }
        }
        return Taken(wakesLoop: self.wake(), isCongested: self.isCongested)
    }

    /// Whether so much waits, although routers can be reached, that the engine should pause.
    package var isCongested: Bool {
        self.isUp && !self.needsResync
            && (self.queue.count > self.configuration.maximumQueuedEvents / 2
                || self.queuedBytes > self.configuration.maximumQueuedBytes / 2)
    }

    private var isOverBound: Bool {
        self.queue.count > self.configuration.maximumQueuedEvents
            || self.queuedBytes > self.configuration.maximumQueuedBytes
    }

    private mutating func enqueue(_ change: KVEvent.Change) {
        self.lastID += 1
        let event = RouterEvent(
            worker: self.configuration.worker,
            event: KVEvent(id: self.lastID, rank: self.configuration.rank, change: change)
        )
        self.recent.append(event)
        if self.recent.count > self.configuration.recentEvents { self.recent.removeFirst() }
        self.queue.append(event)
        self.queuedBytes += event.estimatedSize
    }

    private mutating func giveUpQueue() {
        self.statistics.givenUp += self.queue.count
        self.queue.removeAll()
        self.queuedBytes = 0
        self.needsResync = true
    }

    // MARK: The connection

    /// Routers can or cannot be reached from now on.
    ///
    /// - Returns: whether the loop has to be woken.
    package mutating func linkChanged(isUp: Bool) -> Bool {
        self.isUp = isUp
        return self.wake()
    }

    /// Sends the newest event again if nothing waits.
    ///
    /// Routers drop what they have; one that was away when it was sent finds the gap by it.
    ///
    /// - Returns: whether the loop has to be woken.
    package mutating func repeatNewest() -> Bool {
        // Who reads a stream applies what comes, whatever its id, and has missed nothing.
        guard self.configuration.mode == .localIndex, self.queue.isEmpty, !self.needsResync,
            let newest = self.recent.last
        else { return false }
        self.statistics.repeated += 1
        self.queue.append(newest)
        self.queuedBytes += newest.estimatedSize
        return self.wake()
    }

    private mutating func wake() -> Bool {
        guard self.isUp, !self.isAwake, self.needsResync || !self.queue.isEmpty else { return false }
        self.isAwake = true
        return true
    }

    // MARK: The loop that sends

    /// What to send next; empty when there is nothing to do until the loop is woken.
    package mutating func takeBatch() -> [RouterEvent] {
        guard self.isUp else {
            self.isAwake = false
            return []
        }
        if self.needsResync { self.beginResync() }
        var batch: [RouterEvent] = []
        var size = 0
        while batch.count < self.configuration.eventsPerMessage, let next = self.queue.first {
            let nextSize = next.estimatedSize
            guard batch.isEmpty || size + nextSize <= Self.largestBatch else { break }
            size += nextSize
            batch.append(next)
            self.queue.removeFirst()
        }
        self.queuedBytes -= size
        self.statistics.sent += batch.count
        self.isAwake = !batch.isEmpty
        return batch
    }

    /// What could not be sent goes back to where it was.
    package mutating func giveBack(_ batch: ArraySlice<RouterEvent>) {
        self.statistics.sent -= batch.count
        // Given up meanwhile: a resync will say it all.
        guard !self.needsResync else { return }
        self.queue.prepend(contentsOf: batch)
        self.queuedBytes += batch.reduce(0) { $0 + $1.estimatedSize }
        if self.isOverBound { self.giveUpQueue() }
    }

    /// Routers may have lost what was sent, or have it in another order: a resync replaces everything.
    ///
    /// - Parameter batch: what was to be sent last.
    package mutating func lose(_ batch: [RouterEvent]) {
        self.statistics.sent -= batch.count
        self.statistics.givenUp += batch.count
        self.giveUpQueue()
    }

    /// Messages of a NATS server end at 1 MiB unless it is told otherwise.
    private static let largestBatch = 512 * 1024

    private mutating func beginResync() {
        self.needsResync = false
        self.statistics.resyncs += 1
        self.recent.removeAll()
        self.enqueue(.cleared)
        // All of it, whatever the bound says: it is what routers must know.
        for change in self.present.stores(upTo: self.configuration.blocksPerEvent) { self.enqueue(change) }
    }

    // MARK: Queries

    /// How a query is answered.
    package enum QueryOutcome: Equatable, Sendable {
        case answer(KVQueryAnswer)
        /// With everything that is in this index; takes time, so not here.
        case dump(PresentBlocks, last: UInt64)
    }

    /// Answers a router that has missed events, or is new.
    package func answer(_ query: KVQuery) -> QueryOutcome {
        let worker = self.configuration.worker
        guard query.worker == worker else {
            return .answer(.error("this is worker \(worker), not \(query.worker); ask the instance of that id"))
        }
        guard query.rank == nil || query.rank == self.configuration.rank else {
            return .answer(
                .error("this is rank \(self.configuration.rank) of worker \(worker), not \(query.rank ?? 0)")
            )
        }
        guard let start = query.start else { return self.wholeState }
        if let end = query.end, end < start { return .answer(.invalidRange(start: start, end: end)) }
        guard start <= self.lastID else {
            return .answer(.tooNew(start: start, end: query.end ?? self.lastID, newest: self.lastID))
        }
        guard !self.needsResync, let first = self.recent.first?.event.id, start >= first else { return self.wholeState }
        return .answer(.tail(Array(self.recent.dropFirst(Int(start - first))), last: self.lastID))
    }

    private var wholeState: QueryOutcome {
        let isComplete = !self.needsResync && self.recent.count == Int(exactly: self.lastID)
        // Dynamo answers with its events too while it has them all.
        if isComplete, !self.recent.contains(where: { $0.event.change == .cleared }) {
            return .answer(.state(Array(self.recent), last: self.lastID))
        }
        return .dump(self.present, last: self.lastID)
    }
}

/// Counters of a publisher since its beginning.
package struct PublisherStatistics: Hashable, Sendable {
    /// What the engine has reported.
    package var changes = 0
    /// Events that were sent.
    package var sent = 0
    /// Events that were not sent, because there were too many; a resync has replaced them.
    package var givenUp = 0
    /// How often everything was sent anew.
    package var resyncs = 0
    /// Events that were sent again for routers which may have missed them.
    package var repeated = 0

    package init() {}
}
