import Gateway
import Testing

@testable import Rollout

@Suite struct StallJudgeTests {
    private static func figures(inFlight: Int, ended: Int = 0) -> TrafficFigures {
        var figures = TrafficFigures()
        (figures.inFlight, figures.requests) = (inFlight, ended)
        return figures
    }

    @Test func `requests of which none ends are too much after three times the usual time`() {
        var judge = StallJudge(2)
        for second in 0...4 {
            #expect(judge.verdict(Self.figures(inFlight: 9), usual: 4, after: Double(second)) == .fine)
        }
        guard case .waiting(let words) = judge.verdict(Self.figures(inFlight: 12), usual: 4, after: 5) else {
            Issue.record("it is longer than usual")
            return
        }
        #expect(words == "none of the 12 requests that generation 2 has was answered for 5.0 s")
        #expect(
            judge.verdict(Self.figures(inFlight: 12), usual: 4, after: 12)
                == .broken(
                    "none of the 12 requests that generation 2 has was answered for 12.0 s; "
                        + "nearly all requests to the old one took at most 4000.0 ms"
                )
        )
    }

    @Test func `any answer, or too few requests, begins the count again`() {
        var judge = StallJudge(2)
        for second in 0..<60 {
            #expect(judge.verdict(Self.figures(inFlight: 9, ended: second), usual: 0.1, after: Double(second)) == .fine)
        }
        for second in 60..<99 {
            let inFlight = second % 2 == 0 ? StallJudge.fewest : StallJudge.fewest - 1
            #expect(judge.verdict(Self.figures(inFlight: inFlight), usual: 0.1, after: Double(second)) == .fine)
        }
    }

    @Test func `what is usual must be known, and short times are the machine's`() {
        var judge = StallJudge(2)
        for second in 0..<99 {
            #expect(judge.verdict(Self.figures(inFlight: 9), usual: nil, after: Double(second)) == .fine)
        }
        #expect(judge.verdict(Self.figures(inFlight: 9), usual: 0.001, after: 100) == .fine)
        #expect(judge.verdict(Self.figures(inFlight: 9), usual: 0.001, after: 100.9) == .fine)
        guard case .broken = judge.verdict(Self.figures(inFlight: 9), usual: 0.001, after: 102) else {
            Issue.record("two seconds are too long")
            return
        }
    }
}
