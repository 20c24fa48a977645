import DequeModule

/// Keeps a ``RadixTree`` true to what workers publish: ids, gaps and recovery per rank (contract `kv-events.md`, section 3).
///
/// A rank is *unknown* until a first answer or `cleared`, then *live*; from a question to the end of its answer it is
/// *asking* or *restoring*, and live events are held back: only their highest id is kept, and the tail is asked for afterwards.
///
///     unknown --event, endpoint--> asking --answer--> restoring --last slice--> live
///                                    ^  failed 8 times -> unknown                | gap, higher id seen
///                                    +-------------------------------------------+
///
/// No I/O and no clock: the driver performs the actions. It hands in events of workers that discovery knows only.
package struct Indexer: Sendable {
    /// How ids of events are taken.
    package enum Numbering: Hashable, Sendable {
        /// NATS core and ZMQ: ids count by one, and a gap is asked for.
        case contiguous
        /// JetStream: the stream is complete, ids are not looked at.
        case ignored
    }

    /// Attempts of a question, the first included.
    package static let attempts = 8
    /// Attempts of a question about events that the worker says it does not have: meanwhile live ones are held back, so not many.
    package static let attemptsAboutMissing = 4
    /// The pause after the first failed attempt; each further one is twice as long.
    package static let firstPause = Duration.milliseconds(200)

    package private(set) var tree = RadixTree()
    package private(set) var counters = IndexerCounters()

    private let numbering: Numbering
    private var tracks: [WorkerRank: Track] = [:]
    private var questions: UInt64 = 0

    private struct Track {
        var position = Position.unknown
        var phase = Phase.live
        /// The highest id of an event that was held back.
        var highest: UInt64?
        /// Whether discovery has the rank's query endpoint.
        var hasEndpoint = false

        var isLive: Bool {
            if case .live = self.phase { true } else { false }
        }
    }

    private enum Position: Hashable {
        case unknown
        /// What is in the tree is right, but the worker did not say which event was its last.
        case unnumbered
        case at(UInt64)
    }

    private enum Phase {
        case live
        case asking(IndexQuery, attempt: Int)
        case restoring(Deque<RouterEvent>, then: Position)
    }

    package init(numbering: Numbering = .contiguous) { self.numbering = numbering }

    /// Ranks whose first state is being asked for: a router that starts late is ready when there are none.
    ///
    /// One that was given up is not waited for.
    package var awaited: [WorkerRank] {
        self.tracks.filter { $0.value.position == .unknown && !$0.value.isLive }.keys.sorted()
    }

    /// Ranks that have an open question.
    package var recovering: [WorkerRank] { self.tracks.filter { !$0.value.isLive }.keys.sorted() }

    // MARK: Discovery

    /// A rank's query endpoint was discovered: it is asked for everything at once.
    package mutating func found(_ rank: WorkerRank) -> [IndexerAction] {
        let known = self.tracks[rank]?.hasEndpoint ?? false
        self.tracks[rank, default: Track()].hasEndpoint = true
        guard self.numbering == .contiguous, !known, self.tracks[rank]?.isLive ?? true else { return [] }
        return [self.ask(rank, from: nil)]
    }

    /// Events of a rank may have been missed without a gap to show it, because nothing came after them: it is asked for everything.
    package mutating func check(_ rank: WorkerRank) -> [IndexerAction] {
        guard self.numbering == .contiguous, self.tracks[rank]?.hasEndpoint ?? false else { return [] }
        // An answer that is on its way may be older than what was missed.
        self.tracks[rank]?.position = .unknown
        return [self.ask(rank, from: nil)]
    }

    /// A rank's query endpoint is gone; with the last one of a worker its blocks go too.
    package mutating func lost(_ rank: WorkerRank) {
        guard self.tracks[rank]?.hasEndpoint ?? false else { return }
        self.tracks[rank]?.hasEndpoint = false
        guard !self.tracks.contains(where: { $0.key.worker == rank.worker && $0.value.hasEndpoint }) else { return }
        self.gone(rank.worker)
    }

    /// A worker is gone from discovery; a later one with its id starts anew.
    package mutating func gone(_ worker: UInt64) {
        self.tree.remove(worker: worker)
        for rank in self.tracks.keys where rank.worker == worker { self.tracks[rank] = nil }
    }

    // MARK: Events

    /// A live event.
    package mutating func apply(_ event: RouterEvent) -> [IndexerAction] {
        guard self.numbering == .contiguous else { return self.enter(event) }
        let rank = WorkerRank(worker: event.worker, rank: event.event.rank)
        let id = event.event.id
        if event.event.change == .cleared { return self.clear(rank, event) }
        let track = self.tracks[rank, default: Track()]
        guard track.isLive else {
            self.counters.held += 1
            self.tracks[rank]?.highest = max(track.highest ?? 0, id)
            return []
        }
        switch track.position {
        case .unknown:
            self.counters.held += 1
            let action = self.ask(rank, from: nil)
            self.tracks[rank]?.highest = id
            return [action]
        case .unnumbered:
            self.tracks[rank]?.position = .at(id)
            return self.enter(event)
        case .at(let last) where id <= last:
            self.counters.duplicates += 1
            return []
        case .at(let last) where id - 1 == last:
            self.tracks[rank]?.position = .at(id)
            return self.enter(event)
        case .at(let last):
            self.counters.gaps += 1
            let action = self.ask(rank, from: last + 1)
            self.tracks[rank]?.highest = id
            return [.report(.gap(rank, missing: last + 1...id - 1)), action]
        }
    }

    /// Whatever was asked is older than this, or comes again: `cleared` ends an open question.
    private mutating func clear(_ rank: WorkerRank, _ event: RouterEvent) -> [IndexerAction] {
        let held = self.tracks[rank]?.highest
        let wasOpen = !(self.tracks[rank]?.isLive ?? true)
        self.tracks[rank, default: Track()].phase = .live
        self.tracks[rank]?.position = .at(event.event.id)
        self.tracks[rank]?.highest = nil
        var actions = self.enter(event)
        for other in self.tracks.keys.sorted() where other.worker == rank.worker && other != rank {
            actions += self.emptied(other)
        }
        // An event above this one was held back, so this one came late: only the worker knows what is left.
        guard wasOpen, let held, held > event.event.id else { return actions }
        let action = self.ask(rank, from: event.event.id + 1)
        self.tracks[rank]?.highest = held
        return actions + [action]
    }

    /// A `cleared` of another rank of the worker has emptied this one too, as in Dynamo; what it really holds it is asked.
    private mutating func emptied(_ rank: WorkerRank) -> [IndexerAction] {
        guard let track = self.tracks[rank] else { return [] }
        // An answer with everything that is still to come says it anyway.
        if case .asking(let query, _) = track.phase, query.from == nil { return [] }
        // A rest of an answer has no parents now; a rank that cannot be asked shows by its next event what it has.
        guard track.hasEndpoint || !track.isLive else { return [] }
        self.tracks[rank]?.position = .unknown
        return [self.ask(rank, from: nil)]
    }

    private mutating func enter(_ event: RouterEvent) -> [IndexerAction] {
        let unknown = self.tree.apply(event)
        let rank = WorkerRank(worker: event.worker, rank: event.event.rank)
        switch unknown {
        case .parent: self.counters.unknownParents += 1
        case .blocks(let blocks):
            self.counters.applied += 1
            self.counters.unknownRemovals += blocks.count
        case nil: self.counters.applied += 1
        }
        return unknown.map { [.report(.unknown(rank, event: event.event.id, $0))] } ?? []
    }

    // MARK: Answers

    /// The worker's answer to a question.
    package mutating func answered(_ query: IndexQuery, _ answer: IndexAnswer) -> [IndexerAction] {
        guard let track = self.tracks[query.rank], case .asking(query, _) = track.phase else {
            return [.report(.late(query))]
        }
        switch answer {
        case .dump(let events, let last):
            self.tree.remove(rank: query.rank)
            return self.begin(query.rank, events, then: self.position(after: query, last))
        case .events(let events, let last):
            return self.answered(query, track, events, last ?? events.last?.event.id)
        case .tooNew(let newest): return self.answered(query, track, newest: newest)
        case .invalidRange:
            guard query.from != nil else {
                return self.failed(query, reason: "it calls the range of all events invalid")
            }
            return [self.ask(query.rank, from: nil)]
        case .error(let text): return self.failed(query, reason: text)
        }
    }

    /// The question could not be asked, or had no answer.
    ///
    /// - Parameters:
    ///   - query: as it was in the action.
    ///   - reason: for the report.
    /// - Returns: the next attempt; after the last one the rank's blocks are forgotten, for nobody knows whether they are still there.
    package mutating func failed(_ query: IndexQuery, reason: String) -> [IndexerAction] {
        guard let track = self.tracks[query.rank], case .asking(query, let attempt) = track.phase else {
            return [.report(.late(query))]
        }
        guard attempt < Self.attempts else {
            self.counters.failures += 1
            self.tree.remove(rank: query.rank)
            self.tracks[query.rank] = Track(hasEndpoint: track.hasEndpoint)
            return [.report(.gaveUp(query, reason: reason))]
        }
        self.tracks[query.rank]?.phase = .asking(query, attempt: attempt + 1)
        return [
            .report(.failed(query, reason: reason)), .query(query, after: Self.firstPause * (1 << (attempt - 1))),
        ]
    }

    /// Applies a slice of an answer.
    ///
    /// - Parameters:
    ///   - rank: whose answer.
    ///   - blocks: how many blocks make a slice; a single event is not divided.
    /// - Returns: `.restore` while there is more.
    package mutating func restore(_ rank: WorkerRank, blocks: Int = 512) -> [IndexerAction] {
        guard case .restoring(var events, let position)? = self.tracks[rank]?.phase else { return [] }
        // Taken out, so that the queue is not copied when its front goes.
        self.tracks[rank]?.phase = .live
        var actions: [IndexerAction] = []
        var left = blocks
        while left > 0, let event = events.popFirst() {
            left -= max(1, event.event.change.count)
            actions += self.enter(event)
        }
        guard events.isEmpty else {
            self.tracks[rank]?.phase = .restoring(events, then: position)
            return actions + [.restore(rank)]
        }
        return actions + self.finish(rank, position)
    }

    private mutating func answered(
        _ query: IndexQuery,
        _ track: Track,
        _ events: [RouterEvent],
        _ last: UInt64?
    ) -> [IndexerAction] {
        guard let from = query.from else {
            // The worker's log since its start: it replaces what is known.
            self.tree.remove(rank: query.rank)
            return self.begin(query.rank, events, then: self.position(after: query, last))
        }
        let tail = events.filter { $0.event.id >= from }
        guard let first = tail.first, let last, last >= from else {
            return self.failed(query, reason: "its answer has no event from \(from) on")
        }
        let hasHole = zip(tail, tail.dropFirst()).contains {
            $0.event.id >= $1.event.id || $1.event.id - 1 != $0.event.id
        }
        guard first.event.id == from, !hasHole else { return [self.ask(query.rank, from: nil)] }
        return self.begin(query.rank, tail, then: .at(last))
    }

    private mutating func answered(_ query: IndexQuery, _ track: Track, newest: UInt64) -> [IndexerAction] {
        guard case .at(let applied) = track.position, case .asking(_, let attempt) = track.phase else {
            return self.failed(query, reason: "its newest event is \(newest)")
        }
        if newest < applied {
            return [.report(.restarted(query.rank, newest: newest)), self.ask(query.rank, from: nil)]
        }
        // The event that showed the gap may not have reached the worker's own index yet; if it never does, it never was.
        guard attempt < Self.attemptsAboutMissing else {
            self.tracks[query.rank]?.highest = nil
            return self.finish(query.rank, .at(applied))
        }
        return self.failed(query, reason: "its newest event is still \(newest)")
    }

    private func position(after query: IndexQuery, _ last: UInt64?) -> Position {
        if let last { return .at(last) }
        // What was seen before the question is in its answer.
        if let from = query.from, from > 0 { return .at(from - 1) }
        return .unnumbered
    }

    private mutating func begin(_ rank: WorkerRank, _ events: [RouterEvent], then position: Position) -> [IndexerAction]
    {
        // An answer is about the rank that was asked, whatever it says.
        let own = events.filter { $0.worker == rank.worker && $0.event.rank == rank.rank }
        self.tracks[rank]?.phase = .restoring(Deque(own), then: position)
        return own.isEmpty ? self.restore(rank) : [.restore(rank)]
    }

    private mutating func finish(_ rank: WorkerRank, _ position: Position) -> [IndexerAction] {
        let highest = self.tracks[rank]?.highest
        let before = self.tracks[rank]?.position
        self.counters.recoveries += 1
        self.tracks[rank]?.position = position
        self.tracks[rank]?.phase = .live
        self.tracks[rank]?.highest = nil
        guard case .at(let last) = position else { return [.report(.recovered(rank, last: nil))] }
        // A worker whose answers never reach an id does not have it: asking again would go on for ever.
        let isStuck = if case .at(let old) = before { old >= last } else { false }
        guard let highest, highest > last, !isStuck else { return [.report(.recovered(rank, last: last))] }
        let action = self.ask(rank, from: last + 1)
        self.tracks[rank]?.highest = highest
        return [action]
    }

    private mutating func ask(_ rank: WorkerRank, from: UInt64?) -> IndexerAction {
        self.questions += 1
        let query = IndexQuery(rank: rank, from: from, number: self.questions)
        self.tracks[rank, default: Track()].phase = .asking(query, attempt: 1)
        return .query(query, after: .zero)
    }

    // MARK: Snapshots

    /// Takes over a router's snapshot: its events go into the tree as they are.
    package mutating func restore(_ snapshot: [RouterEvent]) -> [IndexerAction] { snapshot.flatMap { self.enter($0) } }

    /// Gives back memory of workers that are gone.
    ///
    /// - Parameter slots: how much to look at in this call.
    /// - Returns: whether there is more to do.
    package mutating func sweep(slots: Int) -> Bool { self.tree.sweep(slots: slots) }
}

extension KVEvent.Change {
    /// Blocks that it names.
    var count: Int {
        switch self {
        case .stored(_, let blocks): blocks.count
        case .removed(let blocks): blocks.count
        case .cleared: 0
        }
    }
}
