import Synchronization

/// The index of a router: events go in and lookups are answered from any thread.
///
/// Workers are spread over shards, each an ``Indexer`` behind a lock that is held for one event, one slice of an answer or one
/// lookup in that shard. The actions that calls return are the caller's to perform; answers are applied here in slices, with a
/// pause for others between them.
package final class KVIndexer: Sendable {
    private final class Shard: Sendable {
        let indexer: Mutex<Indexer>
        init(_ numbering: Indexer.Numbering) { self.indexer = Mutex(Indexer(numbering: numbering)) }
    }

    private let shards: [Shard]

    /// - Parameters:
    ///   - numbering: whether ids of events are checked.
    ///   - shards: how many parts can be changed at the same time; Dynamo's `--router-event-threads` is 4.
    package init(numbering: Indexer.Numbering = .contiguous, shards: Int = 4) {
        self.shards = (0..<max(1, shards)).map { _ in Shard(numbering) }
    }

    // MARK: Lookup

    /// How much of a prompt each worker has.
    ///
    /// - Parameter tokens: the hashes of the prompt's full blocks.
    /// - Returns: every rank that has at least the first block.
    package func matches(_ tokens: [TokensHash]) -> [WorkerRank: Overlap] {
        var all: [WorkerRank: Overlap] = [:]
        for shard in self.shards {
            let found = shard.indexer.withLock { $0.tree.matches(tokens) }
            if all.isEmpty { all = found } else { all.merge(found) { first, _ in first } }
        }
        return all
    }

    package var counters: IndexerCounters {
        self.shards.reduce(IndexerCounters()) { sum, shard in sum + shard.indexer.withLock(\.counters) }
    }

    /// Blocks that each rank holds.
    package var blockCounts: [WorkerRank: Int] {
        self.shards.reduce(into: [:]) { counts, shard in
            counts.merge(shard.indexer.withLock(\.tree.blockCounts)) { first, _ in first }
        }
    }

    /// Nodes of the trees, and the bytes that they take, about.
    ///
    /// A prefix that workers of several shards have is a node in each of them.
    package var size: (nodes: Int, bytes: Int) {
        self.shards.reduce((0, 0)) { sum, shard in
            shard.indexer.withLock { (sum.0 + $0.tree.nodeCount, sum.1 + $0.tree.memory) }
        }
    }

    /// Ranks whose first state has not arrived yet: a router that starts late is ready when there are none.
    package var awaited: [WorkerRank] { self.shards.flatMap { $0.indexer.withLock(\.awaited) }.sorted() }

    /// Ranks that have an open question.
    package var recovering: [WorkerRank] { self.shards.flatMap { $0.indexer.withLock(\.recovering) }.sorted() }

    // MARK: Events

    /// Applies one live event.
    package func apply(_ event: RouterEvent) -> [IndexerAction] { self.change(event.worker) { $0.apply(event) } }

    /// Applies events until they end.
    ///
    /// - Parameters:
    ///   - events: in the order of arrival.
    ///   - perform: is handed what is to be done; it must not wait for the answers to questions.
    /// - Throws: what the events throw.
    package func apply<Events: AsyncSequence>(
        _ events: Events,
        perform: (IndexerAction) -> Void
    ) async throws(Events.Failure) where Events.Element == RouterEvent {
        var iterator = events.makeAsyncIterator()
        while let event = try await iterator.next(isolation: #isolation) {
            for action in self.apply(event) { perform(action) }
        }
    }

    /// The worker's answer to a question; it is applied in slices.
    ///
    /// - Parameters:
    ///   - query: as it was in the action.
    ///   - answer: the whole answer.
    /// - Returns: what is to be done next; never `.restore`.
    package func answered(_ query: IndexQuery, _ answer: IndexAnswer) async -> [IndexerAction] {
        var actions: [IndexerAction] = []
        var next = self.change(query.rank.worker) { $0.answered(query, answer) }
        while next.contains(.restore(query.rank)) {
            actions += next.filter { $0 != .restore(query.rank) }
            await Task.yield()
            next = self.change(query.rank.worker) { $0.restore(query.rank) }
        }
        return actions + next
    }

    /// The question could not be asked, or had no answer.
    package func failed(_ query: IndexQuery, reason: String) -> [IndexerAction] {
        self.change(query.rank.worker) { $0.failed(query, reason: reason) }
    }

    // MARK: Discovery

    /// A rank's query endpoint was discovered.
    package func found(_ rank: WorkerRank) -> [IndexerAction] { self.change(rank.worker) { $0.found(rank) } }

    /// Events of a rank may have been missed unnoticed.
    package func check(_ rank: WorkerRank) -> [IndexerAction] { self.change(rank.worker) { $0.check(rank) } }

    /// A rank's query endpoint is gone; with the last one of a worker its blocks go too.
    package func lost(_ rank: WorkerRank) {
        self.change(rank.worker) { $0.lost(rank) }
        self.sweep(rank.worker)
    }

    /// A worker is gone from discovery.
    package func gone(_ worker: UInt64) {
        self.change(worker) { $0.gone(worker) }
        self.sweep(worker)
    }

    // MARK: Snapshots

    /// All blocks of all workers as events that build them up again; the lock is held for one rank at a time.
    package func dump() -> [RouterEvent] {
        var events: [RouterEvent] = []
        for rank in self.blockCounts.keys.sorted() { events += self.dump(rank) }
        for index in events.indices { events[index].event.id = UInt64(index) }
        return events
    }

    /// The blocks of a rank as events that build them up again, parents first.
    package func dump(_ rank: WorkerRank) -> [RouterEvent] { self.change(rank.worker) { $0.tree.dump(rank) } }

    /// Takes over a router's snapshot.
    package func restore(_ snapshot: [RouterEvent]) -> [IndexerAction] {
        snapshot.flatMap { event in self.change(event.worker) { $0.restore([event]) } }
    }

    // MARK: Shards

    private func change<Result: Sendable>(_ worker: UInt64, _ body: (inout sending Indexer) -> sending Result) -> Result
    {
        // Instance ids are random in Dynamo, but a test's 1, 2, 3... spread as well.
        self.shards[Int(worker % UInt64(self.shards.count))].indexer.withLock(body)
    }

    private func sweep(_ worker: UInt64) {
        while self.change(worker, { $0.sweep(slots: 1024) }) {}
    }
}
