import NIOCore
import RequestPlane
import TestSupport
import Testing

@testable import RequestPlaneTransports

@Suite struct TCPPoolStateTests {
    private let now = NIODeadline.uptimeNanoseconds(1_000_000_000)

    @Test func fillsBeforeItOpensAnother() {
        var state = TCPPoolState(limit: 2, capacity: 10)
        #expect(state.place(waiting: 1, now: self.now) == .connect(1))
        #expect(state.place(waiting: 10, now: self.now) == .wait(until: nil))
        #expect(state.place(waiting: 11, now: self.now) == .connect(2))
        #expect(state.place(waiting: 100, now: self.now) == .wait(until: nil), "the pool is full")
        state.update(1, isReady: true)
        #expect(state.place(waiting: 1, now: self.now) == .use(1))
        state.update(1, isReady: false)
        #expect(state.place(waiting: 1, now: self.now) == .wait(until: nil))
        state.closed(1)
        state.update(2, isReady: false)
        #expect(state.place(waiting: 1, now: self.now) == .connect(3))
    }

    @Test func backsOffAfterFailures() {
        let failure = PlaneFailure(.connectFailed, "no")
        var state = TCPPoolState(limit: 2, capacity: 10)
        var delay = TimeAmount.milliseconds(50)
        var now = self.now
        for _ in 0..<8 {
            guard case .connect(let id) = state.place(waiting: 1, now: now) else { Issue.record("no attempt"); return }
            #expect(state.failed(id, failure, now: now) == true)
            #expect(state.place(waiting: 1, now: now) == .fail(failure))
            #expect(state.place(waiting: 1, now: now + delay - .nanoseconds(1)) == .fail(failure))
            now = now + delay
            delay = min(delay * 2, .seconds(1))
        }
        guard case .connect(let id) = state.place(waiting: 1, now: now) else { Issue.record("no attempt"); return }
        state.update(id, isReady: true)
        state.closed(id)
        guard case .connect = state.place(waiting: 1, now: now) else {
            Issue.record("success ends the penalty"); return
        }
    }
}

extension TCPPoolStateTests {
    /// While a connection is busy, a host that refuses others is left alone until the penalty ends.
    @Test func waitsForTheEndOfThePenalty() {
        let failure = PlaneFailure(.connectFailed, "no")
        var state = TCPPoolState(limit: 4, capacity: 1)
        #expect(state.place(waiting: 1, now: self.now) == .connect(1))
        state.update(1, isReady: false)
        #expect(state.place(waiting: 3, now: self.now) == .connect(2))
        #expect(state.place(waiting: 3, now: self.now) == .connect(3))
        #expect(state.failed(2, failure, now: self.now) == false)
        let end = self.now + .milliseconds(50)
        #expect(state.place(waiting: 3, now: self.now) == .wait(until: end))
        // An attempt that was under way already does not make it longer.
        #expect(state.failed(3, failure, now: self.now + .milliseconds(1)) == false)
        #expect(state.place(waiting: 3, now: end - .nanoseconds(1)) == .wait(until: end))
        #expect(state.place(waiting: 3, now: end) == .connect(4))
        #expect(state.failed(4, failure, now: end) == false)
        #expect(state.place(waiting: 3, now: end) == .wait(until: end + .milliseconds(100)))
        state.update(1, isReady: true)
        #expect(state.place(waiting: 3, now: end) == .use(1))
    }
}

@Suite struct TCPPoolTests {
    /// Sends requests that are never acknowledged, and returns how many went out on how many connections.
    private func sendUnacknowledged(
        _ count: Int,
        poolSize: Int,
        channelBuffer: Int,
        _ check: @escaping @Sendable ([Int]) -> Bool
    ) async throws {
        try await Loopback.run({
            $0.tcp.poolSize = poolSize
            $0.tcp.channelBuffer = channelBuffer
            $0.tcp.requestTimeout = .seconds(60)
        }) { loopback in
            try await RawSocket.listen { listener in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<count {
                        group.addTask { _ = try? await loopback.send("{}", to: listener.instance, id: "r\(number)") }
                    }
                    try await eventually("the requests are spread as expected") {
                        check(listener.accepted.map { self.frames($0) })
                    }
                    group.cancelAll()
                    try await group.waitForAll()
                }
            }
        }
    }

    private func frames(_ socket: RawSocket) -> Int {
        var decoder = TCPRequestDecoder(limit: 1 << 20)
        decoder.append(socket.received)
        var count = 0
        while (try? decoder.next()) != nil { count += 1 }
        return count
    }

    @Test func oneConnectionTakesMany() async throws {
        try await self.sendUnacknowledged(50, poolSize: 10, channelBuffer: 100) { $0 == [50] }
    }

    @Test func poolAndBufferLimit() async throws {
        try await self.sendUnacknowledged(100, poolSize: 2, channelBuffer: 5) { $0.sorted() == [5, 5] }
    }

    /// The pool asks again by itself when the penalty ends, although its only connection stays busy.
    @Test func hostThatRefusesMoreConnectionsIsAskedAgain() async throws {
        try await Loopback.run({
            $0.tcp.channelBuffer = 1
            $0.tcp.requestTimeout = .seconds(60)
        }) { loopback in
            try await RawSocket.listen { listener in
                let busy = Task { _ = try await loopback.send("{}", to: listener.instance) }
                let first = try await listener.connection(0)
                try await first.waitForBytes(100)
                await listener.stop()
                let waiting = Task { _ = try await loopback.send("{}", to: listener.instance) }
                let start = (ContinuousClock.now, processorTime())
                try await eventually("time passes") { ContinuousClock.now - start.0 > .milliseconds(500) }
                #expect(processorTime() - start.1 < .milliseconds(250), "attempts follow each other without a pause")
                try await RawSocket.listen(port: listener.port) { again in
                    try await again.connection(0).waitForBytes(100)
                }
                #expect(!first.isClosed)
                busy.cancel()
                waiting.cancel()
            }
        }
    }

    @Test func connectionIsReused() async throws {
        try await Loopback.run { loopback in
            try await RawSocket.listen { listener in
                for number in 0..<5 {
                    async let answer: ResponseStream? = try? loopback.send("{}", to: listener.instance)
                    let socket = try await listener.connection(0)
                    try await eventually("request \(number) has arrived") { self.frames(socket) == number + 1 }
                    var refusal = ByteBuffer()
                    refusal.writeTCPAcknowledgement(.refused("no"))
                    try await socket.send(refusal)
                    _ = await answer
                }
                #expect(listener.accepted.count == 1)
            }
        }
    }
}

@Suite struct SupportTests {
    @Test func randomIDsAreVersionFourUUIDs() {
        var seen: Set<String> = []
        for _ in 0..<1000 {
            let id = RandomID.make()
            #expect(seen.insert(id).inserted)
            let parts = id.split(separator: "-")
            #expect(parts.map(\.count) == [8, 4, 4, 4, 12])
            #expect(parts[2].first == "4" && "89ab".contains(parts[3].first ?? "x"))
            #expect(id.allSatisfy { $0 == "-" || "0123456789abcdef".contains($0) })
        }
    }

    @Test(arguments: [
        ("127.0.0.1:80", "127.0.0.1", 80), ("[::1]:80", "::1", 80), ("::1:80", "::1", 80),
        ("some.host:65535", "some.host", 65535),
    ])
    func hostPorts(_ text: String, _ host: String, _ port: Int) {
        #expect(HostPort(text) == HostPort(host: host, port: port))
    }

    @Test(arguments: ["", ":80", "host", "host:", "host:0", "host:70000", "host:-1", "tcp://host:80"])
    func badHostPorts(_ text: String) { #expect(HostPort(text) == nil) }
}
