package import KVRouter

/// A change of an engine's cache, ready to be published: it only lacks the worker and the event's number.
package struct RelayedChange: Sendable, Hashable {
    package var change: KVEvent.Change
    package var rank: UInt32
    package var tier: StorageTier
    /// Tokens of a stored block, where the relay was not told what they must be.
    package var blockSize: Int?

    package init(_ change: KVEvent.Change, rank: UInt32 = 0, tier: StorageTier = .device, blockSize: Int? = nil) {
        self.change = change
        self.rank = rank
        self.tier = tier
        self.blockSize = blockSize
    }
}
