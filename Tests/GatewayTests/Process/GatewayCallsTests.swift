import Gateway
import Testing

/// What is asked of a gateway in another process, while processes come and go.
@Suite struct GatewayCallsTests {
    private static let traffic = GatewayTraffic(
        backends: [Backend(id: "frontend", generation: 1, host: "127.0.0.1", port: 1)],
        shares: [1: 100]
    )

    @Test func `what was set without a connection is sent with the first one, and only when it differs`() {
        var calls = GatewayCalls<String>()
        #expect(calls.set(Self.traffic) == nil)
        #expect(calls.connected(to: GatewayTraffic()).map(\.command) == [.setTraffic(Self.traffic)])
        #expect(calls.set(GatewayTraffic())?.command == .setTraffic(GatewayTraffic()))
        #expect(calls.disconnected() == [])
        #expect(calls.connected(to: GatewayTraffic()) == [], "it knows already")
        _ = calls.disconnected()
        #expect(calls.connected(to: Self.traffic).map(\.command) == [.setTraffic(GatewayTraffic())], "it was not told")
    }

    @Test func `questions go to the next process, what only this one can do does not`() {
        var calls = GatewayCalls<String>()
        let ids = (0..<3).map { _ in calls.reserve() }
        #expect(calls.ask(ids[0], .pause(ifIdleFor: .zero), "pause") == .refused, "nobody is there")
        #expect(calls.ask(ids[0], .status, "status") == .wait)
        #expect(calls.connected(to: GatewayTraffic()) == [GatewayCall(id: ids[0], command: .status)])
        #expect(
            calls.ask(ids[1], .pause(ifIdleFor: .zero), "pause")
                == .send(GatewayCall(id: ids[1], command: .pause(ifIdleFor: .zero)))
        )
        #expect(calls.disconnected() == ["pause"])
        #expect(calls.connected(to: GatewayTraffic()) == [GatewayCall(id: ids[0], command: .status)])
        #expect(calls.answered(ids[0]) == "status")
        #expect(calls.answered(ids[0]) == nil, "once")
        #expect(calls.abandon(ids[1]) == nil)
    }

    @Test func `files are kept by every process that follows`() {
        var calls = GatewayCalls<String>()
        #expect(calls.keepSocketFiles() == nil)
        for _ in 0..<2 {
            #expect(calls.connected(to: GatewayTraffic()).map(\.command) == [.keepSocketFiles])
            _ = calls.disconnected()
        }
    }

    @Test func `at the end nobody goes on waiting`() {
        var calls = GatewayCalls<String>()
        let (first, second) = (calls.reserve(), calls.reserve())
        #expect(calls.ask(first, .status, "first") == .wait)
        #expect(calls.ended() == ["first"])
        #expect(calls.ask(second, .status, "second") == .refused)
    }

    @Test func `a process that ends again and again is given up, one that ends now and then is not`() {
        var crashes = CrashLoop()
        var now = ContinuousClock.now
        #expect(crashes.ended(at: now) == .startAgain(after: .zero), "clients wait")
        for _ in 2..<CrashLoop.limit {
            now += .seconds(1)
            guard case .startAgain(let pause) = crashes.ended(at: now) else {
                Issue.record("given up too early")
                return
            }
            #expect(pause > .zero)
        }
        now += .seconds(1)
        #expect(crashes.ended(at: now) == .giveUp)
        var rare = CrashLoop()
        for _ in 0..<20 {
            now += CrashLoop.window / 2
            #expect(rare.ended(at: now) != .giveUp)
        }
    }
}
