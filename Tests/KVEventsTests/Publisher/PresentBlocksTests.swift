import KVEvents
import KVRouter
import Testing

@Suite struct PresentBlocksTests {
    func block(_ number: UInt64) -> StoredBlock {
        StoredBlock(block: BlockHash(rawValue: number), tokens: TokensHash(rawValue: number * 10))
    }

    @Test func `Parents come before their children, also where chains branch`() {
        var present = PresentBlocks()
        present.apply(.stored(parent: nil, blocks: [1, 2, 3, 4].map(self.block)))
        present.apply(.stored(parent: BlockHash(rawValue: 2), blocks: [5, 6].map(self.block)))
        present.apply(.stored(parent: BlockHash(rawValue: 5), blocks: [self.block(7)]))
        present.apply(.stored(parent: nil, blocks: [self.block(8)]))
        for limit in 1...5 {
            var model = BlockModel()
            for change in present.stores(upTo: limit) { model.change(change) }
            #expect(model.blocks.count == 8)
        }
    }

    @Test func `A block without the one before it is left out until that is back`() {
        var present = PresentBlocks()
        present.apply(.stored(parent: nil, blocks: [1, 2].map(self.block)))
        present.apply(.removed([BlockHash(rawValue: 1)]))
        #expect(present.count == 1)
        #expect(present.stores(upTo: 10).isEmpty)
        present.apply(.stored(parent: nil, blocks: [self.block(1)]))
        #expect(present.stores(upTo: 10) == [.stored(parent: nil, blocks: [self.block(1), self.block(2)])])
        present.apply(.cleared)
        #expect(present.isEmpty)
    }
}
