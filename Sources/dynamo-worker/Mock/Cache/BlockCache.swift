import KVRouter

/// The KV cache of a simulated engine: blocks with the block before them and with how many sequences use them.
///
/// A block is in use as long as one of its sequences runs, and stays in the cache afterwards until its place is needed; blocks that
/// have been unused for longest go first, within a sequence the last one first, so a block never goes before what
/// follows it. What a method returns is what has changed, in the order in which it did.
struct BlockCache: Sendable {
    /// Names a sequence of tokens that holds blocks.
    struct Key: Hashable, Sendable {
        var number: UInt64
    }

    /// What a sequence found and what changed when it got its blocks.
    struct Allocation: Hashable, Sendable {
        /// Blocks of the prompt that were there already.
        var hits: Int
        /// Full blocks of the prompt.
        var blocks: Int
        var changes: [KVEvent.Change]
    }

    private struct Block {
        let tokens: TokensHash
        /// Sequences that use it.
        var references: Int
        /// The place in the queue of unused blocks that is this block's; older places are void.
        var turn: UInt64
    }

    private struct Sequence {
        let hashing: BlockHashing
        var blocks: [BlockHash]
        /// The tokens of the last block while it is not full; it takes a place, but nobody can share it.
        var tail: [UInt32]
    }

    let blockSize: Int
    /// Blocks that fit in.
    let capacity: Int
    private var blocks: [BlockHash: Block] = [:]
    private var sequences: [Key: Sequence] = [:]
    private var unused = UnusedBlocks()
    private var tails = 0

    /// - Parameters:
    ///   - blockSize: tokens of a block, at least 1.
    ///   - capacity: blocks that fit in, at least 1.
    init(blockSize: Int, capacity: Int) {
        self.blockSize = blockSize
        self.capacity = capacity
    }

    /// Blocks that running sequences use.
    var active: Int { self.blocks.count - self.unused.count + self.tails }

    /// Blocks that can be found again, in use or not.
    var cached: Int { self.blocks.count }

    /// Places that are taken.
    var used: Int { self.blocks.count + self.tails }

    /// The blocks that can be found again, for those who check what was published.
    var contents: Set<BlockHash> { Set(self.blocks.keys) }

    /// Gives a new sequence its blocks.
    ///
    /// - Parameters:
    ///   - tokens: all of the sequence so far.
    ///   - key: the sequence; it must not have blocks yet.
    ///   - lora: the adapter's name; blocks of different adapters are different.
    /// - Returns: nil, and nothing has changed, while running sequences leave too little room.
    mutating func allocate(_ tokens: [UInt32], for key: Key, lora: String? = nil) -> Allocation? {
        precondition(self.sequences[key] == nil, "the sequence has blocks already")
        let hashing = BlockHashing(blockSize: self.blockSize, lora: lora)
        let hashes = hashing.hashes(tokens)
        let chain = BlockHashing.chained(hashes)
        let hits = chain.firstIndex { self.blocks[$0] == nil } ?? chain.count
        let tail = Array(tokens[(chain.count * self.blockSize)...])
        let needed = chain.count - hits + (tail.isEmpty ? 0 : 1)
        let revived = chain[..<hits].count(where: { self.blocks[$0]?.references == 0 })
        guard self.active + revived + needed <= self.capacity else { return nil }

        for block in chain[..<hits] { self.retain(block) }
        var changes = self.makeRoom(for: needed)
        for index in hits..<chain.count {
            self.blocks[chain[index]] = Block(tokens: hashes[index], references: 1, turn: 0)
        }
        if hits < chain.count {
            let stored = (hits..<chain.count).map { StoredBlock(block: chain[$0], tokens: hashes[$0]) }
            changes.append(.stored(parent: hits > 0 ? chain[hits - 1] : nil, blocks: stored))
        }
        if !tail.isEmpty { self.tails += 1 }
        self.sequences[key] = Sequence(hashing: hashing, blocks: chain, tail: tail)
        return Allocation(hits: hits, blocks: chain.count, changes: changes)
    }

    /// Adds a token to a sequence; a block that it fills can be found again from now on.
    ///
    /// - Parameters:
    ///   - token: the next token.
    ///   - key: a sequence that has blocks.
    /// - Returns: nil, and nothing has changed, when the token needs a block and running sequences use all of them.
    mutating func append(_ token: UInt32, to key: Key) -> [KVEvent.Change]? {
        guard var sequence = self.sequences.removeValue(forKey: key) else {
            preconditionFailure("the sequence has no blocks")
        }
        defer { self.sequences[key] = sequence }
        var changes: [KVEvent.Change] = []
        if sequence.tail.isEmpty {
            guard self.active < self.capacity else { return nil }
            changes = self.makeRoom(for: 1)
            self.tails += 1
        }
        sequence.tail.append(token)
        guard sequence.tail.count == self.blockSize else { return changes }
        let tokens = sequence.tail.withUnsafeBufferPointer { sequence.hashing.hash($0) }
        let parent = sequence.blocks.last
        let block = BlockHashing.chained(tokens, after: parent)
        sequence.tail.removeAll(keepingCapacity: true)
        sequence.blocks.append(block)
        self.tails -= 1
        // Another sequence may have come to the same tokens: its block is used, and the place of this one is free again.
        if self.blocks[block] != nil {
            self.retain(block)
        } else {
            self.blocks[block] = Block(tokens: tokens, references: 1, turn: 0)
            changes.append(.stored(parent: parent, blocks: [StoredBlock(block: block, tokens: tokens)]))
        }
        return changes
    }

    /// Ends a sequence: its blocks stay in the cache until their places are needed.
    mutating func free(_ key: Key) {
        guard let sequence = self.sequences.removeValue(forKey: key) else { return }
        if !sequence.tail.isEmpty { self.tails -= 1 }
        for block in sequence.blocks.reversed() { self.release(block) }
        self.unused.compact { [blocks = self.blocks] in blocks[$0]?.references == 0 && blocks[$0]?.turn == $1 }
    }

    private mutating func retain(_ hash: BlockHash) {
        guard var block = self.blocks[hash] else { return }
        if block.references == 0 { self.unused.leave() }
        block.references += 1
        self.blocks[hash] = block
    }

    private mutating func release(_ hash: BlockHash) {
        guard var block = self.blocks[hash] else { return }
        block.references -= 1
        if block.references == 0 { block.turn = self.unused.enter(hash) }
        self.blocks[hash] = block
    }

    /// Evicts until there are free places; the caller has made sure that enough blocks are unused.
    private mutating func makeRoom(for places: Int) -> [KVEvent.Change] {
        var removed: [BlockHash] = []
        while self.used + places > self.capacity, let next = self.unused.next() {
            guard let block = self.blocks[next.block], block.references == 0, block.turn == next.turn else { continue }
            self.blocks[next.block] = nil
            self.unused.leave()
            removed.append(next.block)
        }
        return removed.isEmpty ? [] : [.removed(removed)]
    }
}
