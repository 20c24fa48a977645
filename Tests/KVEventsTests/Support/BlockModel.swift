import KVEvents
import KVRouter

/// A router in small: what it believes of one worker, by the rules of the contract (section 3).
struct BlockModel: Equatable {
    private(set) var blocks: [BlockHash: StoredBlock] = [:]
    private(set) var lastID: UInt64 = 0
    /// Set while an answer is awaited: the first event that is missing.
    private(set) var missing: UInt64?

    mutating func apply(_ event: KVEvent) {
        if event.change == .cleared {
            self.blocks = [:]
            self.lastID = event.id
            self.missing = nil
            return
        }
        guard event.id > self.lastID else { return }
        guard self.missing == nil, event.id == self.lastID + 1 else {
            self.missing = self.lastID + 1
            return
        }
        self.change(event.change)
        self.lastID = event.id
    }

    mutating func apply(_ answer: KVQueryAnswer) {
        switch answer {
        case .state(let events, let last):
            self.blocks = [:]
            for event in events { self.change(event.event.change) }
            self.lastID = last
        case .tail(let events, let last):
            for event in events where event.event.id > self.lastID { self.change(event.event.change) }
            self.lastID = last
        case .tooNew, .invalidRange, .error: break
        }
        self.missing = nil
    }

    mutating func change(_ change: KVEvent.Change) {
        switch change {
        case .stored(let parent, let blocks):
            // Dynamo drops a whole event whose parent it does not know.
            if let parent, self.blocks[parent] == nil { return }
            for block in blocks { self.blocks[block.block] = block }
        case .removed(let blocks): for block in blocks { self.blocks[block] = nil }
        case .cleared: self.blocks = [:]
        }
    }
}

/// An engine that stores chains of blocks and gives them up again, from a seed.
struct CacheWork {
    private var chains: [[StoredBlock]] = []
    private var next: UInt64 = 1
    private var random: UInt64

    init(seed: UInt64) { self.random = seed }

    private mutating func number(below limit: Int) -> Int {
        self.random = self.random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(self.random >> 33) % limit
    }

    var blocks: [BlockHash: StoredBlock] {
        Dictionary(uniqueKeysWithValues: self.chains.joined().map { ($0.block, $0) })
    }

    /// The next thing that the engine does.
    mutating func step() -> KVEvent.Change {
        if self.chains.count > 20 || (!self.chains.isEmpty && self.number(below: 4) == 0) {
            let index = self.number(below: self.chains.count)
            let kept = self.number(below: self.chains[index].count)
            let gone = self.chains[index][kept...].reversed().map(\.block)
            self.chains[index].removeSubrange(kept...)
            if self.chains[index].isEmpty { self.chains.remove(at: index) }
            return .removed(gone)
        }
        let blocks = (0...self.number(below: 5)).map { _ in
            self.next += 1
            return StoredBlock(block: BlockHash(rawValue: self.next << 20), tokens: TokensHash(rawValue: self.next))
        }
        if !self.chains.isEmpty, self.number(below: 2) == 0 {
            let index = self.number(below: self.chains.count)
            let parent = self.chains[index].last?.block
            self.chains[index] += blocks
            return .stored(parent: parent, blocks: blocks)
        }
        self.chains.append(blocks)
        return .stored(parent: nil, blocks: blocks)
    }
}
