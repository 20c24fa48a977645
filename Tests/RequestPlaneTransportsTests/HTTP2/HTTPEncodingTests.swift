import NIOCore
import NIOHPACK
import NIOHTTP1
import RequestPlane
import Testing

@testable import RequestPlaneTransports

/// What this library encodes and decodes, against what real processes exchanged.
@Suite struct HTTPEncodingTests {
    /// The parts of an HTTP/1 message.
    private func parts(_ bytes: ByteBuffer) throws -> (line: String, fields: [String: String], body: ByteBuffer) {
        let end = try #require(
            (0...bytes.readableBytes - 4).first { bytes.getString(at: $0, length: 4) == "\r\n\r\n" }
        )
        let head = try #require(bytes.getString(at: 0, length: end)).split(separator: "\r\n").map(String.init)
        var fields: [String: String] = [:]
        for line in head.dropFirst() {
            let colon = try #require(line.firstIndex(of: ":"))
            fields[String(line[..<colon])] = String(line[colon...].dropFirst(2))
        }
        let body = try #require(bytes.getSlice(at: end + 4, length: bytes.readableBytes - end - 4))
        return (head[0], fields, body)
    }

    /// A real caller's request, encoded again from its fields, has the same fields and the same bytes in its body.
    @Test(arguments: ["1.0.2", "1.2.1"])
    func requestIsWrittenAsRealCallersDo(_ version: String) throws {
        let real = try self.parts(HTTPFixture.bytes("\(version)-http-plain-1-request"))
        let message = try TwoPartMessage(payload: real.body)
        let url = try HTTPInstanceURL("http://\(try #require(real.fields["host"]))/v1/rpc/run")
        let headers = real.fields.filter { $0.key == "request-id" || $0.key == "x-frontend-send-ts-ns" }
        let encoded = try EncodedHTTPRequest(
            url: url,
            headers: headers,
            control: ControlHeader(message.header),
            body: message.body
        )
        let head = encoded.http1Head
        #expect("\(head.method) \(head.uri) HTTP/\(head.version.major).\(head.version.minor)" == real.line)
        #expect(Dictionary(uniqueKeysWithValues: head.headers.map { ($0.name, $0.value) }) == real.fields)
        #expect(encoded.pieces == [real.body])
        let block = encoded.http2Headers
        #expect(block.prefix(4).map(\.name) == [":method", ":scheme", ":authority", ":path"])
        var fields = Dictionary(uniqueKeysWithValues: block.dropFirst(4).map { ($0.name, $0.value) })
        fields["host"] = block.first(name: ":authority")
        #expect(fields == real.fields)
    }

    @Test func largeBodiesAreNotCopied() throws {
        let body = ByteBuffer(repeating: 1, count: 100_000)
        let control = ControlHeader(id: "1", info: "{}")
        let url = try HTTPInstanceURL("http://a:1/x")
        let encoded = try EncodedHTTPRequest(url: url, headers: [:], control: control, body: body)
        #expect(encoded.pieces == [encoded.head, body])
        #expect(EncodedHTTPRequest(optionsOf: url).pieces == [])
    }

    @Test(arguments: [
        (200, "", nil), (202, "x", nil), (299, "", nil),
        (404, "Endpoint not found", RequestPlaneError.Code.unknownEndpoint),
        (413, "Failed to buffer the request body: length limit exceeded", .tooLarge),
        (503, "Server overloaded: worker at capacity", .overloaded),
        (503, "Server unavailable: shutting down", .unavailable),
        (429, "", .overloaded), (500, "boom", .remote), (302, "", .remote), (502, "", .unavailable),
        (400, "bad", .remote),
    ])
    func statuses(_ status: Int, _ text: String, _ code: RequestPlaneError.Code?) {
        let failure = HTTPResponse(status: status, text: text).failure(reason: "Why")
        #expect(failure?.code == code)
        if let failure {
            let expected = "HTTP request failed with status \(status) Why\(text.isEmpty ? "" : ": \(text)")"
            #expect(failure.message.hasPrefix(expected))
        }
    }

    @Test func textsOfPeersAreBounded() {
        var response = HTTPResponse(status: 500)
        for _ in 0..<100 { response.append(ByteBuffer(repeating: 0x78, count: 1000)) }
        #expect(response.text.readableBytes == 4096)
    }

    /// The announcement of another limit than the caller's own counts.
    @Test func answerHeads() {
        let head = HTTPAnswer.accepted.head(maximumBody: 7)
        #expect(head.status.code == 202 && head.status.reasonPhrase == "Accepted")
        #expect(head.headers.first(name: "x-dynamo-max-body") == "7")
        #expect(HTTPAnswer(.overloaded, path: "x").text == "Server overloaded: worker at capacity")
        #expect(HTTPAnswer(.unknownEndpoint, path: "x") == .unknownEndpoint)
    }

    @Test(arguments: [
        ("", nil), ("P", nil), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r", nil), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", true), ("PRI * HTTP/1", false), ("POST", false), ("\u{0}", false),
    ])
    func detection(_ text: String, _ isHTTP2: Bool?) {
        #expect(HTTPProtocolDetector.isHTTP2(ByteBuffer(string: text)) == isHTTP2)
    }
}
