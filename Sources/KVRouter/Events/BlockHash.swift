/// The engine's identity of a block in its prefix: equal only where everything before it is equal too.
package struct BlockHash: RawRepresentable, Hashable, Sendable {
    package var rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// The hash of the tokens of one block alone.
package struct TokensHash: RawRepresentable, Hashable, Sendable {
    package var rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// One data-parallel rank of a worker: what a request is sent to, and what holds blocks.
package struct WorkerRank: Hashable, Sendable, Comparable {
    /// The worker's instance id in discovery.
    package var worker: UInt64
    package var rank: UInt32

    package init(worker: UInt64, rank: UInt32 = 0) {
        self.worker = worker
        self.rank = rank
    }

    package static func < (left: WorkerRank, right: WorkerRank) -> Bool {
        (left.worker, left.rank) < (right.worker, right.rank)
    }
}
