import Testing

@testable import dynamo_frontend

@Suite("Stop sequences")
struct StopMatcherTests {
    /// What comes out of pieces, and whether it stopped.
    private func run(
        _ pieces: [String],
        _ stops: [String],
        includes: Bool = false
    ) -> (parts: [String], isStopped: Bool) {
        var matcher = StopMatcher(stops, includesStop: includes)
        var parts: [String] = []
        for (index, piece) in pieces.enumerated() {
            let (text, isStopped) = matcher.append(piece, isLast: index == pieces.count - 1)
            parts.append(text)
            if isStopped { return (parts, true) }
        }
        return (parts, false)
    }

    @Test("a sequence over several pieces is found, and nothing of it is given out")
    func acrossPieces() {
        #expect(self.run(["ab", "S", "T", "OPx"], ["STOP"]) == (["ab", "", "", ""], true))
        #expect(self.run(["abSTOPcd"], ["STOP"]) == (["ab"], true))
        #expect(self.run(["abSTOPcd"], ["STOP"], includes: true) == (["abSTOP"], true))
    }

    @Test("what only looked like one comes when it is clear, or at the end")
    func falseAlarm() {
        #expect(self.run(["aS", "TO", "x", "b"], ["STOP"]) == (["a", "", "STOx", "b"], false))
        #expect(self.run(["aST"], ["STOP"]) == (["aST"], false))
        #expect(self.run(["SSTO", "P"], ["STOP"]) == (["S", ""], true))
    }

    @Test("the first of several sequences counts, also one inside the beginning of another")
    func several() {
        #expect(self.run(["xabc", "d"], ["abcd", "bc"]) == (["x", ""], true))
        #expect(self.run(["xabc"], ["abcd", "bc"]) == (["xa"], true))
        #expect(self.run(["xabc", "e"], ["abcd", "bc"]) == (["x", "a"], true))
    }

    @Test("characters stay whole, and without sequences all goes through")
    func characters() {
        #expect(self.run(["grü", "ß"], ["üß"]) == (["gr", ""], true))
        #expect(self.run(["a", "b"], []) == (["a", "b"], false))
    }

    @Test("a sequence that comes too early is text")
    func tooEarly() {
        var matcher = StopMatcher(["a"], includesStop: false)
        #expect(matcher.append("xay", mayStop: false) == ("xay", false))
        #expect(matcher.append("xay") == ("x", true))
    }
}

private func == (left: (parts: [String], isStopped: Bool), right: ([String], Bool)) -> Bool {
    left.parts == right.0 && left.isStopped == right.1
}
