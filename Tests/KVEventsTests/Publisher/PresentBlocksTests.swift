import FuzzSupport
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

    @Test(
        "places of blocks that are gone are used again, and nothing is mixed up",
        arguments: 1...8 as ClosedRange<UInt64>
    )
    func reuse(seed: UInt64) {
        var random = FuzzRandom(seed: seed)
        var present = PresentBlocks()
        /// Each block's predecessor.
        var model: [BlockHash: BlockHash?] = [:]
        for _ in 0..<3000 {
            let held = model.keys.sorted { $0.rawValue < $1.rawValue }
            let one = held.isEmpty ? nil : held[random.below(held.count)]
            switch (random.below(40), one) {
            case (0, _):
                present.apply(.cleared)
                model = [:]
            case (1..<19, let block?):
                present.apply(.removed([block]))
                model[block] = nil
            default:
                let block = self.block(UInt64(random.below(200)) + 1)
                present.apply(.stored(parent: one, blocks: [block]))
                model[block.block] = .some(one)
            }
            #expect(present.count == model.count)
        }
        for number in 0...201 as ClosedRange<UInt64> {
            let block = BlockHash(rawValue: number)
            #expect(present.contains(block) == (model[block] != nil))
        }
        var again = PresentBlocks()
        for (block, parent) in model.sorted(by: { $0.key.rawValue > $1.key.rawValue }) {
            again.apply(.stored(parent: parent, blocks: [self.block(block.rawValue)]))
        }
        #expect(again == present, "the same blocks in other places")
        again.apply(.removed([BlockHash(rawValue: 1)]))
        again.apply(.stored(parent: BlockHash(rawValue: 4711), blocks: [self.block(1)]))
        #expect(again != present, "one block has another predecessor")
    }
}
