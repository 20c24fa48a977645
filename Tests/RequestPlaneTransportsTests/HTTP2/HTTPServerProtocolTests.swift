import NIOCore
import NIOHPACK
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// What a server answers to bytes, in both versions of the protocol.
@Suite struct HTTPServerProtocolTests {
    /// Serves one endpoint that yields one item, and gives its port.
    private func withServer(
        _ configure: (inout NetworkManager.Configuration) -> Void = { _ in },
        _ body: (Loopback, Instance, Int) async throws -> Void
    ) async throws {
        try await Loopback.runHTTP(configure) { loopback in
            let instance = try await loopback.serve(handler: items { _ in [.data(ByteBuffer(string: "1"))] })
            try await body(loopback, instance, try instance.httpPort)
        }
    }

    /// Sends bytes in pieces, and expects answers.
    private func expect(
        _ statuses: [Int],
        to bytes: ByteBuffer,
        pieces: Int = .max,
        port: Int,
        closes: Bool = false
    ) async throws -> RawSocket {
        let socket = try await RawSocket.connect(port: port)
        var rest = bytes
        while let piece = rest.readSlice(length: min(pieces, rest.readableBytes)), piece.readableBytes > 0 {
            try await socket.send(piece)
        }
        try await socket.waitForStatuses(statuses)
        if closes { try await socket.waitForClose() } else { #expect(!socket.isClosed) }
        return socket
    }

    // MARK: HTTP/1

    /// The requests of real callers get the answers of real servers, except for the date and our own header.
    @Test(arguments: ["1.0.2", "1.2.1"], [Int.max, 100, 1])
    func realCallers(_ version: String, _ pieces: Int) async throws {
        try await self.withServer { _, _, port in
            let request = try HTTPFixture.bytes("\(version)-http-plain-1-request")
            let socket = try await self.expect([202], to: request, pieces: pieces, port: port)
            func fields(_ bytes: ByteBuffer) -> [Substring] {
                String(decoding: bytes.readableBytesView, as: UTF8.self)
                    .split(separator: "\r\n", omittingEmptySubsequences: false)
                    .filter { !$0.hasPrefix("date: ") && !$0.hasPrefix("x-dynamo-max-body: ") }
            }
            #expect(fields(socket.received) == fields(try HTTPFixture.bytes("\(version)-http-plain-2-ack")))
            #expect(socket.receivedText.contains("\r\nx-dynamo-max-body: 33554432\r\n"))
            #expect(socket.receivedText.contains("\r\ndate: "))
        }
    }

    @Test func keepAliveAndPipelining() async throws {
        try await self.withServer { loopback, _, port in
            var requests = http1Request()
            requests.writeImmutableBuffer(http1Request("POST /v1/rpc/none HTTP/1.1"))
            requests.writeImmutableBuffer(http1Request("GET /v1/rpc/run HTTP/1.1"))
            requests.writeImmutableBuffer(http1Request("POST /health HTTP/1.1"))
            requests.writeImmutableBuffer(http1Request("OPTIONS /v1/rpc/run HTTP/1.1", body: ByteBuffer()))
            requests.writeImmutableBuffer(http1Request())
            for pieces in [Int.max, 17] {
                let statuses = [202, 404, 405, 404, 204, 202]
                let socket = try await self.expect(statuses, to: requests, pieces: pieces, port: port)
                let text = socket.receivedText
                #expect(text.contains("\r\n\r\nEndpoint not foundHTTP/1.1 405"))
                #expect(text.contains("\r\nallow: POST\r\ncontent-length: 0\r\n"))
                #expect(text.split(separator: "content-length: 0").count == 5, "no text outside the root")
                try await socket.close()
            }
            try await eventually("both have been counted") { loopback.manager.statistics.first?.requests == 4 }
        }
    }

    @Test func connectionsThatEnd() async throws {
        try await self.withServer { _, _, port in
            for (line, headers, closes) in [
                ("POST /v1/rpc/run HTTP/1.0", [], true), ("POST /v1/rpc/run HTTP/1.1", ["Connection: close"], true),
                ("POST /v1/rpc/run HTTP/1.0", ["Connection: keep-alive"], false),
                // Dynamo's servers do not switch protocols either.
                (
                    "POST /v1/rpc/run HTTP/1.1",
                    ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"], true
                ),
            ] {
                let socket = try await self.expect([202], to: http1Request(line, headers), port: port, closes: closes)
                #expect(socket.receivedText.contains("\r\nconnection: close") == closes)
            }
        }
    }

    @Test func chunkedBodies() async throws {
        try await self.withServer { loopback, _, port in
            let body = requestBody()
            var request = ByteBuffer(
                string: "POST /v1/rpc/run HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            var rest = body
            while let piece = rest.readSlice(length: min(100, rest.readableBytes)), piece.readableBytes > 0 {
                request.writeString(String(piece.readableBytes, radix: 16) + "\r\n")
                request.writeImmutableBuffer(piece)
                request.writeString("\r\n")
            }
            request.writeString("0\r\n\r\n")
            request.writeImmutableBuffer(http1Request())
            for pieces in [Int.max, 1] {
                _ = try await self.expect([202, 202], to: request, pieces: pieces, port: port)
            }
            try await eventually("every body was whole") { loopback.manager.statistics.first?.requestBytes == 28 }
        }
    }

    @Test func expectation() async throws {
        try await self.withServer { _, _, port in
            let socket = try await RawSocket.connect(port: port)
            let body = requestBody()
            try await socket.send(
                "POST /v1/rpc/run HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: \(body.readableBytes)\r\n\r\n"
            )
            try await socket.waitForStatuses([100])
            try await socket.send(body)
            try await socket.waitForStatuses([100, 202])
            let head =
                "POST /v1/rpc/run HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"
            _ = try await self.expect([413], to: ByteBuffer(string: head), port: port, closes: true)
        }
    }

    @Test func tooLarge() async throws {
        try await self.withServer({ $0.http.maximumBodySize = 2000 }) { loopback, instance, port in
            let frame = requestBody(body: "\"" + String(repeating: "x", count: 1600) + "\"")
            let pad = ByteBuffer(repeating: 0x20, count: 2000 - frame.readableBytes)
            var exact = frame
            exact.writeImmutableBuffer(pad)
            _ = try await self.expect([202], to: http1Request(body: exact), port: port)
            exact.writeString(" ")
            let socket = try await self.expect([413], to: http1Request(body: exact), port: port, closes: true)
            #expect(
                socket.receivedText.hasSuffix("\r\n\r\nFailed to buffer the request body: length limit exceeded")
            )
            // A huge announcement is refused at once; who goes on sending is cut off.
            let huge = try await RawSocket.connect(port: port)
            try await huge.send("POST /v1/rpc/run HTTP/1.1\r\nhost: x\r\ncontent-length: 4294967296\r\n\r\n")
            try await huge.waitForStatuses([413])
            try? await huge.send(ByteBuffer(repeating: 0, count: 10_000))
            try await huge.waitForClose()
            // Without an announcement.
            var endless = ByteBuffer(
                string: "POST /v1/rpc/run HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            endless.writeString("1000\r\n" + String(repeating: "x", count: 4096) + "\r\n")
            _ = try await self.expect([413], to: endless, port: port)
            #expect(try await loopback.send("{}", to: instance).texts() == ["1"])
        }
    }

    @Test(arguments: ["", "short", String(repeating: "\u{1}", count: 24), String(repeating: "x", count: 100)])
    func bodiesThatAreNoMessage(_ body: String) async throws {
        try await self.withServer { _, _, port in
            let request = http1Request(body: ByteBuffer(string: body))
            let socket = try await self.expect([400], to: request, port: port)
            #expect(socket.receivedText.contains("\r\n\r\nmalformed request: the body "))
        }
    }

    // MARK: HTTP/2

    /// The byte stream of a real HTTP/2 caller, and what a real server has answered.
    @Test(arguments: [Int.max, 50, 1])
    func realHTTP2Caller(_ pieces: Int) async throws {
        try await self.withServer { _, _, port in
            let request = try HTTPFixture.bytes("1.2.1-http-h2c-request")
            let socket = try await RawSocket.connect(port: port)
            var rest = request
            while let piece = rest.readSlice(length: min(pieces, rest.readableBytes)), piece.readableBytes > 0 {
                try await socket.send(piece)
            }
            try await eventually("the stream has ended") { !socket.requestStreams.isEmpty }
            func head(_ frames: [RawHTTP2Frame]) throws -> [String: String] {
                var decoder = HPACKDecoder(allocator: ByteBufferAllocator())
                var block = try #require(frames.first { $0.type == RawHTTP2Frame.headers }).payload
                let headers = try decoder.decodeHeaders(from: &block)
                return Dictionary(headers.map { ($0.name, $0.value) }) { first, _ in first }
            }
            var ours = try head(socket.frames)
            var real = try head(RawHTTP2Frame.all(in: HTTPFixture.bytes("1.2.1-http-h2c-response")))
            #expect(ours["x-dynamo-max-body"] == "33554432")
            #expect(ours["date"] != nil && real["date"] != nil)
            ours["x-dynamo-max-body"] = nil
            ours["date"] = nil
            real["date"] = nil
            #expect(ours == real)
            #expect(socket.frames.contains { $0.type == RawHTTP2Frame.settings && $0.flags == 1 }, "acknowledged")
        }
    }

    @Test func settingsOnTheWire() async throws {
        for (isAdaptive, window) in [(true, UInt32(33_554_432)), (false, 65_535)] {
            try await self.withServer({
                $0.http.maximumFrameSize = 65_536
                $0.http.maximumConcurrentStreams = 17
                $0.http.adaptiveWindow = isAdaptive
            }) { _, _, port in
                let socket = try await RawSocket.connect(port: port)
                try await socket.send(RawHTTP2Frame.preface)
                try await socket.send(RawHTTP2Frame.settings())
                try await socket.waitForFrames(RawHTTP2Frame.settings)
                let settings = try #require(socket.frames.first).settings
                #expect(settings[3] == 17 && settings[4] == window && settings[5] == 65_536)
                // Pings are answered.
                try await socket.send(
                    RawHTTP2Frame(type: RawHTTP2Frame.ping, payload: ByteBuffer(string: "12345678")).encoded
                )
                try await socket.waitForFrames(RawHTTP2Frame.ping)
                #expect(socket.frames(RawHTTP2Frame.ping).first?.flags == 1)
                // A frame over the limit is the end of this connection.
                let oversize = RawHTTP2Frame(
                    type: RawHTTP2Frame.data,
                    stream: 1,
                    payload: ByteBuffer(repeating: 0, count: 65_537)
                )
                try await socket.send(RawHTTP2Frame.settingsAcknowledgement)
                try await socket.send(oversize.encoded)
                try await socket.waitForClose()
            }
        }
    }

    // MARK: Peers that misbehave

    @Test(arguments: [
        "\u{0}\u{1}\u{2}\u{3}", "\r\n\r\n\r\n", "GARBAGE\r\n\r\n", "POST\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "POST /v1/rpc/run HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/rpc/run HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        "POST /v1/rpc/run HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage that is no frame at all",
        "POST /v1/rpc/run HTTP/1.1\r\nx: " + String(repeating: "y", count: 200_000) + "\r\n\r\n",
    ])
    func garbage(_ text: String) async throws {
        try await self.withServer({ $0.http.stallTimeout = .milliseconds(300) }) { loopback, instance, port in
            let socket = try await RawSocket.connect(port: port)
            try? await socket.send(text)
            try await socket.waitForClose()
            if socket.received.readableBytes > 0, !text.hasPrefix("PRI * HTTP/2.0\r\n\r\nSM") {
                #expect([[400], [431]].contains(socket.statuses), "\(socket.receivedText)")
            }
            #expect(try await loopback.send("{}", to: instance).texts() == ["1"])
        }
    }

    /// Half a request, or nothing at all, is waited for only so long, and stands in nobody's way.
    @Test(arguments: [
        "", "P", "PRI * HTTP/2.0", "POST /v1/rpc/run HTTP/1.1\r\nhost",
        "POST /v1/rpc/run HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc",
    ])
    func halfARequest(_ text: String) async throws {
        try await self.withServer({ $0.http.stallTimeout = .milliseconds(400) }) { loopback, instance, port in
            let socket = try await RawSocket.connect(port: port)
            if !text.isEmpty { try await socket.send(text) }
            #expect(try await loopback.send("{}", to: instance).texts() == ["1"])
            #expect(!socket.isClosed)
            try await socket.waitForClose()
        }
    }

    @Test func halfAStreamIsReset() async throws {
        try await self.withServer({ $0.http.stallTimeout = .milliseconds(300) }) { _, _, port in
            var bytes = try HTTPFixture.bytes("1.2.1-http-h2c-request")
            let data = try #require(
                RawHTTP2Frame.all(in: bytes).first { $0.type == RawHTTP2Frame.data }
            ).encoded
            let end = try #require(
                (0...bytes.readableBytes - data.readableBytes).first {
                    bytes.getSlice(at: $0, length: data.readableBytes) == data
                }
            )
            let socket = try await RawSocket.connect(port: port)
            try await socket.send(try #require(bytes.readSlice(length: end)))
            try await socket.waitForFrames(RawHTTP2Frame.reset)
            #expect(!socket.isClosed, "only the stream is lost")
        }
    }

    @Test func aByteAtATimeAfterAnAnswerIsBounded() async throws {
        try await self.withServer({ $0.http.idleTimeout = .milliseconds(500) }) { _, _, port in
            let socket = try await self.expect([202], to: http1Request(), port: port)
            for byte in "POST /v1/rpc/run HTTP/1.1\r\nx: ".utf8 where !socket.isClosed {
                try? await socket.send(ByteBuffer(integer: byte))
                try await Task.sleep(for: .milliseconds(30))
            }
            try await socket.waitForClose()
        }
    }

    @Test func idleHTTP2ConnectionsAreGivenUp() async throws {
        try await self.withServer({
            $0.http.idleTimeout = .milliseconds(200)
            $0.http.stallTimeout = .milliseconds(300)
        }) { _, _, port in
            let socket = try await RawSocket.connect(port: port)
            try await socket.send(RawHTTP2Frame.preface)
            try await socket.send(RawHTTP2Frame.settings())
            try await socket.waitForFrames(RawHTTP2Frame.goAway)
            #expect(!socket.isClosed)
            // This peer never answers.
            try await socket.waitForClose()
        }
    }

    @Test func manyBadConnectionsHarmNobody() async throws {
        try await self.withServer { loopback, instance, port in
            var sockets: [RawSocket] = []
            for number in 0..<100 {
                let socket = try await RawSocket.connect(port: port)
                try? await socket.send(["\u{0}\u{0}", "POST /v1", RawHTTP2Frame.preface][number % 3])
                sockets.append(socket)
            }
            for number in 0..<20 {
                #expect(try await loopback.send("{}", to: instance, id: "r\(number)").texts() == ["1"])
            }
            for socket in sockets where !socket.isClosed { try? await socket.reset() }
        }
    }
}
