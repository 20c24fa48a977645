import Deployment
import Testing

@testable import Rollout

/// When the figures of a new generation take a migration back.
@Suite struct ObservationJudgeTests {
    private let judge = ObservationJudge(thresholds: .init(), new: 2, old: 1)

    private func figures(
        _ requests: Int = 100,
        errors: Int = 0,
        first: Double? = 0.050,
        between: Double? = 0.010,
        count: Int = 34
    ) -> GenerationFigures {
        GenerationFigures(
            requests: requests,
            errors: errors,
            firstToken: first.map { .init(count: count, median: $0) },
            betweenTokens: between.map { .init(count: count, median: $0) }
        )
    }

    private func verdict(_ new: GenerationFigures, _ old: GenerationFigures? = nil) -> ObservationJudge.Verdict {
        self.judge.verdict(new: new, old: old ?? self.figures(), after: 10)
    }

    @Test func `equal figures are fine`() {
        #expect(self.verdict(self.figures()) == .fine)
    }

    @Test func `a slow first token is said with both figures and the limit`() {
        #expect(
            self.verdict(self.figures(first: 0.210))
                == .broken(
                    "time to first token 210 ms (median of 34), 4.2 times generation 1's 50 ms; the limit is 3 times"
                )
        )
        #expect(
            self.verdict(self.figures(between: 0.0315))
                == .broken(
                    "time between tokens 31.5 ms (median of 34), 3.2 times generation 1's 10 ms; the limit is 3 times"
                )
        )
        // The limit itself is allowed.
        #expect(self.verdict(self.figures(first: 0.150, between: 0.030)) == .fine)
    }

    @Test func `small differences never matter`() {
        let fast = self.figures(first: 0.001, between: 0.0001)
        #expect(self.verdict(self.figures(first: 0.0209, between: 0.0020), fast) == .fine)
        #expect(self.verdict(self.figures(first: 0.0211, between: 0.0020), fast) != .fine)
        #expect(self.verdict(self.figures(first: 0.0209, between: 0.0022), fast) != .fine)
        // Nothing can be so many times nothing.
        #expect(
            self.verdict(self.figures(first: 0.5), self.figures(first: 0))
                == .broken(
                    "time to first token 500 ms (median of 34), against generation 1's 0 ms; the limit is 3 times"
                )
        )
    }

    @Test(
        arguments: [
            // requests, errors, whether it is too many
            (100, 2, false), (100, 3, true), (20, 1, false), (20, 2, true), (19, 4, false), (19, 5, true), (5, 5, true),
            (1, 1, false), (0, 0, false), (1000, 20, false), (1000, 21, true),
        ]
    )
    func `errors count as a rate from enough requests on, and by themselves from five on`(
        _ requests: Int,
        _ errors: Int,
        _ isBroken: Bool
    ) {
        let verdict = self.verdict(self.figures(requests, errors: errors))
        if case .broken = verdict { #expect(isBroken) } else { #expect(!isBroken, "\(verdict)") }
    }

    @Test func `errors are said with their rate`() {
        #expect(
            self.verdict(self.figures(40, errors: 6))
                == .broken("6 of 40 requests to generation 2 failed (15%); the limit is 2%")
        )
    }

    @Test func `with no error allowed one is enough, with every error allowed none is`() {
        let strict = ObservationJudge(thresholds: .init(errorRate: 0), new: 2, old: 1)
        #expect(
            strict.verdict(new: self.figures(1, errors: 1), old: self.figures(), after: 1)
                == .broken("1 of 1 request to generation 2 failed (100%); the limit is 0%")
        )
        let lenient = ObservationJudge(thresholds: .init(errorRate: 1), new: 2, old: 1)
        #expect(lenient.verdict(new: self.figures(100, errors: 100), old: self.figures(), after: 1) == .fine)
    }

    @Test func `with few requests nothing but errors is judged, and that is said`() {
        #expect(
            self.verdict(self.figures(3, first: 9, between: 9))
                == .tooFew("only 3 requests in 10 s (20 are needed): nothing but errors was judged")
        )
        #expect(
            self.verdict(self.figures(1, first: 9, between: 9))
                == .tooFew("only 1 request in 10 s (20 are needed): nothing but errors was judged")
        )
    }

    @Test func `times are judged only with enough streams on both sides`() {
        #expect(
            self.verdict(self.figures(first: 9, between: 0.010), self.figures(count: 19))
                == .tooFew(
                    "time to first token was not judged in 10 s, too few streams (34 by generation 2, 19 by generation 1); "
                        + "time between tokens was not judged in 10 s, too few streams (34 by generation 2, 19 by generation 1)"
                )
        )
        #expect(
            self.verdict(self.figures(first: nil))
                == .tooFew(
                    "time to first token was not judged in 10 s, too few streams (0 by generation 2, 34 by generation 1)"
                )
        )
        // What can be judged is, beside what cannot.
        guard case .broken = self.verdict(self.figures(first: nil, between: 1)) else {
            Issue.record("the time between tokens was not judged")
            return
        }
    }

    @Test func `what the old generation did before the migration counts when there is too little since`() {
        let life = self.figures(1000, first: 0.040, between: 0.008, count: 900)
        let meanwhile = self.figures(1, first: 9, between: 9, count: 19)
        func baseline(_ recent: GenerationFigures) -> GenerationFigures {
            self.judge.baseline(recent: recent, lifetime: life, meanwhile: meanwhile)
        }
        var recent = self.figures(30, first: 0.060, between: 0.012, count: 20)
        #expect(baseline(recent) == recent)
        recent.firstToken?.count = 19
        recent.betweenTokens = nil
        #expect(baseline(recent).firstToken == life.firstToken)
        #expect(baseline(recent).betweenTokens == life.betweenTokens)
        recent.betweenTokens = .init(count: 20, median: 0.012)
        #expect(baseline(recent).betweenTokens?.median == 0.012)
    }

    @Test func `what the old generation does at the same time counts where it is slower`() {
        let recent = self.figures(300, first: 0.040, between: 0.010, count: 300)
        func baseline(_ meanwhile: GenerationFigures, lifetime: GenerationFigures? = nil) -> GenerationFigures {
            self.judge.baseline(recent: recent, lifetime: lifetime ?? recent, meanwhile: meanwhile)
        }
        let both = baseline(self.figures(first: 0.100, between: 0.009))
        #expect(both.firstToken?.median == 0.100)
        #expect(both.betweenTokens?.median == 0.010)
        #expect(baseline(self.figures(first: 0.100, count: 19)).firstToken?.median == 0.040, "too few to go by")
        #expect(baseline(self.figures(first: nil, between: nil)) == recent)
        // Where nothing was measured before, it is all that there is.
        let new = self.judge.baseline(
            recent: self.figures(0, first: nil, between: nil),
            lifetime: self.figures(0, first: nil, between: nil),
            meanwhile: self.figures(first: 0.100)
        )
        #expect(new.firstToken?.median == 0.100)
    }
}
