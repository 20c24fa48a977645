import Testing

@testable import KVRouter

@Suite("What a request costs a worker")
struct CostFunctionTests {
    private func situation(prompt: Int, device: Int = 0, decode: Double) -> CostFunction.Situation {
        var situation = CostFunction.Situation(promptTokens: prompt)
        situation.overlap.device = device
        situation.decodeBlocks = decode
        return situation
    }

    @Test("the numbers that 1.2.1 printed")
    func observed() {
        let cost = CostFunction()
        #expect(cost.cost(self.situation(prompt: 92, decode: 5), blockSize: 16) == 10.75)
        #expect(cost.cost(self.situation(prompt: 92, device: 5, decode: 5), blockSize: 16) == 5.75)
        #expect(cost.cost(self.situation(prompt: 59, decode: 8), blockSize: 16) == 11.6875)
        #expect(cost.cost(self.situation(prompt: 59, decode: 3), blockSize: 16) == 6.6875)
    }

    @Test("tiers count 1, 0.75 and 0.25, and never below nothing")
    func tiers() {
        let cost = CostFunction()
        for (overlap, credit) in [
            (Overlap(device: 4), 4), (Overlap(hostPinned: 4), 3), (Overlap(disk: 4), 1),
            (Overlap(device: 1, hostPinned: 1, disk: 1), 2),
        ] {
            var situation = self.situation(prompt: 64, decode: 0)
            situation.overlap = overlap
            #expect(cost.credit(situation) == Double(credit))
            #expect(cost.cost(situation, blockSize: 16) == Double(4 - credit))
        }
        #expect(cost.cost(self.situation(prompt: 16, device: 9, decode: 2), blockSize: 16) == 2)
    }

    @Test("credit, scale, decay and the weight of requests take effect")
    func knobs() {
        var cost = CostFunction()
        cost.overlapCredit = 0.5
        cost.prefillLoadScale = 2
        #expect(cost.cost(self.situation(prompt: 64, device: 2, decode: 1), blockSize: 16) == 2 * 3 + 1)
        cost = CostFunction()
        cost.overlapCreditDecay = 1
        var situation = self.situation(prompt: 64, device: 4, decode: 0)
        situation.activePrefillTokens = 64
        #expect(cost.credit(situation) == 2)
        situation.leastPrefillTokens = 64
        #expect(cost.credit(situation) == 4)
        cost.activeRequestWeight = 3
        situation.activeRequests = 2
        #expect(cost.cost(situation, blockSize: 16) == 4 + 6)
    }
}
