import Gateway
import NIOCore
import Testing

/// Requests that two readers could understand differently, and those above a limit: each is refused, and reaches nobody.
@Suite struct SmugglingTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var sends: String
        var status = 400
        var testDescription: String { self.name }

        init(_ name: String, _ sends: String, _ status: Int = 400) {
            self.name = name
            self.sends = sends
            self.status = status
        }
    }

    private static let start = "POST / HTTP/1.1\r\nHost: a\r\n"
    private static let chunked = start + "Transfer-Encoding: chunked\r\n\r\n"
    private static let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

    static let cases: [Case] = [
        Case("length and chunked", start + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        Case("chunked and length", start + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
        Case("two lengths", start + "Content-Length: 0\r\nContent-Length: 34\r\n\r\n"),
        Case("a list of lengths", start + "Content-Length: 3, 3\r\n\r\nabc"),
        Case("length with a sign", start + "Content-Length: +3\r\n\r\nabc"),
        Case("negative length", start + "Content-Length: -3\r\n\r\nabc"),
        Case("hexadecimal length", start + "Content-Length: 0x3\r\n\r\nabc"),
        Case("empty length", start + "Content-Length:\r\n\r\nabc"),
        Case("length beyond all integers", start + "Content-Length: 99999999999999999999\r\n\r\n"),
        Case("length with a space inside", start + "Content-Length: 1 2\r\n\r\n"),
        Case("two codings", start + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        Case("chunked not last", start + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        Case("unknown coding", start + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        Case("coding in quotes", start + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
        Case("vertical tab before the coding", start + "Transfer-Encoding: \u{0B}chunked\r\n\r\n0\r\n\r\n"),
        Case(
            "two fields of codings",
            start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        Case("empty coding", start + "Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
        Case("coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        Case("space before the colon", start + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        Case("tab before the colon", start + "Content-Length\t: 3\r\n\r\nabc"),
        Case("folded line", start + "X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n"),
        Case("folded first line", "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n"),
        Case("bare line feed", "GET / HTTP/1.1\nHost: a\n\n"),
        Case("bare line feed in a head", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\nTransfer-Encoding: chunked\r\n\r\n"),
        Case("bare carriage return in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n"),
        Case("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\u{0}2\r\n\r\n"),
        Case("DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\u{7F}\r\n\r\n"),
        Case("control character in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\u{1}: 1\r\n\r\n"),
        Case("letter beyond ASCII in a name", "GET / HTTP/1.1\r\nHost: a\r\nXé: 1\r\n\r\n"),
        Case("no name", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"),
        Case("no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        Case("no host", "GET / HTTP/1.1\r\n\r\n"),
        Case("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        Case("the same host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        Case("host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        Case("host with a user", "GET / HTTP/1.1\r\nHost: me@a\r\n\r\n"),
        Case("list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        Case("absolute target of another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("absolute target without path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("target of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("target without slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("fragment in the target", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("control character in the target", "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("space at the end of the first line", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        Case("no version", "GET /\r\nHost: a\r\n\r\n"),
        Case("lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n"),
        Case("version with more digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
        Case("method with a colon", "GET: / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("garbage", "\u{16}\u{3}\u{1}\r\n\r\n"),
        Case("Connection names the length", start + "Connection: Content-Length\r\nContent-Length: 3\r\n\r\nabc"),
        Case("Connection names the host", "GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n"),
        Case("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        Case("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        Case("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
        Case("unknown expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n", 417),
        Case("target too long", "GET /\(String(repeating: "a", count: 2000)) HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        Case("target too long without end", "GET /\(String(repeating: "a", count: 2000))", 414),
        Case("head too large", "GET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "a", count: 5000))\r\n\r\n", 431),
        Case(
            "head too large without end",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "a", count: 5000))",
            431
        ),
        Case("body too large", start + "Content-Length: 1001\r\n\r\n", 413),
        Case("chunk size with a prefix", chunked + "0x3\r\nabc\r\n0\r\n\r\n"),
        Case("chunk size with a sign", chunked + "+3\r\nabc\r\n0\r\n\r\n"),
        Case("space before the chunk size", chunked + " 3\r\nabc\r\n0\r\n\r\n"),
        Case("space after the chunk size", chunked + "3 \r\nabc\r\n0\r\n\r\n"),
        Case("no chunk size", chunked + "\r\nabc\r\n0\r\n\r\n"),
        Case("chunk size that overflows", chunked + "ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        Case("chunk size with a bare line feed", chunked + "3\nabc\r\n0\r\n\r\n"),
        Case("extension with a bare line feed", chunked + "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        Case("extension with a bare carriage return", chunked + "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        Case("chunk longer than its size", chunked + "2\r\nabc\r\n0\r\n\r\n"),
        Case("chunk that ends in a bare line feed", chunked + "3\r\nabc\n0\r\n\r\n"),
        Case("trailer that frames", chunked + "0\r\nContent-Length: 5\r\n\r\n"),
        Case("trailer with a space before the colon", chunked + "0\r\nX : 5\r\n\r\n"),
        Case("trailer with a bare line feed", chunked + "0\r\nX: 5\n\r\n"),
        Case("chunked body too large", chunked + "3e9\r\n", 413),
    ]

    /// Nothing of what follows the refused request is read as a request.
    @Test(arguments: Self.cases) func isRefused(_ it: Case) async throws {
        let backend = try await TestBackend { _ in .text("ok") }
        try await withGateway {
            $0.limits.maximumTargetBytes = 1500
            $0.limits.maximumHeaderBytes = 4096
            $0.limits.maximumBodyBytes = 1000
        } _: { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send(it.sends + Self.smuggled)
            let received = await client.receiveAll()
            #expect(received.text.hasPrefix("HTTP/1.1 \(it.status) "), "\(received.text)")
            #expect(received.text.contains("\r\nconnection: close\r\n"))
            #expect(received.text.contains(#"{"error":{"message":""#))
            #expect(received.isClosed && !received.isReset)
            #expect(received.text.components(of: #"{"error":"#) == 1, "one answer, and no more")
            #expect(!backend.seen.contains { $0.line.contains("smuggled") })
            #expect(backend.seen.isEmpty)
        }
        await backend.kill()
    }

    /// Wherever the bytes are cut, the answer is the same.
    @Test(arguments: Self.cases) func isRefusedByteByByte(_ it: Case) {
        var reader = RequestReader(headLimit: 4096, targetLimit: 1500, bodyLimit: 1000)
        var status: Int?
        do throws(Refusal) {
            for byte in it.sends.utf8 {
                reader.append(ByteBuffer(bytes: [byte]))
                while try reader.next() != nil {}
            }
        } catch { status = error.status }
        #expect(status == it.status)
    }
}

extension String {
    func components(of part: String) -> Int {
        var (count, rest) = (0, self[...])
        while let found = rest.firstRange(of: part) {
            count += 1
            rest = rest[found.upperBound...]
        }
        return count
    }
}
