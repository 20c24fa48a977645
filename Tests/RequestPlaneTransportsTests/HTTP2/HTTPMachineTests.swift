import NIOCore
import RequestPlane
import Testing

@testable import RequestPlaneTransports

@Suite struct HTTPRequestReceiverTests {
    private func receiver(limit: Int = 1000) -> HTTPRequestReceiver {
        HTTPRequestReceiver(rootPath: "/v1/rpc", limit: limit)
    }

    private func head(
        _ target: String = "/v1/rpc/run",
        isPost: Bool = true,
        contentLength: Int? = nil,
        expectsContinue: Bool = false,
        keepsAlive: Bool = true
    ) -> HTTPRequestReceiver.Head {
        HTTPRequestReceiver.Head(
            isPost: isPost,
            target: target,
            contentLength: contentLength,
            expectsContinue: expectsContinue,
            keepsAlive: keepsAlive
        )
    }

    @Test func collectsBodies() {
        var machine = self.receiver()
        let body = requestBody()
        for size in [1, 7, 1000] {
            #expect(machine.receive(self.head()) == nil)
            #expect(machine.isReceiving)
            var rest = body
            while let piece = rest.readSlice(length: min(size, rest.readableBytes)), piece.readableBytes > 0 {
                #expect(machine.receive(piece) == nil)
            }
            #expect(machine.receiveEnd() == .dispatch(path: "run", payload: body))
            #expect(!machine.isReceiving && !machine.isLast)
        }
    }

    @Test(arguments: [
        ("/", HTTPAnswer.outside), ("/v1/rpc", .outside), ("/v1/rpc/", .outside), ("/v1/rpcrun", .outside),
        ("/health", .outside), ("/v1/rpc/a%zz", .outside),
    ])
    func outside(_ target: String, _ answer: HTTPAnswer) {
        var machine = self.receiver()
        #expect(machine.receive(self.head(target)) == nil)
        #expect(machine.receive(ByteBuffer(string: "x")) == nil)
        #expect(machine.receiveEnd() == .answer(answer))
        #expect(!machine.isLast)
    }

    @Test func otherMethods() {
        var machine = self.receiver()
        _ = machine.receive(self.head(isPost: false))
        #expect(machine.receiveEnd() == .answer(.methodNotAllowed))
        var options = self.head(isPost: false)
        options.isOptions = true
        _ = machine.receive(options)
        #expect(machine.receiveEnd() == .answer(.options))
    }

    @Test func expectation() {
        var machine = self.receiver(limit: 10)
        #expect(machine.receive(self.head(contentLength: 10, expectsContinue: true)) == .sendContinue)
        _ = machine.receive(ByteBuffer(string: "0123456789"))
        #expect(machine.receiveEnd() != nil)
        // A peer that waits for permission does not send what is refused.
        #expect(machine.receive(self.head(contentLength: 11, expectsContinue: true)) == .answer(.tooLarge))
        #expect(machine.isLast && !machine.isReceiving)
        var other = self.receiver()
        #expect(other.receive(self.head("/x", expectsContinue: true)) == .answer(.outside))
        #expect(other.isLast)
    }

    @Test func limit() {
        var machine = self.receiver(limit: 10)
        #expect(machine.receive(self.head(contentLength: 11)) == .answer(.tooLarge))
        #expect(machine.isLast)
        #expect(machine.receive(ByteBuffer(string: "0123456789")) == nil)
        #expect(machine.receive(ByteBuffer(string: "0")) == .close)
        #expect(machine.receiveEnd() == nil)

        var chunked = self.receiver(limit: 10)
        _ = chunked.receive(self.head())
        #expect(chunked.receive(ByteBuffer(string: "0123456789")) == nil)
        #expect(chunked.receive(ByteBuffer(string: "0")) == .answer(.tooLarge))
        #expect(chunked.receiveEnd() == .close)

        var refused = self.receiver(limit: 10)
        _ = refused.receive(self.head("/x"))
        #expect(refused.receive(ByteBuffer(string: "01234567890")) == .answer(.outside))
        #expect(refused.isLast)
    }

    @Test func defects() {
        for body in ["", "short", String(repeating: "x", count: 30)] {
            var machine = self.receiver()
            _ = machine.receive(self.head())
            _ = machine.receive(ByteBuffer(string: body))
            guard case .answer(let answer) = machine.receiveEnd() else { Issue.record("no answer"); return }
            #expect(answer.status == .malformed)
        }
        var machine = self.receiver()
        _ = machine.receive(self.head())
        #expect(machine.receiveGarbage(.malformed("x")) == .answer(.malformed("x")))
        #expect(machine.receiveGarbage(.malformed("x")) == nil)
        #expect(machine.receive(self.head()) == nil)
    }

    @Test func endOfTheConnection() {
        var machine = self.receiver()
        _ = machine.receive(self.head(keepsAlive: false))
        #expect(machine.isLast)
        var quiet = self.receiver()
        #expect(quiet.quiesce() == .close)
        var busy = self.receiver()
        _ = busy.receive(self.head())
        #expect(busy.quiesce() == nil)
        _ = busy.receive(requestBody())
        #expect(busy.receiveEnd() == .dispatch(path: "run", payload: requestBody()))
        #expect(busy.isLast)
        #expect(busy.receive(self.head()) == nil)
    }
}

@Suite struct HTTPAddressTests {
    @Test(arguments: [
        ("/v1/rpc/run", HTTPRoute.endpoint("run")), ("/v1/rpc/a/b", .endpoint("a/b")),
        ("/v1/rpc/run?x=1", .endpoint("run")),
        ("/v1/rpc/zw%C3%B6lf", .endpoint("zwölf")), ("http://a:1/v1/rpc/run", .endpoint("run")), ("http://a", .outside),
        ("*", .outside), ("", .outside),
    ])
    func routes(_ target: String, _ route: HTTPRoute) {
        #expect(HTTPRoute(target: target, rootPath: "/v1/rpc") == route)
    }

    @Test func emptyRoot() {
        #expect(HTTPRoute(target: "/run", rootPath: "") == .endpoint("run"))
        #expect(HTTPRoute(target: "/", rootPath: "") == .outside)
    }

    @Test(arguments: [
        ("http://127.0.0.1:80/v1/rpc/run", "127.0.0.1", 80, "/v1/rpc/run", "127.0.0.1"),
        ("HTTP://a.b:8888/x?y=1#z", "a.b", 8888, "/x?y=1", "a.b:8888"), ("http://a", "a", 80, "/", "a"),
        ("http://[::1]:7/x", "::1", 7, "/x", "[::1]:7"), ("http://[::1]/x", "::1", 80, "/x", "[::1]"),
        ("http://a:1?q", "a", 1, "/?q", "a:1"), ("http://a:1/ö x", "a", 1, "/%C3%B6%20x", "a:1"),
    ])
    func urls(_ text: String, _ host: String, _ port: Int, _ path: String, _ authority: String) throws {
        let url = try HTTPInstanceURL(text)
        #expect(url.target == HostPort(host: host, port: port))
        #expect(url.path == path)
        #expect(url.authority == authority)
    }

    @Test(arguments: [
        "", "https://a:1/x", "a:1/x", "http://", "http:///x", "http://a:x/", "http://u:p@a:1/", "http://a:0/",
    ])
    func badURLs(_ text: String) {
        let error = #expect(throws: RequestPlaneError.self) { try HTTPInstanceURL(text) }
        #expect(error?.code == .connectFailed)
    }

    @Test(arguments: ["", "run", "a/b", "zwölf 漢字", "100%", "a?b#c", "\u{0}\n"])
    func percentEncoding(_ text: String) {
        let encoded = PercentEncoding.encode(text)
        #expect(encoded.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
        #expect(PercentEncoding.decode(encoded) == text)
    }

    @Test func httpDate() {
        #expect(WallClock.httpDate(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
    }
}

@Suite struct HTTPBodyLimitTests {
    @Test func asksOnceAndRemembers() {
        var limit = HTTPBodyLimit()
        #expect(limit.judge(2_097_152) == .send)
        #expect(limit.judge(2_097_153) == .ask)
        #expect(limit.judge(2_097_153) == .wait)
        #expect(limit.judge(1) == .send)
        limit.learn(nil)
        guard case .refuse(let failure) = limit.judge(2_097_153) else { Issue.record("not refused"); return }
        #expect(failure.code == .tooLarge)
        #expect(
            failure.message.contains(
                "more than the 2097152 that servers of Dynamo 1.2 take over HTTP; use the TCP plane"
            )
        )
        limit.learn(3_000_000)
        #expect(limit.judge(3_000_000) == .send)
        limit.forget()
        #expect(limit.judge(3_000_000) == .ask)
    }
}

@Suite struct HTTP2ClientConnectionTests {
    @Test func settingsOpenIt() {
        var machine = HTTP2ClientConnection(maximumStreams: 1000)
        #expect(machine.isConnecting && !machine.takesRequests)
        #expect(machine.receiveSettings(maximumStreams: 200) == .opened(capacity: 200))
        #expect(machine.takesRequests)
        #expect(machine.receiveSettings(maximumStreams: nil) == nil)
        #expect(machine.receiveSettings(maximumStreams: 5000) == .capacityChanged(1000))
        var other = HTTP2ClientConnection(maximumStreams: 7)
        #expect(other.receiveSettings(maximumStreams: nil) == .opened(capacity: 7))
        var silent = HTTP2ClientConnection(maximumStreams: 1000)
        #expect(silent.receiveSettings(maximumStreams: nil) == .opened(capacity: 100), "a peer that does not say")
    }

    @Test func goAway() {
        var machine = HTTP2ClientConnection(maximumStreams: 10)
        _ = machine.receiveSettings(maximumStreams: nil)
        machine.streamOpened()
        machine.streamOpened()
        #expect(machine.receiveGoAway(last: Int(Int32.max)) == .retire)
        #expect(!machine.takesRequests && !machine.isUnprocessed(3))
        #expect(machine.receiveGoAway(last: 1) == nil)
        #expect(machine.isUnprocessed(3) && !machine.isUnprocessed(1))
        #expect(machine.streamClosed() == nil)
        #expect(machine.streamClosed() == .close)
        #expect(machine.pingIsDue() == nil)

        var idle = HTTP2ClientConnection(maximumStreams: 10)
        _ = idle.receiveSettings(maximumStreams: nil)
        #expect(idle.receiveGoAway(last: 0) == .retireAndClose)
        var early = HTTP2ClientConnection(maximumStreams: 10)
        #expect(early.receiveGoAway(last: 0) == .close)
    }

    @Test func pings() {
        var machine = HTTP2ClientConnection(maximumStreams: 10)
        #expect(machine.pingIsDue() == .sendPing(1))
        #expect(machine.pingIsDue() == nil, "one at a time")
        machine.receivePong(7)
        #expect(machine.pingIsDue() == nil)
        machine.receivePong(1)
        #expect(machine.pingIsOverdue(1) == nil)
        #expect(machine.pingIsDue() == .sendPing(2))
        #expect(machine.pingIsOverdue(2) == .close)
    }
}

@Suite struct HTTPPoolStateTests {
    private let now = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let failure = PlaneFailure(.connectFailed, "no")

    private func pool(limit: Int = 3, maximumIdle: Int = 2) -> HTTPPoolState {
        HTTPPoolState(limit: limit, maximumIdle: maximumIdle, idleTimeout: .seconds(90))
    }

    @Test func fillsBeforeItOpensAnother() {
        var state = self.pool(limit: 2)
        #expect(state.place(waiting: 1, now: self.now) == .connect(1, .http2))
        #expect(
            state.place(waiting: 5000, now: self.now) == .wait(until: nil),
            "nobody knows how many the first one will take"
        )
        state.opened(1, capacity: 2, now: self.now)
        for _ in 0..<2 {
            #expect(state.place(waiting: 1, now: self.now) == .use(1))
            state.started(1)
        }
        #expect(state.place(waiting: 1, now: self.now) == .connect(2, .http2))
        #expect(state.place(waiting: 2, now: self.now) == .wait(until: nil))
        #expect(state.place(waiting: 3, now: self.now) == .wait(until: nil), "the pool is full")
        #expect(state.finished(1, now: self.now) == false)
        #expect(state.place(waiting: 1, now: self.now) == .use(1))
        state.capacityChanged(1, 1)
        #expect(state.place(waiting: 1, now: self.now) == .wait(until: nil))
        state.closed(1)
        #expect(!state.contains(1))
    }

    @Test func aHostThatTakesNothingIsWaitedFor() {
        var state = self.pool()
        _ = state.place(waiting: 1, now: self.now)
        state.opened(1, capacity: 0, now: self.now)
        #expect(state.place(waiting: 1000, now: self.now) == .wait(until: nil))
    }

    @Test func fallsBackToHTTP1() {
        var state = self.pool()
        _ = state.place(waiting: 1, now: self.now)
        #expect(state.notHTTP2(1, isCertain: true) == true)
        #expect(state.place(waiting: 1, now: self.now) == .connect(2, .http1))
        #expect(state.place(waiting: 2, now: self.now) == .connect(3, .http1), "one request at a time each")
        // A failure does not make it forget what the host has said.
        _ = state.failed(2, self.failure, now: self.now)
        _ = state.failed(3, self.failure, now: self.now)
        #expect(state.place(waiting: 1, now: self.now + .seconds(2)) == .connect(4, .http1))
    }

    @Test func aGuessIsForgottenWhenItDoesNotHelp() {
        var state = self.pool()
        _ = state.place(waiting: 1, now: self.now)
        #expect(state.notHTTP2(1, isCertain: false) == true)
        #expect(state.place(waiting: 1, now: self.now) == .connect(2, .http1))
        #expect(state.failed(2, self.failure, now: self.now) == true)
        #expect(state.place(waiting: 1, now: self.now) == .fail(self.failure))
        #expect(state.place(waiting: 1, now: self.now + .milliseconds(50)) == .connect(3, .http2))
        // A host that has answered in HTTP/2 is not suspected of anything else when it closes.
        state.opened(3, capacity: 1, now: self.now)
        state.answered(3)
        _ = state.place(waiting: 1, now: self.now)
        #expect(state.notHTTP2(4, isCertain: false) == false)
    }

    @Test func surplusAndOldConnectionsGo() {
        var state = self.pool(limit: 9, maximumIdle: 2)
        for id in 1...3 {
            #expect(state.place(waiting: 1, now: self.now) == .connect(id, .http2))
            state.opened(id, capacity: 1, now: self.now)
            state.started(id)
        }
        #expect(state.finished(1, now: self.now) == false)
        #expect(state.finished(2, now: self.now + .seconds(1)) == false)
        #expect(state.finished(3, now: self.now + .seconds(2)) == true, "two unused ones are enough")
        #expect(state.nextExpiry == self.now + .seconds(90))
        #expect(state.expire(now: self.now + .seconds(90)) == [1])
        #expect(state.nextExpiry == self.now + .seconds(91))
        #expect(state.expire(now: self.now + .seconds(91)) == [2])
        #expect(state.isEmpty && state.nextExpiry == nil)
    }

    /// While a connection is busy, a host that refuses others is left alone until the penalty ends.
    @Test func waitsForTheEndOfThePenalty() {
        var state = self.pool()
        _ = state.place(waiting: 1, now: self.now)
        state.opened(1, capacity: 1, now: self.now)
        state.started(1)
        guard case .connect(let id, _) = state.place(waiting: 1, now: self.now) else { Issue.record("none"); return }
        #expect(state.failed(id, self.failure, now: self.now) == false)
        let end = self.now + .milliseconds(50)
        #expect(state.place(waiting: 1, now: self.now) == .wait(until: end))
        #expect(state.place(waiting: 1, now: end) == .connect(id + 1, .http2))
    }

    @Test func backsOffAfterFailures() {
        var state = self.pool()
        var delay = TimeAmount.milliseconds(50)
        var now = self.now
        for _ in 0..<8 {
            guard case .connect(let id, _) = state.place(waiting: 1, now: now) else { Issue.record("none"); return }
            #expect(state.failed(id, self.failure, now: now) == true)
            #expect(state.place(waiting: 1, now: now + delay - .nanoseconds(1)) == .fail(self.failure))
            now = now + delay
            delay = min(delay * 2, .seconds(1))
        }
    }
}
