import Testing

@testable import KVRouter

@Suite("Radix tree")
struct RadixTreeTests {
    private let one = WorkerRank(worker: 1)
    private let two = WorkerRank(worker: 2)

    @Test("a prompt matches the longest common start, per worker")
    func overlap() {
        var tree = RadixTree()
        #expect(tree.apply(.stored(1, blocks(1, 2, 3))) == nil)
        #expect(tree.apply(.stored(1, worker: 2, blocks(1, 2, 9))) == nil)
        #expect(tree.matches(prompt(1, 2, 3, 4)) == [self.one: Overlap(device: 3), self.two: Overlap(device: 2)])
        #expect(tree.matches(prompt(2)).isEmpty)
        #expect(tree.matches([]).isEmpty)
        #expect(tree.nodeCount == 4)
        #expect(tree.blockCounts == [self.one: 3, self.two: 3])
    }

    @Test("children go under their parent; with an unknown one the whole event is dropped")
    func parents() {
        var tree = RadixTree()
        tree.apply(.stored(1, blocks(1)))
        #expect(tree.apply(.stored(2, after: 1, blocks(2))) == nil)
        #expect(tree.apply(.stored(3, after: 7, blocks(8, 9))) == .parent(BlockHash(rawValue: 7)))
        #expect(tree.apply(.stored(1, worker: 2, after: 1, blocks(2))) == .parent(BlockHash(rawValue: 1)))
        #expect(tree.matches(prompt(1, 2)) == [self.one: Overlap(device: 2)])
        #expect(tree.blockCount == 2)
    }

    @Test("a removed block makes a hole until it is stored again, and unknown ones are named")
    func removal() {
        var tree = RadixTree()
        tree.apply(.stored(1, blocks(1, 2, 3)))
        #expect(tree.apply(.removed(2, 2, 77)) == .blocks([BlockHash(rawValue: 77)]))
        #expect(tree.matches(prompt(1, 2, 3)) == [self.one: Overlap(device: 1)])
        tree.apply(.stored(3, after: 1, blocks(2)))
        #expect(tree.matches(prompt(1, 2, 3)) == [self.one: Overlap(device: 3)])
        tree.apply(.removed(4, 3, 2, 1))
        #expect(tree.nodeCount == 0)
        #expect(tree.apply(.removed(4, worker: 9, 3)) == .blocks([BlockHash(rawValue: 3)]))
    }

    @Test("a block counts on its fastest tier, and stays until it is gone from all")
    func tiers() {
        var tree = RadixTree()
        tree.apply(.stored(1, blocks(1, 2, 3)))
        tree.apply(.stored(2, tier: .hostPinned, blocks(1, 2)))
        tree.apply(.stored(3, tier: .disk, after: 3, blocks(4)))
        #expect(tree.matches(prompt(1, 2, 3, 4)) == [self.one: Overlap(device: 3, disk: 1)])
        #expect(tree.apply(.removed(4, 2, 3)) == nil)
        #expect(tree.matches(prompt(1, 2, 3, 4)) == [self.one: Overlap(device: 1, hostPinned: 1)])
        #expect(tree.apply(.removed(5, 2)) == .blocks([BlockHash(rawValue: 2)]))
        #expect(tree.apply(.removed(6, tier: .hostPinned, 2)) == nil)
        #expect(tree.matches(prompt(1, 2)) == [self.one: Overlap(device: 1)])
    }

    @Test("cleared empties all ranks of the worker and no other")
    func cleared() {
        var tree = RadixTree()
        tree.apply(.stored(1, blocks(1)))
        tree.apply(.stored(1, rank: 1, blocks(1)))
        tree.apply(.stored(1, worker: 2, blocks(1)))
        tree.apply(.cleared(2))
        #expect(tree.matches(prompt(1)) == [self.two: Overlap(device: 1)])
        tree.apply(.stored(3, blocks(5)))
        while tree.sweep(slots: 1) {}
        #expect(tree.nodeCount == 2)
        #expect(tree.matches(prompt(5)) == [self.one: Overlap(device: 1)])
    }

    @Test("a hash that comes again for another block has moved")
    func moved() {
        var tree = RadixTree()
        tree.apply(.stored(1, blocks(1, 2)))
        let moved = StoredBlock(block: BlockHash(rawValue: 1), tokens: TokensHash(rawValue: 5))
        tree.apply(.stored(2, [moved]))
        #expect(tree.matches(prompt(1, 2)).isEmpty)
        #expect(tree.matches([TokensHash(rawValue: 5)]) == [self.one: Overlap(device: 1)])
    }

    @Test("a chain of a hundred thousand blocks is built, matched, dumped and removed")
    func deep() {
        var tree = RadixTree()
        let chain = (1...100_000).map {
            StoredBlock(block: BlockHash(rawValue: $0), tokens: TokensHash(rawValue: $0 + 1000))
        }
        tree.apply(.stored(1, chain))
        #expect(tree.matches(chain.map(\.tokens))[self.one] == Overlap(device: 100_000))
        var copy = RadixTree()
        for event in tree.dump(self.one) { #expect(copy.apply(event) == nil) }
        #expect(copy.matches(chain.map(\.tokens))[self.one] == Overlap(device: 100_000))
        tree.remove(worker: 1)
        while tree.sweep(slots: 1000) {}
        #expect(tree.nodeCount == 0)
    }
}
