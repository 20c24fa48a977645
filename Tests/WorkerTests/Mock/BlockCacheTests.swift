import KVRouter
import Testing

@testable import dynamo_worker

@Suite("The cache of the simulated engine")
struct BlockCacheTests {
    private func key(_ number: UInt64) -> BlockCache.Key { BlockCache.Key(number: number) }

    private func blocks(_ tokens: [UInt32], size: Int = 4) -> [StoredBlock] {
        let hashes = BlockHashing(blockSize: size).hashes(tokens)
        return zip(BlockHashing.chained(hashes), hashes).map { StoredBlock(block: $0, tokens: $1) }
    }

    @Test("a prompt stores its full blocks; the same prompt finds them")
    func prefix() {
        var cache = BlockCache(blockSize: 4, capacity: 8)
        let prompt: [UInt32] = Array(1...10)
        let stored = self.blocks(prompt)
        let first = cache.allocate(prompt, for: self.key(1))
        #expect(first == .init(hits: 0, blocks: 2, changes: [.stored(parent: nil, blocks: stored)]))
        #expect(cache.active == 3)
        let second = cache.allocate(Array(1...8) + [20, 21, 22, 23], for: self.key(2))
        let other = self.blocks(Array(1...8) + [20, 21, 22, 23])
        let change = KVEvent.Change.stored(parent: stored[1].block, blocks: [other[2]])
        #expect(second == .init(hits: 2, blocks: 3, changes: [change]))
        #expect(cache.used == 4)
        cache.free(self.key(1))
        cache.free(self.key(2))
        #expect(cache.active == 0)
        #expect(cache.cached == 3)
        #expect(cache.allocate(prompt, for: self.key(3))?.hits == 2)
    }

    @Test("a block that is filled by generated tokens is stored after the one before it")
    func growth() {
        var cache = BlockCache(blockSize: 4, capacity: 8)
        let stored = self.blocks(Array(1...8))
        _ = cache.allocate([1, 2, 3, 4, 5, 6], for: self.key(1))
        #expect(cache.append(7, to: self.key(1)) == [])
        #expect(cache.append(8, to: self.key(1)) == [.stored(parent: stored[0].block, blocks: [stored[1]])])
        // Another sequence that comes to the same tokens shares the block, and gives its place back.
        _ = cache.allocate([1, 2, 3, 4, 5, 6, 7], for: self.key(2))
        #expect(cache.used == 3)
        #expect(cache.append(8, to: self.key(2)) == [])
        #expect(cache.used == 2)
    }

    @Test("the longest unused goes first, of a sequence the last block; what is in use stays")
    func eviction() {
        var cache = BlockCache(blockSize: 4, capacity: 4)
        let old = self.blocks(Array(1...8))
        _ = cache.allocate(Array(1...8), for: self.key(1))
        _ = cache.allocate(Array(11...14), for: self.key(2))
        cache.free(self.key(1))
        let new = self.blocks(Array(21...32))
        #expect(cache.allocate(Array(21...36), for: self.key(3)) == nil, "one block is in use, four are needed")
        #expect(cache.cached == 3)
        let changes: [KVEvent.Change] = [
            .removed([old[1].block, old[0].block]), .stored(parent: nil, blocks: new),
        ]
        #expect(cache.allocate(Array(21...32), for: self.key(3))?.changes == changes)
        #expect(cache.append(33, to: self.key(3)) == nil, "all blocks are in use")
        cache.free(self.key(2))
        #expect(cache.append(33, to: self.key(3)) == [.removed(self.blocks(Array(11...14)).map(\.block))])
    }

    @Test("a prompt that is used again is evicted after others")
    func recency() {
        var cache = BlockCache(blockSize: 4, capacity: 3)
        for (number, start) in [(1, 1), (2, 11), (3, 1)] as [(UInt64, UInt32)] {
            _ = cache.allocate(Array(start..<start + 4), for: self.key(number))
            cache.free(self.key(number))
        }
        let removed = self.blocks(Array(11...14)).map(\.block)
        #expect(cache.allocate(Array(21...28), for: self.key(4))?.changes.first == .removed(removed))
    }

    @Test("adapters share no blocks")
    func adapters() {
        var cache = BlockCache(blockSize: 4, capacity: 8)
        _ = cache.allocate([1, 2, 3, 4], for: self.key(1), lora: "a")
        #expect(cache.allocate([1, 2, 3, 4], for: self.key(2), lora: "b")?.hits == 0)
        #expect(cache.allocate([1, 2, 3, 4], for: self.key(3), lora: "a")?.hits == 1)
    }

    /// Believes only what changes say, as a router does.
    private struct Believer {
        var blocks: [BlockHash: BlockHash?] = [:]

        mutating func apply(_ changes: [KVEvent.Change]) {
            for change in changes {
                switch change {
                case .stored(let parent, let stored):
                    var last = parent
                    if let parent { #expect(self.blocks[parent] != nil, "a block after one that is not there") }
                    for block in stored {
                        #expect(self.blocks[block.block] == nil, "stored twice")
                        self.blocks[block.block] = .some(last)
                        last = block.block
                    }
                case .removed(let removed):
                    for block in removed {
                        #expect(!self.blocks.values.contains(.some(block)), "removed before what follows it")
                        #expect(self.blocks.removeValue(forKey: block) != nil, "removed without being there")
                    }
                case .cleared: self.blocks = [:]
                }
            }
        }
    }

    @Test("whatever happens, the changes say what the cache holds, and it never holds too much", arguments: 0..<8)
    func property(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let size = Int.random(in: 1...4, using: &random)
        let capacity = Int.random(in: 3...24, using: &random)
        var cache = BlockCache(blockSize: size, capacity: capacity)
        var believer = Believer()
        var sequences: [BlockCache.Key: [UInt32]] = [:]
        var refused = 0
        for step in 0..<400 {
            let keys = sequences.keys.sorted { $0.number < $1.number }
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1:
                // Few different tokens, so that prefixes meet.
                let count = Int.random(in: 1...size * 6, using: &random)
                let prompt = (0..<count).map { _ in UInt32.random(in: 0..<2, using: &random) }
                let key = self.key(UInt64(step))
                let before = (cache.contents, cache.active)
                let expected = self.blocks(prompt, size: size).prefix { cache.contents.contains($0.block) }.count
                if let allocation = cache.allocate(prompt, for: key) {
                    #expect(allocation.hits == expected)
                    believer.apply(allocation.changes)
                    sequences[key] = prompt
                } else {
                    refused += 1
                    #expect(before == (cache.contents, cache.active))
                    let inUse = self.inUse(sequences, size: size, with: prompt)
                    #expect(inUse > capacity, "refused although there was room")
                }
            case 2:
                guard let key = keys.randomElement(using: &random) else { continue }
                cache.free(key)
                sequences[key] = nil
            default:
                guard let key = keys.randomElement(using: &random) else { continue }
                let token = UInt32.random(in: 0..<2, using: &random)
                guard let changes = cache.append(token, to: key) else { continue }
                believer.apply(changes)
                sequences[key]?.append(token)
            }
            #expect(Set(believer.blocks.keys) == cache.contents)
            #expect(cache.used <= capacity)
            #expect(cache.active == self.inUse(sequences, size: size))
        }
        #expect(refused > 0 || capacity > 12)
    }

    /// Places that sequences take, counted anew.
    private func inUse(_ sequences: [BlockCache.Key: [UInt32]], size: Int, with prompt: [UInt32] = []) -> Int {
        let all = Array(sequences.values) + [prompt]
        let full = Set(all.flatMap { self.blocks($0, size: size).map(\.block) })
        return full.count + all.count { $0.count % size != 0 }
    }
}
