import NIOCore
import NIOHPACK
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// What a caller does on the wire, against a peer that is played frame by frame.
@Suite struct HTTPCallerTests {
    /// Runs a caller against a listener that answers every connection with settings.
    private func withPeer(
        _ configure: (inout NetworkManager.Configuration) -> Void = { _ in },
        _ body: (Loopback, RawSocket.Listener, Instance) async throws -> Void
    ) async throws {
        try await Loopback.run({
            $0.http.requestTimeout = .seconds(20)
            configure(&$0)
        }) { loopback in
            try await RawSocket.listen { listener in try await body(loopback, listener, .http(port: listener.port)) }
        }
    }

    /// Starts requests whose outcome is returned in the order of their ends.
    private func send(
        _ count: Int,
        _ loopback: Loopback,
        _ instance: Instance,
        _ body: (AsyncStream<RequestPlaneError?>) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (outcomes, source) = AsyncStream<RequestPlaneError?>.makeStream()
            for number in 0..<count {
                group.addTask {
                    do throws(RequestPlaneError) {
                        _ = try await loopback.send("{}", to: instance, id: "r\(number)")
                        source.yield(nil)
                    } catch { source.yield(error) }
                }
            }
            try await body(outcomes)
            group.cancelAll()
        }
    }

    private func first(_ outcomes: AsyncStream<RequestPlaneError?>) async -> RequestPlaneError? {
        for await outcome in outcomes { return outcome }
        return nil
    }

    private func open(_ socket: RawSocket, _ settings: [(UInt16, UInt32)] = []) async throws {
        try await socket.send(RawHTTP2Frame.settings(settings))
        try await socket.send(RawHTTP2Frame.settingsAcknowledgement)
    }

    // MARK: Connections

    @Test func settingsOnTheWire() async throws {
        for (isAdaptive, window) in [(true, UInt32(33_554_432)), (false, 65_535)] {
            try await self.withPeer({
                $0.http.maximumFrameSize = 32_768
                $0.http.adaptiveWindow = isAdaptive
            }) { loopback, listener, instance in
                try await self.send(1, loopback, instance) { _ in
                    let socket = try await listener.connection(0)
                    try await socket.waitForFrames(RawHTTP2Frame.settings)
                    #expect(socket.received.getString(at: 0, length: 24) == RawHTTP2Frame.preface)
                    let settings = try #require(socket.frames.first).settings
                    #expect(settings[2] == 0 && settings[4] == window && settings[5] == 32_768)
                    #expect(
                        socket.requestStreams == [],
                        "nothing is sent before the peer has shown that it speaks HTTP/2"
                    )
                }
            }
        }
    }

    @Test func requestAsDynamoSendsIt() async throws {
        try await self.withPeer { loopback, listener, instance in
            try await self.send(1, loopback, instance) { _ in
                let socket = try await listener.connection(0)
                try await self.open(socket)
                try await eventually("the request has arrived") { socket.requestStreams == [1] }
                var decoder = HPACKDecoder(allocator: ByteBufferAllocator())
                var block = try #require(socket.frames(RawHTTP2Frame.headers).first).payload
                let headers = try decoder.decodeHeaders(from: &block)
                #expect(headers.first(name: ":method") == "POST")
                #expect(headers.first(name: ":path") == "/v1/rpc/run")
                #expect(headers.first(name: ":authority") == "127.0.0.1:\(listener.port)")
                #expect(headers.first(name: "content-type") == "application/octet-stream")
                #expect(headers.first(name: "request-id") == "r0")
                #expect(headers.first(name: "x-frontend-send-ts-ns").flatMap { UInt64($0) } != nil)
                let data = socket.frames(RawHTTP2Frame.data)
                #expect(data.count == 1)
                let message = try TwoPartMessage(payload: try #require(data.first).payload)
                #expect(headers.first(name: "content-length") == String(message.encodedSize))
                #expect(try ControlHeader(message.header).id == "r0")
                #expect(String(buffer: message.body) == "{}")
            }
        }
    }

    @Test func oneConnectionTakesMany() async throws {
        try await self.withPeer { loopback, listener, instance in
            try await self.send(200, loopback, instance) { _ in
                let socket = try await listener.connection(0)
                try await self.open(socket, [(3, 1000)])
                // Room for all the bodies.
                try await socket.send(
                    RawHTTP2Frame(type: 8, payload: ByteBuffer(integer: UInt32(1_000_000))).encoded
                )
                try await eventually("all requests are on one connection") {
                    listener.accepted.map(\.requestStreams.count) == [200]
                }
            }
        }
    }

    @Test func streamLimitsOfThePeerOpenMoreConnections() async throws {
        try await self.withPeer { loopback, listener, instance in
            try await self.send(12, loopback, instance) { _ in
                for index in 0..<3 { try await self.open(try await listener.connection(index), [(3, 5)]) }
                try await eventually("the requests are spread") {
                    listener.accepted.map(\.requestStreams.count).sorted() == [2, 5, 5]
                }
            }
        }
    }

    @Test func ownStreamLimitAndPoolSize() async throws {
        try await self.withPeer({
            $0.http.maximumConcurrentStreams = 3
            $0.http.poolSize = 2
        }) { loopback, listener, instance in
            try await self.send(10, loopback, instance) { outcomes in
                for index in 0..<2 { try await self.open(try await listener.connection(index)) }
                try await eventually("two connections are full") {
                    listener.accepted.map(\.requestStreams.count) == [3, 3]
                }
                // A place that becomes free is taken.
                try await listener.accepted[1].send(RawHTTP2Frame.response(404, stream: 3))
                #expect(await self.first(outcomes)?.code == .unknownEndpoint)
                try await eventually("the next has gone out") {
                    listener.accepted.map(\.requestStreams.count) == [3, 4]
                }
            }
        }
    }

    @Test func largeBodiesAreCutAsThePeerWants() async throws {
        try await self.withPeer { loopback, listener, instance in
            let text = String(repeating: "1", count: 100_000)
            async let answer: ResponseStream? = try? loopback.send(text, to: instance)
            let socket = try await listener.connection(0)
            try await self.open(socket, [(5, 20_000), (4, 1_000_000)])
            try await socket.send(
                RawHTTP2Frame(type: 8, payload: ByteBuffer(integer: UInt32(1_000_000))).encoded
            )
            try await eventually("the request has arrived") { socket.requestStreams == [1] }
            let sizes = socket.frames(RawHTTP2Frame.data).map(\.payload.readableBytes)
            #expect(sizes.max() == 20_000 && sizes.reduce(0, +) > 100_000)
            try await socket.send(RawHTTP2Frame.response(503, stream: 1))
            #expect(await answer == nil)
        }
    }

    @Test func idleConnectionsAreClosed() async throws {
        try await self.withPeer({ $0.http.poolIdleTimeout = .milliseconds(200) }) { loopback, listener, instance in
            try await self.send(1, loopback, instance) { outcomes in
                let socket = try await listener.connection(0)
                try await self.open(socket)
                try await eventually("the request has arrived") { socket.requestStreams == [1] }
                try await socket.send(RawHTTP2Frame.response(404, stream: 1))
                _ = await self.first(outcomes)
                #expect(!socket.isClosed)
                try await socket.waitForClose()
            }
        }
    }

    @Test func surplusIdleConnectionsAreClosed() async throws {
        try await self.withPeer({ $0.http.poolMaximumIdle = 1 }) { loopback, listener, instance in
            try await self.send(3, loopback, instance) { _ in
                for index in 0..<3 { try await self.open(try await listener.connection(index), [(3, 1)]) }
                try await eventually("every connection has a request") {
                    listener.accepted.allSatisfy { $0.requestStreams.count == 1 }
                }
                for socket in listener.accepted { try await socket.send(RawHTTP2Frame.response(404, stream: 1)) }
                try await eventually("one is kept") { listener.accepted.count(where: \.isClosed) == 2 }
            }
        }
    }

    // MARK: Liveness

    @Test func pings() async throws {
        try await self.withPeer({
            $0.http.keepAliveInterval = .milliseconds(100)
            $0.http.keepAliveTimeout = .milliseconds(300)
        }) { loopback, listener, instance in
            try await self.send(1, loopback, instance) { outcomes in
                let socket = try await listener.connection(0)
                try await self.open(socket)
                // An answered ping is followed by another; an unanswered one is the end.
                for count in 1...3 {
                    try await socket.waitForFrames(RawHTTP2Frame.ping, count: count)
                    var pong = socket.frames(RawHTTP2Frame.ping)[count - 1]
                    #expect(pong.flags == 0)
                    pong.flags = 1
                    if count < 3 { try await socket.send(pong.encoded) }
                }
                #expect(!socket.isClosed)
                try await socket.waitForClose()
                let error = await self.first(outcomes)
                #expect(error?.code == .connectFailed)
            }
        }
    }

    @Test func acknowledgementTimeout() async throws {
        try await self.withPeer({ $0.http.requestTimeout = .milliseconds(300) }) { loopback, listener, instance in
            try await self.send(1, loopback, instance) { outcomes in
                let socket = try await listener.connection(0)
                try await self.open(socket)
                let error = await self.first(outcomes)
                #expect(error?.code == .timedOut)
                #expect(error?.message.contains("no acknowledgement from 127.0.0.1:\(listener.port)") == true)
                try await socket.waitForFrames(RawHTTP2Frame.reset)
                #expect(!socket.isClosed)
            }
        }
    }

    @Test func aPeerThatSaysNothing() async throws {
        try await self.withPeer({
            $0.http.requestTimeout = .milliseconds(600)
            $0.http.connectTimeout = .milliseconds(200)
        }) { loopback, listener, instance in
            try await self.send(1, loopback, instance) { outcomes in
                let error = await self.first(outcomes)
                #expect(error?.code == .timedOut)
                #expect(listener.accepted.count == 2, "the second one in HTTP/1.1")
            }
        }
    }

    @Test func nobodyListens() async throws {
        try await Loopback.run { loopback in
            let port = try await RawSocket.listen { $0.port }
            let error = await #expect(throws: RequestPlaneError.self) {
                try await loopback.send("{}", to: .http(port: port))
            }
            #expect(error?.code == .connectFailed)
            #expect(error?.message.contains("cannot connect to 127.0.0.1:\(port)") == true)
        }
    }

    @Test func aPeerThatSendsGarbage() async throws {
        for garbage in [
            "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}", "nonsense", "HTTP/1.1 what?\r\n\r\n",
        ] {
            try await self.withPeer({ $0.http.requestTimeout = .seconds(3) }) { loopback, listener, instance in
                try await self.send(1, loopback, instance) { outcomes in
                    let answering = Task {
                        for index in 0..<8 { try await listener.connection(index).send(garbage) }
                    }
                    let error = await self.first(outcomes)
                    #expect(error?.code == .connectFailed, "\(garbage): \(String(describing: error))")
                    answering.cancel()
                }
            }
        }
    }

    // MARK: Going away

    @Test func unprocessedStreamsAreSentAgain() async throws {
        try await self.withPeer { loopback, listener, instance in
            try await self.send(3, loopback, instance) { outcomes in
                let socket = try await listener.connection(0)
                try await self.open(socket)
                try await eventually("the requests have arrived") { socket.requestStreams == [1, 3, 5] }
                try await socket.send(RawHTTP2Frame.goAway(last: 1))
                let second = try await listener.connection(1)
                try await self.open(second)
                try await eventually("two are sent again") { second.requestStreams == [1, 3] }
                try await socket.send(RawHTTP2Frame.response(404, stream: 1))
                try await socket.waitForClose()
                #expect(await self.first(outcomes)?.code == .unknownEndpoint)
                // Once, and not for ever.
                try await second.send(RawHTTP2Frame.goAway(last: 0))
                for _ in 0..<2 { #expect(await self.first(outcomes)?.code == .connectFailed) }
            }
        }
    }

    @Test func refusedStreamsAreSentAgain() async throws {
        try await self.withPeer { loopback, listener, instance in
            try await self.send(1, loopback, instance) { outcomes in
                let socket = try await listener.connection(0)
                try await self.open(socket)
                try await eventually("the request has arrived") { socket.requestStreams == [1] }
                try await socket.send(RawHTTP2Frame.reset(stream: 1, code: 7))
                try await eventually("it is sent again") { socket.requestStreams == [1, 3] }
                try await socket.send(RawHTTP2Frame.reset(stream: 3, code: 2))
                #expect(await self.first(outcomes)?.code == .connectFailed)
            }
        }
    }

    // MARK: HTTP/1.1

    /// A plain HTTP/1.1 server answers the preface as a bad request.
    @Test func fallsBackToHTTP1() async throws {
        try await self.withPeer { loopback, listener, instance in
            for number in 0..<3 {
                try await self.send(1, loopback, instance) { outcomes in
                    if number == 0 {
                        let refused = try await listener.connection(0)
                        try await refused.waitForBytes(24)
                        try await refused.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                        try await refused.waitForClose()
                    }
                    let socket = try await listener.connection(1)
                    try await eventually("request \(number) has arrived") {
                        socket.receivedText.components(of: "POST /v1/rpc/run HTTP/1.1\r\n") == number + 1
                    }
                    try await socket.send("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno")
                    let error = await self.first(outcomes)
                    #expect(error?.code == .unknownEndpoint)
                    #expect(error?.message.contains("status 404 Not Found: no") == true)
                }
            }
            #expect(listener.accepted.count == 2, "the connection is kept, and HTTP/2 is not tried again")
        }
    }

    @Test func aKeptConnectionThatIsClosedIsReplaced() async throws {
        try await self.withPeer { loopback, listener, instance in
            for number in 0..<2 {
                try await self.send(1, loopback, instance) { outcomes in
                    if number == 0 {
                        // A server may also just close.
                        try await listener.connection(0).close()
                        let socket = try await listener.connection(1)
                        try await eventually("it has arrived") { socket.receivedText.components(of: "POST ") == 1 }
                        try await socket.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
                    } else {
                        let socket = listener.accepted[1]
                        try await eventually("it has arrived") { socket.receivedText.components(of: "POST ") == 2 }
                        try await socket.close()
                        let next = try await listener.connection(2)
                        try await eventually("it is sent again") { next.receivedText.components(of: "POST ") == 1 }
                        try await next.send("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n")
                        try await next.close()
                    }
                    #expect(await self.first(outcomes)?.code == .unavailable)
                }
            }
        }
    }

    /// The whole of a request and its answer, through a front that refuses HTTP/2.
    @Test func roundTripOverHTTP1() async throws {
        try await Loopback.runHTTP { loopback in
            let real = try await loopback.serve(
                handler: items { [.data(ByteBuffer(string: String($0.payload.readableBytes)))] }
            )
            try await HTTP1Front.run(to: real.httpPort) { front in
                let instance = Instance.http(port: front.port)
                #expect(try await loopback.send("{}", to: instance).texts() == ["2"])
                let big = String(repeating: "1", count: 8_000_000)
                #expect(try await loopback.send(big, to: instance).texts() == ["8000000"])
                try await withThrowingTaskGroup(of: [String].self) { group in
                    for number in 0..<200 {
                        group.addTask { try await loopback.send("{}", to: instance, id: "r\(number)").texts() }
                    }
                    for try await texts in group { #expect(texts == ["2"]) }
                }
                #expect(front.refused == 1)
            }
        }
    }

    // MARK: Limits

    /// A real server of Dynamo says nothing of its limit, and refuses more than 2 MiB.
    @Test func bodiesThatRealServersRefuseAreNotSent() async throws {
        try await self.withPeer { loopback, listener, instance in
            let big = String(repeating: "1", count: 2_097_152)
            try await withThrowingTaskGroup(of: RequestPlaneError?.self) { group in
                for number in 0..<2 {
                    group.addTask {
                        do throws(RequestPlaneError) {
                            _ = try await loopback.send(big, to: instance, id: "r\(number)")
                            return nil
                        } catch { return error }
                    }
                }
                let socket = try await listener.connection(0)
                try await self.open(socket)
                try await eventually("the host is asked") { socket.requestStreams == [1] }
                var decoder = HPACKDecoder(allocator: ByteBufferAllocator())
                var block = try #require(socket.frames(RawHTTP2Frame.headers).first).payload
                #expect(try decoder.decodeHeaders(from: &block).first(name: ":method") == "OPTIONS")
                try await socket.send(RawHTTP2Frame.response(405, stream: 1))
                for try await error in group {
                    #expect(error?.code == .tooLarge)
                    #expect(error?.message.contains("more than the 2097152 that servers of Dynamo 1.2 take") == true)
                    #expect(error?.message.contains("DYN_REQUEST_PLANE=tcp") == true)
                }
                #expect(socket.requestStreams == [1])
            }
        }
    }
}

extension String {
    /// How often a text occurs.
    fileprivate func components(of text: String) -> Int {
        self.split(separator: text, omittingEmptySubsequences: false).count - 1
    }
}
