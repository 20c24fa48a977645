import DequeModule

/// What workers hold, guessed from where requests were sent, for workers that do not tell.
///
/// After each choice the prompt's blocks are believed to be on the chosen worker, for a time that begins anew with each use
/// (`--no-router-kv-events` and `--router-ttl-secs`, `kv-events.md` 5).
package struct BlockPrediction: Sendable {
    private struct Entry: Sendable {
        var block: BlockHash
        var worker: WorkerRank
        var until: ContinuousClock.Instant
    }

    private let lifetime: Duration
    private let mostBlocks: Int
    private var holders: [BlockHash: [WorkerRank: ContinuousClock.Instant]] = [:]
    /// In the order of their end.
    private var ends: Deque<Entry> = []

    /// Starts with nothing.
    ///
    /// - Parameters:
    ///   - lifetime: how long a block is believed in.
    ///   - mostBlocks: how many are remembered; the oldest are forgotten first.
    package init(lifetime: Duration, mostBlocks: Int = 4_194_304) {
        self.lifetime = lifetime
        self.mostBlocks = max(1, mostBlocks)
    }

    /// A prompt was sent to a worker.
    package mutating func record(_ blocks: [BlockHash], on worker: WorkerRank, now: ContinuousClock.Instant) {
        let until = now + self.lifetime
        // The last block first: what is forgotten first must not be what the others build on.
        for block in blocks.reversed() {
            self.holders[block, default: [:]][worker] = until
            self.ends.append(Entry(block: block, worker: worker, until: until))
        }
        self.forget(now: now)
    }

    /// How much of a prompt, from its start, each worker holds.
    package mutating func overlaps(_ blocks: [BlockHash], now: ContinuousClock.Instant) -> [WorkerRank: Overlap] {
        self.forget(now: now)
        var overlaps: [WorkerRank: Overlap] = [:]
        var remaining: Set<WorkerRank>?
        for (index, block) in blocks.enumerated() {
            guard let holders = self.holders[block] else { break }
            let present = remaining.map { $0.filter { holders[$0] != nil } } ?? Set(holders.keys)
            if present.isEmpty { break }
            for worker in present { overlaps[worker] = Overlap(device: index + 1) }
            remaining = present
        }
        return overlaps
    }

    /// A worker has left.
    package mutating func remove(worker: UInt64) {
        for block in self.holders.keys {
            guard let holders = self.holders[block], holders.keys.contains(where: { $0.worker == worker }) else {
                continue
            }
            let others = holders.filter { $0.key.worker != worker }
            self.holders[block] = others.isEmpty ? nil : others
        }
    }

    /// Distinct blocks that are believed in.
    package var count: Int { self.holders.count }

    private mutating func forget(now: ContinuousClock.Instant) {
        while let first = self.ends.first, first.until <= now || self.ends.count > self.mostBlocks {
            self.ends.removeFirst()
            // It may have been used again since.
            guard self.holders[first.block]?[first.worker] == first.until else { continue }
            self.holders[first.block]?[first.worker] = nil
            if self.holders[first.block]?.isEmpty == true { self.holders[first.block] = nil }
        }
    }
}
