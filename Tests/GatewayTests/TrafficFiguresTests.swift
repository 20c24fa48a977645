import Gateway
import NIOCore
import Testing

/// What is counted of a generation, without any network.
@Suite struct TrafficFiguresTests {
    private static let now = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private static func machine() -> Traffic<Int> {
        Traffic(hold: HoldPolicy(), upstream: UpstreamPolicy(), maximumRequests: 1000)
    }

    private static func backend(_ number: Int, generation: Int = 1) -> Backend {
        Backend(id: "frontend-\(number)", generation: generation, host: "127.0.0.1", port: number + 1)
    }

    private static func run(_ machine: inout Traffic<Int>, _ result: ExchangeResult) {
        guard case .send(let assignment) = machine.arrive(0, bytes: 1, now: self.now) else {
            Issue.record("nobody takes it")
            return
        }
        _ = machine.finish(assignment, result, now: self.now)
    }

    @Test func eachEndIsCountedAsWhatItIs() throws {
        var machine = Self.machine()
        _ = machine.setBackends([Self.backend(0)], now: Self.now)
        let ends: [ExchangeResult.End] = [
            .answered(status: 200), .answered(status: 404), .answered(status: 503), .failed(.cut), .failed(.malformed),
            .failed(.closedBeforeHead), .clientLeft, .clientStalled, .stale, .failed(.connect),
        ]
        for end in ends { Self.run(&machine, ExchangeResult(end, duration: .milliseconds(10))) }
        let figures = machine.figures(of: 1)
        #expect(figures.requests == 8 && figures.errors == 4 && figures.cancelled == 2 && figures.retries == 2)
        #expect(figures.duration.count == 3 && figures.firstToken.count == 0 && figures.inFlight == 0)
        #expect(machine.figures(of: 2) == TrafficFigures())
    }

    @Test func anErrorThatAStreamToldIsOneWhoeverEndsIt() {
        var machine = Self.machine()
        _ = machine.setBackends([Self.backend(0)], now: Self.now)
        // A client that was told an error leaves because of it.
        for end in [ExchangeResult.End.clientLeft, .answered(status: 200)] {
            var result = ExchangeResult(end, duration: .milliseconds(10))
            result.hasToldError = true
            Self.run(&machine, result)
        }
        let figures = machine.figures(of: 1)
        #expect(figures.requests == 2 && figures.errors == 2 && figures.cancelled == 0)
    }

    @Test func timesBeginWithAPlaceAtTheGeneration() throws {
        var machine = Self.machine()
        _ = machine.setBackends([Self.backend(0)], now: Self.now)
        var result = ExchangeResult(.answered(status: 200), firstByte: .seconds(61), duration: .seconds(64))
        result.waited = .seconds(60)
        result.firstToken = .seconds(62)
        result.betweenTokens = .milliseconds(20)
        Self.run(&machine, result)
        let figures = machine.figures(of: 1)
        #expect(abs((figures.firstToken.quantile(1) ?? 0) - 2) < 0.2)
        #expect(abs((figures.duration.quantile(1) ?? 0) - 4) < 0.4)
        #expect(abs((figures.betweenTokens.quantile(1) ?? 0) - 0.02) < 0.002)
        #expect(machine.statistics.first?.duration.sum == 64, "a backend's histogram has the client's time")
    }

    @Test func nothingIsForgottenWithBackendsThatAreGone() {
        var machine = Self.machine()
        for number in 0..<100 {
            _ = machine.setBackends([Self.backend(number)], now: Self.now)
            Self.run(&machine, ExchangeResult(.answered(status: 500), duration: .milliseconds(1)))
        }
        _ = machine.setBackends([Self.backend(0, generation: 2)], now: Self.now)
        Self.run(&machine, ExchangeResult(.answered(status: 200)))
        #expect(machine.statistics.count < 100)
        let figures = machine.figures(of: 1)
        #expect(figures.requests == 100 && figures.errors == 100 && figures.duration.count == 100)
        #expect(machine.figures(of: 2).requests == 1)
    }

    @Test func theDifferenceIsWhatHappenedBetween() {
        var machine = Self.machine()
        _ = machine.setBackends([Self.backend(0)], now: Self.now)
        Self.run(&machine, ExchangeResult(.answered(status: 500), duration: .seconds(100)))
        let before = machine.figures(of: 1)
        for _ in 0..<3 { Self.run(&machine, ExchangeResult(.answered(status: 200), duration: .milliseconds(5))) }
        _ = machine.arrive(0, bytes: 1, now: Self.now)
        let between = machine.figures(of: 1).subtracting(before)
        #expect(between.requests == 3 && between.errors == 0 && between.inFlight == 1 && between.duration.count == 3)
        #expect(abs((between.duration.quantile(1) ?? 0) - 0.005) < 0.0005)
        #expect(before.requests == 1, "a snapshot does not change")
        let nothing = before.subtracting(machine.figures(of: 1))
        #expect(nothing.requests == 0 && nothing.duration.count == 0 && nothing.duration.quantile(0.5) == nil)
    }

    // MARK: The digest

    @Test(arguments: [
        100_000, 110_001, 250_000, 1_000_000, 3_333_333, 75_000_000, 1_000_000_000, 59_000_000_000, 1_000_000_000_000,
    ])
    func oneTimeIsToldWithinATenth(_ nanoseconds: Int64) throws {
        var digest = LatencyDigest()
        digest.record(.nanoseconds(nanoseconds))
        let seconds = Double(nanoseconds) / 1e9
        for part in [0, 0.5, 1] {
            let quantile = try #require(digest.quantile(part))
            #expect(abs(quantile - seconds) <= seconds * 0.065, "\(quantile) for \(seconds)")
        }
    }

    @Test func quantilesOfMany() throws {
        var digest = LatencyDigest()
        #expect(digest.quantile(0.5) == nil)
        for number in (1...1000).shuffled() { digest.record(.milliseconds(Int64(number))) }
        #expect(digest.count == 1000)
        for part in [0.01, 0.25, 0.5, 0.9, 0.99, 1] {
            let quantile = try #require(digest.quantile(part))
            #expect(abs(quantile - part) <= part * 0.05 + 0.002, "\(quantile) for \(part)")
        }
        #expect(digest.quantile(-1) == digest.quantile(0) && digest.quantile(7) == digest.quantile(1))
        #expect(digest.quantile(.nan) == nil)
    }

    @Test func timesBeyondTheEndsAreKept() throws {
        var digest = LatencyDigest()
        for time in [TimeAmount.nanoseconds(-5), .zero, .hours(5), .nanoseconds(.max)] { digest.record(time) }
        let shortest = try #require(digest.quantile(0.5))
        #expect(digest.count == 4 && shortest > 0 && shortest <= 0.0001)
        let longest = try #require(digest.quantile(1))
        #expect(longest >= 1000 && longest < 1200)
    }
}
