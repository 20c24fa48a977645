import Deployment
import Testing

@testable import Supervisor

@Suite struct TimerQueueTests {
    private let start = ContinuousClock.now

    @Test func givesTheEarliestFirst() {
        var queue = TimerQueue<String>()
        queue.arm("b", at: self.start + .seconds(2))
        queue.arm("a", at: self.start + .seconds(1))
        queue.arm("c", at: self.start + .seconds(3))
        #expect(queue.next() == self.start + .seconds(1))
        #expect(queue.due(at: self.start) == [])
        #expect(queue.due(at: self.start + .seconds(2)) == ["a", "b"])
        #expect(queue.due(at: self.start + .seconds(9)) == ["c"])
        #expect(queue.next() == nil)
    }

    @Test func armingAgainReplaces() {
        var queue = TimerQueue<String>()
        queue.arm("a", at: self.start + .seconds(1))
        queue.arm("a", at: self.start + .seconds(5))
        #expect(queue.due(at: self.start + .seconds(2)) == [])
        #expect(queue.next() == self.start + .seconds(5))
        #expect(queue.due(at: self.start + .seconds(5)) == ["a"])
    }

    @Test func cancelledOnesDoNotCome() {
        var queue = TimerQueue<String>()
        queue.arm("a", at: self.start)
        queue.cancel("a")
        queue.cancel("never armed")
        #expect(queue.next() == nil)
        queue.arm("a", at: self.start)
        #expect(queue.due(at: self.start) == ["a"])
    }
}

@Suite struct BackoffTests {
    @Test func doublesUpToTheLimit() {
        var backoff = Backoff(
            policy: RestartPolicy(initialDelay: 0.5, maximumDelay: 3, jitter: 0, maximumRestarts: nil),
            seed: 1
        )
        let delays = (1...6).map { _ in backoff.runEnded(after: .seconds(1)) }
        let expected = [0.5, 1, 2, 3, 3, 3].enumerated().map { index, delay in
            Backoff.Decision.restart(after: .seconds(delay), attempt: index + 1)
        }
        #expect(delays == expected)
    }

    @Test func jitterShortensByItsShareAtMost() {
        var backoff = Backoff(
            policy: RestartPolicy(initialDelay: 1, maximumDelay: 1, jitter: 0.5, maximumRestarts: nil),
            seed: 7
        )
        var seen: Set<Duration> = []
        for _ in 0..<200 {
            guard case .restart(let delay, _) = backoff.runEnded(after: .zero) else { continue }
            #expect(delay >= .seconds(0.5) && delay <= .seconds(1))
            seen.insert(delay)
        }
        #expect(seen.count > 100)
    }

    @Test func givesUp() {
        var backoff = Backoff(policy: RestartPolicy(maximumRestarts: 0), seed: 1)
        #expect(backoff.runEnded(after: .seconds(1)) == .giveUp(afterRestarts: 0))
    }
}

@Suite struct RateLimitTests {
    @Test func burstThenSteady() {
        var limit = RateLimit(perSecond: 10, burst: 2)
        let start = ContinuousClock.now
        #expect(limit.take(at: start) == nil)
        #expect(limit.take(at: start) == nil)
        #expect(limit.take(at: start) == start + .seconds(0.1))
        #expect(limit.take(at: start + .seconds(0.1)) == nil)
        // Rest fills it up to the burst and no further.
        let later = start + .seconds(60)
        #expect((0..<3).map { _ in limit.take(at: later) == nil } == [true, true, false])
    }
}
