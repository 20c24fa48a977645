import NIOCore
import RequestPlane
import Testing

/// What real callers and workers exchange on the request connection, read and written by this library.
@Suite struct RequestFixtureTests {
    @Test(arguments: Fixture.versions, ["plain", "stop", "drop", "raise", "refuse"])
    func request(_ version: String, _ scenario: String) throws {
        let frame = try Fixture.request("\(version)-tcp-\(scenario)-1-request")
        let path = try #require(frame.pathText)
        #expect(path.hasSuffix("/run"))
        #expect(frame.decodedHeaders["x-endpoint-path"] == path)

        let message = try TwoPartMessage(payload: frame.payload)
        let control = try ControlHeader(message.header)
        #expect(control.transport == "tcp_server")
        #expect(control.payloadCodec == (version == "1.6.1" ? "msgpack" : nil))
        if version != "1.0.2" { #expect(frame.decodedHeaders["request-id"] == control.id) }
        let address = try CallHomeAddress(info: control.info)
        #expect(address.context == control.id)
        #expect(address.streamType == "response")
        #expect(address.address.hasPrefix("192.0.2.2:"))
        #expect(message.body.readableBytes > 0)
        if version != "1.6.1" {
            var scanner = JSONScanner()
            let value = try scanner.skipValue(message.body.readableBytesUInt8Span)
            #expect(value == 0..<message.body.readableBytes)
        }
    }

    /// The control header and `info` of real callers, written again from their fields, are the same bytes.
    @Test(arguments: Fixture.versions)
    func controlHeaderIsWrittenAsRealCallersDo(_ version: String) throws {
        let frame = try Fixture.request("\(version)-tcp-plain-1-request")
        let message = try TwoPartMessage(payload: frame.payload)
        let control = try ControlHeader(message.header)
        #expect(control.encode().text == message.header.text)
        #expect(try CallHomeAddress(info: control.info).encode() == control.info)
    }

    @Test(arguments: Fixture.versions)
    func frameIsWrittenAsRealCallersDo(_ version: String) throws {
        let original = try Fixture.bytes("\(version)-tcp-plain-1-request")
        let frame = try Fixture.request("\(version)-tcp-plain-1-request")
        let message = try TwoPartMessage(payload: frame.payload)
        let encoded = try EncodedTCPRequest(
            path: try #require(frame.pathText),
            headers: frame.decodedHeaders,
            control: ControlHeader(message.header),
            body: message.body
        )
        var written = encoded.head
        written.writeImmutableBuffer(encoded.body)
        #expect(written.readableBytes == original.readableBytes)
        #expect(encoded.size == original.readableBytes)
        // Headers may come in any order; all else is equal.
        var decoder = TCPRequestDecoder(limit: 1 << 20)
        decoder.append(written)
        let again = try #require(try decoder.next())
        #expect(again.path == frame.path)
        #expect(again.payload == frame.payload)
        #expect(again.decodedHeaders == frame.decodedHeaders)
    }

    @Test(arguments: Fixture.versions)
    func acknowledgement(_ version: String) throws {
        var expected: [String: TCPAcknowledgement] = [
            "plain-2-ack": .accepted, "ack-bad-path": .refused("Invalid endpoint path"),
            "ack-unknown-endpoint": .refused("Unknown endpoint: 0/none"),
        ]
        if version == "1.6.1" {
            expected["ack-unknown-endpoint"] = .refused("Server unavailable: unknown endpoint 0/none")
            expected["ack-overloaded"] = .refused("Server overloaded: worker at capacity")
        }
        for (name, acknowledgement) in expected {
            let bytes = try Fixture.bytes("\(version)-tcp-\(name)")
            var decoder = TCPAcknowledgementDecoder(limit: 1024)
            for piece in bytes.pieces(of: 1) {
                #expect(try decoder.next() == nil)
                decoder.append(piece)
            }
            #expect(try decoder.next() == acknowledgement)
            #expect(try decoder.next() == nil)
            var written = ByteBuffer()
            written.writeTCPAcknowledgement(acknowledgement)
            #expect(written == bytes)
        }
        var decoder = TCPAcknowledgementDecoder(limit: 1024)
        decoder.append(try Fixture.bytes("\(version)-tcp-ack-too-large"))
        let refusal = try #require(try decoder.next())
        #expect(refusal.failure?.code == .tooLarge)
    }

    @Test(arguments: [
        ("Server overloaded: worker at capacity", RequestPlaneError.Code.overloaded),
        ("Server unavailable: draining", .unavailable),
        ("Server unavailable: unknown endpoint 0/none", .unknownEndpoint),
        ("Unknown endpoint: 0/none", .unknownEndpoint),
        ("Invalid endpoint path", .unknownEndpoint), ("hello", .remote),
    ])
    func refusalCodes(_ text: String, _ code: RequestPlaneError.Code) {
        #expect(TCPAcknowledgement.refused(text).failure?.code == code)
        #expect(TCPAcknowledgement.accepted.failure == nil)
    }

    @Test(arguments: [1, 2, 3, 7, 64, 1000])
    func anySegmentation(_ size: Int) throws {
        var stream = ByteBuffer()
        var expected: [TCPRequestFrame] = []
        for version in Fixture.versions {
            for name in try Fixture.names(of: version, containing: "-1-request") {
                stream.writeImmutableBuffer(try Fixture.bytes(name))
                expected.append(try Fixture.request(name))
            }
        }
        var decoder = TCPRequestDecoder(limit: 1 << 20)
        var frames: [TCPRequestFrame] = []
        for piece in stream.pieces(of: size) {
            decoder.append(piece)
            while let frame = try decoder.next() { frames.append(frame) }
        }
        #expect(frames == expected)
        #expect(decoder.isBetweenFrames)
    }

    @Test func limitCountsTheWholeFrame() throws {
        let bytes = try Fixture.bytes("1.2.1-tcp-plain-1-request")
        var exact = TCPRequestDecoder(limit: bytes.readableBytes)
        exact.append(bytes)
        #expect(try exact.next() != nil)
        var short = TCPRequestDecoder(limit: bytes.readableBytes - 1)
        short.append(bytes)
        #expect(throws: WireError.tooLarge(size: UInt64(bytes.readableBytes), limit: bytes.readableBytes - 1)) {
            try short.next()
        }
    }

    /// The lengths alone decide, before the payload is there.
    @Test func hugeLengthsAreRefusedAtOnce() throws {
        var decoder = TCPRequestDecoder(limit: 33_554_432)
        decoder.append(ByteBuffer(bytes: [0, 1, UInt8(ascii: "x"), 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]))
        #expect(throws: WireError.tooLarge(size: 4_294_967_304, limit: 33_554_432)) { try decoder.next() }
        var acknowledgements = TCPAcknowledgementDecoder(limit: 1024)
        acknowledgements.append(ByteBuffer(bytes: [0xFF, 0xFF, 0xFF, 0xFF]))
        #expect(throws: WireError.self) { try acknowledgements.next() }
        var messages = TwoPartDecoder(maximumHeaderSize: 1024, maximumBodySize: 1024)
        messages.append(ByteBuffer(repeating: 0xFF, count: 24))
        #expect(throws: WireError.self) { try messages.next() }
    }

    @Test(arguments: ["", "{}", "[1]", "{\"a\":1,\"b\":\"c\"}", "\u{0}\u{1}"])
    func headersAreOptional(_ text: String) {
        let frame = TCPRequestFrame(
            path: ByteBuffer(string: "x"),
            headers: ByteBuffer(string: text),
            payload: ByteBuffer()
        )
        #expect(frame.decodedHeaders == (text.contains("\"c\"") ? ["b": "c"] : [:]))
    }

    @Test(arguments: [
        "", "x", "{}", #"{"id":1}"#, #"{"id":"a","connection_info":{}}"#,
        #"{"id":"a","connection_info":{"transport":"tcp_server","info":{}}}"#,
        #"{"id":"a","payload_codec":7,"connection_info":{"transport":"tcp_server","info":""}}"#,
    ])
    func malformedControlHeader(_ text: String) {
        #expect(throws: WireError.self) { try ControlHeader(ByteBuffer(string: text)) }
    }

    @Test(arguments: ["", "{}", #"{"address":"a:1","subject":"s","context":"c"}"#, #"{"address":1}"#])
    func malformedConnectionInfo(_ text: String) {
        #expect(throws: WireError.self) { try CallHomeAddress(info: text) }
    }

    @Test func surplusBytesOfAPayloadAreIgnored() throws {
        var payload = ByteBuffer()
        payload.writeTwoPartMessage(TwoPartMessage(header: ByteBuffer(string: "h"), body: ByteBuffer(string: "b")))
        payload.writeString("surplus")
        let message = try TwoPartMessage(payload: payload)
        #expect(message.header.text == "h" && message.body.text == "b")
        #expect(throws: WireError.self) { try TwoPartMessage(payload: ByteBuffer(string: "short")) }
    }
}
