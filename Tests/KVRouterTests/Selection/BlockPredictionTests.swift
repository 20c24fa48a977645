import Testing

@testable import KVRouter

@Suite("What workers are believed to hold")
struct BlockPredictionTests {
    private let start = ContinuousClock.now
    private let a = WorkerRank(worker: 1)
    private let b = WorkerRank(worker: 2)

    private func blocks(_ numbers: [UInt64]) -> [BlockHash] {
        BlockHashing.chained(numbers.map(TokensHash.init(rawValue:)))
    }

    @Test("the beginning that prompts share is found, for each worker")
    func prefixes() {
        var prediction = BlockPrediction(lifetime: .seconds(10))
        prediction.record(self.blocks([1, 2, 3]), on: self.a, now: self.start)
        prediction.record(self.blocks([1, 2, 9, 8]), on: self.b, now: self.start)
        #expect(
            prediction.overlaps(self.blocks([1, 2, 9, 7]), now: self.start)
                == [self.a: Overlap(device: 2), self.b: Overlap(device: 3)]
        )
        #expect(prediction.overlaps(self.blocks([2, 3]), now: self.start).isEmpty)
        prediction.remove(worker: 2)
        #expect(prediction.overlaps(self.blocks([1, 2, 9]), now: self.start) == [self.a: Overlap(device: 2)])
        #expect(prediction.count == 3)
    }

    @Test("belief ends with its time, which begins anew with each use")
    func lifetime() {
        var prediction = BlockPrediction(lifetime: .seconds(10))
        prediction.record(self.blocks([1, 2]), on: self.a, now: self.start)
        prediction.record(self.blocks([1]), on: self.a, now: self.start + .seconds(5))
        #expect(
            prediction.overlaps(self.blocks([1, 2]), now: self.start + .seconds(9)) == [self.a: Overlap(device: 2)]
        )
        #expect(
            prediction.overlaps(self.blocks([1, 2]), now: self.start + .seconds(10)) == [self.a: Overlap(device: 1)]
        )
        #expect(prediction.overlaps(self.blocks([1, 2]), now: self.start + .seconds(15)).isEmpty)
        #expect(prediction.count == 0)
    }

    @Test("what is remembered is bounded: a prompt's end goes first")
    func bound() {
        var prediction = BlockPrediction(lifetime: .seconds(10), mostBlocks: 4)
        prediction.record(self.blocks([1, 2, 3, 4, 5]), on: self.a, now: self.start)
        #expect(prediction.count == 4)
        #expect(prediction.overlaps(self.blocks([1, 2, 3, 4, 5]), now: self.start) == [self.a: Overlap(device: 4)])
    }
}
