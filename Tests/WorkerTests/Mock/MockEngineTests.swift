import KVRouter
import Testing

@testable import dynamo_worker

@Suite("The simulated engine")
struct MockEngineTests {
    private func engine(
        blocks: Int = 64,
        batch: Int = 8,
        budget: Int = 64,
        vocabulary: [UInt32] = [7, 8, 9]
    ) -> MockEngine {
        var configuration = MockEngine.Configuration()
        configuration.blockSize = 4
        configuration.blocks = blocks
        configuration.maxBatch = batch
        configuration.maxBatchedTokens = budget
        configuration.prefillTime = .milliseconds(1)
        configuration.decodeTime = .milliseconds(100)
        configuration.vocabulary = vocabulary
        return MockEngine(configuration)
    }

    private func key(_ number: UInt64) -> BlockCache.Key { BlockCache.Key(number: number) }

    /// What came of running until nothing is left to do.
    private struct Outcome {
        var tokens: [BlockCache.Key: [UInt32]] = [:]
        var reasons: [BlockCache.Key: MockEngine.FinishReason] = [:]
        var steps: [Duration] = []
        var held: Set<BlockHash> = []

        mutating func apply(_ actions: [MockEngine.Action]) {
            for action in actions {
                switch action {
                case .changes(let changes):
                    for case .stored(_, let blocks) in changes { self.held.formUnion(blocks.map(\.block)) }
                    for case .removed(let blocks) in changes { self.held.subtract(blocks) }
                case .token(let token, let key): self.tokens[key, default: []].append(token)
                case .finish(let reason, let key): self.reasons[key] = reason
                case .step(let duration): self.steps.append(duration)
                }
            }
        }
    }

    private func run(
        _ engine: inout MockEngine,
        from actions: [MockEngine.Action],
        held: Set<BlockHash> = []
    ) -> Outcome {
        var outcome = Outcome(held: held)
        var actions = actions
        for _ in 0..<10_000 {
            outcome.apply(actions)
            #expect(outcome.held == engine.cache.contents, "the changes say what the cache holds")
            #expect(engine.cache.used <= engine.configuration.blocks)
            actions = engine.stepEnded()
            if actions.isEmpty { break }
        }
        return outcome
    }

    @Test("a prompt takes its time, then each token a step; the first one comes with the end of the prompt")
    func timing() {
        var engine = self.engine()
        let outcome = self.run(
            &engine,
            from: engine.submit(MockRequest(prompt: Array(1...10), maxTokens: 3), as: self.key(1))
        )
        #expect(outcome.steps == [.milliseconds(10), .milliseconds(100), .milliseconds(100)])
        #expect(outcome.tokens[self.key(1)]?.count == 3)
        #expect(outcome.reasons == [self.key(1): .length])
        #expect(engine.load.running == 0)
        #expect(engine.load.activeBlocks == 0)
    }

    @Test("a long prompt is computed in pieces of the budget")
    func chunks() {
        var engine = self.engine(budget: 16)
        let outcome = self.run(
            &engine,
            from: engine.submit(MockRequest(prompt: Array(1...40), maxTokens: 1), as: self.key(1))
        )
        #expect(outcome.steps == [.milliseconds(16), .milliseconds(16), .milliseconds(8)])
    }

    @Test("what is cached is not computed again, and the answer is the same")
    func hits() {
        var engine = self.engine()
        let request = MockRequest(prompt: Array(1...12), maxTokens: 5)
        let first = self.run(&engine, from: engine.submit(request, as: self.key(1)))
        let second = self.run(&engine, from: engine.submit(request, as: self.key(2)), held: first.held)
        #expect(second.steps.first == .milliseconds(1))
        #expect(first.tokens[self.key(1)] == second.tokens[self.key(2)])
        #expect(engine.load.hitBlocks == 3)
        #expect(engine.load.promptBlocks == 6)
        var other = request
        other.seed = 5
        let third = self.run(&engine, from: engine.submit(other, as: self.key(3)), held: second.held)
        #expect(third.tokens[self.key(3)] != first.tokens[self.key(1)])
    }

    @Test("stop tokens end an answer, not before its least length")
    func stop() {
        var engine = self.engine(vocabulary: [5])
        var request = MockRequest(prompt: [1], maxTokens: 9)
        request.stopTokens = [5]
        request.minTokens = 3
        let outcome = self.run(&engine, from: engine.submit(request, as: self.key(1)))
        #expect(outcome.tokens[self.key(1)] == [5, 5, 5])
        #expect(outcome.reasons[self.key(1)] == .stop)
    }

    @Test("no more run at once than the batch and the cache have room for; the others wait in their order")
    func waiting() {
        var engine = self.engine(blocks: 4, batch: 2)
        var actions = engine.submit(MockRequest(prompt: Array(1...9), maxTokens: 2), as: self.key(1))
        actions += engine.submit(MockRequest(prompt: Array(21...24), maxTokens: 2), as: self.key(2))
        actions += engine.submit(MockRequest(prompt: Array(31...34), maxTokens: 2), as: self.key(3))
        #expect(engine.load.running == 1, "a step runs")
        #expect(engine.load.waiting == 2)
        let outcome = self.run(&engine, from: actions)
        #expect(outcome.reasons.count == 3)
        #expect(outcome.tokens.values.allSatisfy { $0.count == 2 })
    }

    @Test("when answers fill the cache the newest request waits and goes on later with its answer")
    func preemption() {
        var alone = self.engine()
        var full = self.engine(blocks: 6)
        let requests = [Array(1...8), Array(21...28)].map { MockRequest(prompt: $0, maxTokens: 12) }
        var wanted = Outcome()
        for (number, request) in requests.enumerated() {
            let actions = alone.submit(request, as: self.key(UInt64(number)))
            let outcome = self.run(&alone, from: actions, held: wanted.held)
            wanted.held = outcome.held
            wanted.tokens.merge(outcome.tokens) { $1 }
        }
        var actions: [MockEngine.Action] = []
        for (number, request) in requests.enumerated() { actions += full.submit(request, as: self.key(UInt64(number))) }
        let outcome = self.run(&full, from: actions)
        #expect(full.load.preemptions > 0)
        #expect(outcome.tokens == wanted.tokens)
        #expect(outcome.reasons.count == 2)
    }

    @Test("cancelling frees the blocks, running or waiting, and nothing more comes")
    func cancel() {
        var engine = self.engine(blocks: 4, batch: 1)
        var actions = engine.submit(MockRequest(prompt: Array(1...8), maxTokens: 50), as: self.key(1))
        actions += engine.submit(MockRequest(prompt: Array(21...28), maxTokens: 50), as: self.key(2))
        engine.cancel(self.key(1))
        engine.cancel(self.key(2))
        engine.cancel(self.key(3))
        #expect(engine.load.activeBlocks == 0)
        #expect(engine.load.waiting == 0)
        #expect(engine.stepEnded() == [])
        #expect(engine.cache.cached == 2, "what was computed stays")
        #expect(!engine.submit(MockRequest(prompt: [1], maxTokens: 1), as: self.key(4)).isEmpty)
    }

    @Test("any load ends, whole and true", arguments: 0..<10)
    func property(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var engine = self.engine(blocks: 12, batch: 4, budget: 10)
        var outcome = Outcome()
        var sizes: [BlockCache.Key: Int] = [:]
        for number in 0..<200 as Range<UInt64> {
            let prompt = (0..<Int.random(in: 1...24, using: &random)).map { _ in
                UInt32.random(in: 0..<2, using: &random)
            }
            let request = MockRequest(prompt: prompt, maxTokens: Int.random(in: 1...24, using: &random))
            sizes[self.key(number)] = request.maxTokens
            outcome.apply(engine.submit(request, as: self.key(number)))
            if Bool.random(using: &random) { outcome.apply(engine.stepEnded()) }
            if Int.random(in: 0..<8, using: &random) == 0, let victim = sizes.keys.min(by: { $0.number < $1.number }) {
                engine.cancel(victim)
                sizes[victim] = nil
            }
            #expect(outcome.held == engine.cache.contents)
        }
        for _ in 0..<20_000 {
            let actions = engine.stepEnded()
            if actions.isEmpty { break }
            outcome.apply(actions)
        }
        #expect(outcome.held == engine.cache.contents)
        #expect(engine.load.activeBlocks == 0)
        for (key, size) in sizes { #expect(outcome.tokens[key]?.count == size) }
    }
}
