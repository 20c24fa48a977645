import KVRouter

/// Makes changes of engine events.
struct EngineTranslation {
    private let rules: RelayRules
    private let rank: UInt32
    private(set) var changes: [RelayedChange] = []
    private(set) var notes: [RelayNote] = []

    /// - Parameters:
    ///   - batch: the events of one message.
    ///   - rules: those of the release that the changes are published for.
    init(_ batch: EngineBatch, _ rules: RelayRules) {
        self.rules = rules
        self.rank = batch.rank
        for event in batch.events {
            switch event {
            case .stored(let stored): self.store(stored)
            case .removed(let hashes, let medium):
                let blocks = hashes.map { BlockHash(rawValue: $0) }
                self.changes.append(RelayedChange(.removed(blocks), rank: self.rank, tier: rules.tier(medium)))
            case .cleared: self.changes.append(RelayedChange(.cleared, rank: self.rank))
            case .unknown(let kind): self.notes.append(.unknownEvent(kind))
            }
        }
    }

    private mutating func store(_ stored: EngineEvent.Stored) {
        let blocks = self.blocks(stored)
        let parent = stored.parent.map { BlockHash(rawValue: $0) }
        let tier = self.rules.tier(stored.medium)
        // Only what continues the last store is one sequence with it, which is what an event holds.
        let size = self.rules.blockSize == nil ? stored.blockSize : nil
        if self.rules.mergesStores, let parent, let last = self.changes.last, last.tier == tier, last.blockSize == size,
            case .stored(let first, let before) = last.change, before.last?.block == parent
        {
            self.changes[self.changes.count - 1].change = .stored(parent: first, blocks: before + blocks)
            return
        }
        self.changes.append(
            RelayedChange(.stored(parent: parent, blocks: blocks), rank: self.rank, tier: tier, blockSize: size)
        )
    }

    private mutating func blocks(_ stored: EngineEvent.Stored) -> [StoredBlock] {
        let size = self.rules.blockSize ?? stored.blockSize
        guard stored.blockSize == size, size > 0 else {
            self.notes.append(.otherBlockSize(engine: stored.blockSize, relay: size))
            return []
        }
        let tokens = BlockHashing(blockSize: size, lora: stored.lora).hashes(stored.tokens)
        if tokens.count != stored.hashes.count {
            self.notes.append(.tokensMissing(blocks: stored.hashes.count, tokens: stored.tokens.count))
        }
        return zip(stored.hashes, tokens).map { StoredBlock(block: BlockHash(rawValue: $0), tokens: $1) }
    }
}
