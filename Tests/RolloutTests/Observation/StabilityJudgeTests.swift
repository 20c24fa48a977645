import Testing

@testable import Rollout

@Suite struct StabilityJudgeTests {
    private static func process(_ name: String, ready: Bool = true, restarts: Int) -> ProcessCondition {
        ProcessCondition(name: name, isReady: ready, restarts: restarts, words: "starting; log: x")
    }

    @Test func `one restart may be an accident and a second one is not`() {
        let judge = StabilityJudge([Self.process("a", restarts: 3), Self.process("b", restarts: 0)])
        #expect(judge.verdict([Self.process("a", restarts: 4), Self.process("b", restarts: 1)]) == .fine)
        #expect(
            judge.verdict([Self.process("a", restarts: 4), Self.process("b", restarts: 2)])
                == .broken("b was started again 2 times while it was watched: starting; log: x")
        )
        #expect(judge.verdict([Self.process("c", restarts: 1)]) == .fine, "one that came later counts from its start")
    }

    @Test func `one that is not ready is told`() {
        let judge = StabilityJudge([Self.process("a", restarts: 0)])
        let verdict = judge.verdict([Self.process("a", ready: false, restarts: 1)])
        #expect(verdict == .unready("a is not ready: starting; log: x"))
        #expect(judge.verdict([]) == .fine, "one that has no processes ends otherwise")
    }
}
