import KVRouter

/// Blocks whose own hash and identity are told apart: identity is the number, tokens are the number plus 1000.
func blocks(_ numbers: UInt64...) -> [StoredBlock] {
    numbers.map { StoredBlock(block: BlockHash(rawValue: $0), tokens: TokensHash(rawValue: $0 + 1000)) }
}

/// The tokens of these blocks, as a prompt has them.
func prompt(_ numbers: UInt64...) -> [TokensHash] { numbers.map { TokensHash(rawValue: $0 + 1000) } }

extension RouterEvent {
    static func stored(
        _ id: UInt64,
        worker: UInt64 = 1,
        rank: UInt32 = 0,
        tier: StorageTier = .device,
        after parent: UInt64? = nil,
        _ blocks: [StoredBlock]
    ) -> Self {
        let change = KVEvent.Change.stored(parent: parent.map(BlockHash.init(rawValue:)), blocks: blocks)
        return Self(worker: worker, tier: tier, event: KVEvent(id: id, rank: rank, change: change))
    }

    static func removed(
        _ id: UInt64,
        worker: UInt64 = 1,
        rank: UInt32 = 0,
        tier: StorageTier = .device,
        _ blocks: UInt64...
    ) -> Self {
        let change = KVEvent.Change.removed(blocks.map(BlockHash.init(rawValue:)))
        return Self(worker: worker, tier: tier, event: KVEvent(id: id, rank: rank, change: change))
    }

    static func cleared(_ id: UInt64, worker: UInt64 = 1, rank: UInt32 = 0) -> Self {
        Self(worker: worker, event: KVEvent(id: id, rank: rank, change: .cleared))
    }
}
