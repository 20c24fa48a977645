import Testing

@testable import KVRouter

@Suite("Predicted blocks")
struct PredictedBlocksTests {
    private let rank = WorkerRank(worker: 1)
    private let start = ContinuousClock.now

    @Test("a prompt's blocks are expected where it went, until they are too old")
    func lifetime() {
        var blocks = PredictedBlocks()
        blocks.predict(self.rank, prompt(1, 2, 3), now: self.start)
        #expect(blocks.matches(prompt(1, 2, 9)) == [self.rank: Overlap(device: 2)])
        #expect(blocks.nextExpiry == self.start + .seconds(120))
        blocks.expire(self.start + .seconds(119))
        #expect(blocks.matches(prompt(1, 2, 3)) == [self.rank: Overlap(device: 3)])
        blocks.expire(self.start + .seconds(120))
        #expect(blocks.matches(prompt(1)).isEmpty)
        #expect(blocks.nextExpiry == nil)
        #expect(blocks.tree.nodeCount == 0)
    }

    @Test("what is used again lives on, the rest does not")
    func renewed() {
        var blocks = PredictedBlocks(lifetime: .seconds(6))
        blocks.predict(self.rank, prompt(1, 2, 3), now: self.start)
        blocks.predict(self.rank, prompt(1, 2), now: self.start + .seconds(4))
        blocks.expire(self.start + .seconds(7))
        #expect(blocks.matches(prompt(1, 2, 3)) == [self.rank: Overlap(device: 2)])
        blocks.expire(self.start + .seconds(10))
        #expect(blocks.matches(prompt(1, 2, 3)).isEmpty)
    }

    @Test("a worker that is gone has nothing, and may come again")
    func gone() {
        var blocks = PredictedBlocks()
        blocks.predict(self.rank, prompt(1), now: self.start)
        blocks.predict(WorkerRank(worker: 2), prompt(1), now: self.start)
        blocks.gone(1)
        #expect(blocks.matches(prompt(1)) == [WorkerRank(worker: 2): Overlap(device: 1)])
        blocks.predict(self.rank, prompt(1), now: self.start + .seconds(1))
        blocks.expire(self.start + .seconds(120))
        #expect(blocks.matches(prompt(1)) == [self.rank: Overlap(device: 1)])
    }
}
