/// What an engine has done with blocks of its KV cache.
///
/// Names and meaning are those of Dynamo's `RouterEvent` (contract `kv-events.md`, section 2).
package struct KVEvent: Hashable, Sendable {
    /// Counts by one per worker and data-parallel rank; the first is 1 on 1.2.1 and 1.6.1.
    package var id: UInt64
    /// The data-parallel rank.
    package var rank: UInt32
    package var change: Change

    package enum Change: Hashable, Sendable {
        /// Consecutive full blocks, in the order of the sequence.
        ///
        /// - Parameters:
        ///   - parent: the block before the first one; nil at the start of a sequence.
        ///   - blocks: what is in the cache now.
        case stored(parent: BlockHash?, blocks: [StoredBlock])
        /// Single blocks that are no longer there; their children must be named too.
        case removed([BlockHash])
        /// The worker has no blocks any more, on any rank.
        case cleared
    }

    package init(id: UInt64, rank: UInt32 = 0, change: Change) {
        self.id = id
        self.rank = rank
        self.change = change
    }
}

/// A block that is in a cache.
package struct StoredBlock: Hashable, Sendable {
    /// Its identity in its prefix.
    package var block: BlockHash
    /// What requests are matched with.
    package var tokens: TokensHash

    package init(block: BlockHash, tokens: TokensHash) {
        self.block = block
        self.tokens = tokens
    }
}

/// An event as routers get it: with the worker that it is about.
package struct RouterEvent: Hashable, Sendable {
    /// The worker's instance id in discovery.
    package var worker: UInt64
    package var tier: StorageTier
    package var event: KVEvent

    package init(worker: UInt64, tier: StorageTier = .device, event: KVEvent) {
        self.worker = worker
        self.tier = tier
        self.event = event
    }
}

/// Where blocks lie, by Dynamo's names.
package enum StorageTier: String, Hashable, Sendable, CaseIterable {
    case device
    case hostPinned = "host_pinned"
    case disk
    case external
}
