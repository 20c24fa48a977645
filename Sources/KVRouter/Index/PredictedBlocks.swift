import DequeModule

/// What workers probably hold where no events tell: the blocks of every prompt that was sent to them, for a while.
///
/// Dynamo does the same without KV events (`--no-kv-events`, `--router-ttl-secs`).
package struct PredictedBlocks: Sendable {
    /// How long a prompt's blocks are expected to stay; Dynamo's default is 120 s.
    package static let defaultLifetime = Duration.seconds(120)

    private struct Key: Hashable {
        var rank: WorkerRank
        var block: BlockHash
    }

    package private(set) var tree = RadixTree()
    private let lifetime: Duration
    /// When a block expires: the entries of ``queue`` before are out of date.
    private var deadlines: [Key: ContinuousClock.Instant] = [:]
    /// In the order of time, as all live equally long; a prompt's last block first, so that no hole opens before it.
    private var queue: Deque<(key: Key, deadline: ContinuousClock.Instant)> = []

    package init(lifetime: Duration = Self.defaultLifetime) { self.lifetime = lifetime }

    /// When ``expire(_:)`` has something to do next; nil when there is nothing.
    package var nextExpiry: ContinuousClock.Instant? { self.queue.first?.deadline }

    /// A prompt was sent to a worker: its blocks are there from now on.
    ///
    /// - Parameters:
    ///   - rank: where the prompt went.
    ///   - tokens: the hashes of its full blocks.
    ///   - now: the time; it does not run backwards.
    package mutating func predict(_ rank: WorkerRank, _ tokens: [TokensHash], now: ContinuousClock.Instant) {
        self.expire(now)
        let blocks = BlockHashing.chained(tokens)
        let stored = zip(blocks, tokens).map { StoredBlock(block: $0, tokens: $1) }
        let event = KVEvent(id: 0, rank: rank.rank, change: .stored(parent: nil, blocks: stored))
        self.tree.apply(RouterEvent(worker: rank.worker, event: event))
        let deadline = now + self.lifetime
        for block in blocks.reversed() {
            let key = Key(rank: rank, block: block)
            if self.deadlines.updateValue(deadline, forKey: key) != deadline {
                self.queue.append((key: key, deadline: deadline))
            }
        }
    }

    /// Forgets what is too old.
    package mutating func expire(_ now: ContinuousClock.Instant) {
        while let (key, deadline) = self.queue.first, deadline <= now {
            self.queue.removeFirst()
            guard self.deadlines[key] == deadline else { continue }
            self.deadlines[key] = nil
            let event = KVEvent(id: 0, rank: key.rank.rank, change: .removed([key.block]))
            self.tree.apply(RouterEvent(worker: key.rank.worker, event: event))
        }
    }

    /// A worker is gone.
    package mutating func gone(_ worker: UInt64) {
        self.tree.remove(worker: worker)
        self.deadlines = self.deadlines.filter { $0.key.rank.worker != worker }
        self.queue.removeAll { $0.key.rank.worker == worker }
    }

    /// How much of a prompt each worker probably has.
    ///
    /// - Parameter tokens: the hashes of the prompt's full blocks.
    /// - Returns: every rank that has at least the first block; what has expired since the last call of ``expire(_:)`` included.
    package func matches(_ tokens: [TokensHash]) -> [WorkerRank: Overlap] { self.tree.matches(tokens) }
}
