import Gateway
import NIOCore
import TestSupport
import Testing

/// Bytes in, the answer, and what the backend saw, over real sockets.
@Suite struct ConformanceTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var sends: String
        /// What the backend answers.
        var answers = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        var backendCloses = false
        /// What the client gets must begin, end, and contain so.
        var begins = "HTTP/1.1 200 OK\r\n"
        var ends = "\r\n\r\nok"
        var contains: [String] = []
        var lacks: [String] = []
        /// What the backend must have seen.
        var sawLine: String? = "GET / HTTP/1.1"
        var saw: [String] = []
        var sawNot: [String] = []
        var sawBody = ""
        var closes = false
        var testDescription: String { self.name }
    }

    static let cases: [Case] = [
        Case(
            name: "plain",
            sends: "GET / HTTP/1.1\r\nHost: a.test:81\r\n\r\n",
            saw: [
                "Host: a.test:81", "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http",
                "x-forwarded-host: a.test:81", "forwarded: for=127.0.0.1;proto=http;host=\"a.test:81\"",
            ]
        ),
        Case(
            name: "fixed body",
            sends: "POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            sawLine: "POST /v1 HTTP/1.1",
            saw: ["Content-Length: 5"],
            sawBody: "hello"
        ),
        Case(
            name: "chunked body with an extension and a trailer",
            sends: "POST /v1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "5;x=1\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
            sawLine: "POST /v1 HTTP/1.1",
            saw: ["Transfer-Encoding: chunked"],
            sawBody: "5;x=1\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"
        ),
        Case(
            name: "chunked answer with trailers",
            sends: "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            answers: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n"
                + "2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
            ends: "\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
            contains: ["Trailer: x-sum"]
        ),
        Case(
            name: "answer that ends with the connection",
            sends: "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            answers: "HTTP/1.1 200 OK\r\n\r\nok",
            backendCloses: true,
            contains: ["connection: close"],
            closes: true
        ),
        Case(
            name: "HEAD with a length",
            sends: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            answers: "HTTP/1.1 200 OK\r\ncontent-length: 700\r\n\r\n",
            ends: "\r\n\r\n",
            contains: ["content-length: 700\r\n"],
            sawLine: "HEAD / HTTP/1.1"
        ),
        Case(
            name: "204",
            sends: "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
            answers: "HTTP/1.1 204 No Content\r\n\r\n",
            begins: "HTTP/1.1 204 No Content\r\n",
            ends: "\r\n\r\n",
            sawLine: "DELETE / HTTP/1.1"
        ),
        Case(
            name: "304 with a length",
            sends: "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            answers: "HTTP/1.1 304 Not Modified\r\ncontent-length: 700\r\n\r\n",
            begins: "HTTP/1.1 304 Not Modified\r\n",
            ends: "\r\n\r\n"
        ),
        Case(
            name: "hop-by-hop fields end here",
            sends: "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
                + "Proxy-Connection: x\r\nTE: trailers\r\nX-Other: 2\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n",
            answers:
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: X-Its\r\nX-Its: 1\r\nKeep-Alive: timeout=9\r\n\r\nok",
            lacks: ["X-Its", "Keep-Alive"],
            saw: ["X-Other: 2"],
            sawNot: ["X-Mine", "Keep-Alive", "Proxy-Connection", "TE:", "Upgrade", "HTTP2-Settings"]
        ),
        Case(
            name: "what a client says about its path is not believed",
            sends: "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nForwarded: for=9.9.9.9\r\n\r\n",
            saw: ["x-forwarded-for: 127.0.0.1"],
            sawNot: ["9.9.9.9"]
        ),
        Case(
            name: "ids are kept",
            sends: "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\ntraceparent: 00-1-2-01\r\n\r\n",
            contains: ["x-request-id: mine\r\n"],
            saw: ["X-Request-Id: mine", "traceparent: 00-1-2-01"],
            sawNot: ["x-request-id: "]
        ),
        Case(
            name: "a backend's own id is kept",
            sends: "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n",
            answers: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Request-ID: its\r\n\r\nok",
            contains: ["X-Request-ID: its\r\n"],
            lacks: ["x-request-id: "]
        ),
        Case(
            name: "absolute target",
            sends: "GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
            sawLine: "GET /x?y HTTP/1.1",
            saw: ["Host: a"]
        ),
        Case(
            name: "OPTIONS of the server",
            sends: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            sawLine: "OPTIONS * HTTP/1.1"
        ),
        Case(
            name: "HTTP/1.0",
            sends: "GET / HTTP/1.0\r\n\r\n",
            contains: ["connection: close"],
            saw: ["host: localhost"],
            closes: true
        ),
        Case(
            name: "HTTP/1.0 with keep-alive",
            sends: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            contains: ["connection: keep-alive"]
        ),
        Case(
            name: "HTTP/1.0 gets no chunks",
            sends: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            answers: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
            contains: ["connection: close"],
            lacks: ["Transfer-Encoding"],
            closes: true
        ),
        Case(
            name: "Connection: close",
            sends: "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            contains: ["connection: close"],
            closes: true
        ),
        Case(
            name: "empty lines before a request",
            sends: "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
        ),
        Case(
            name: "early hints",
            sends: "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            answers: "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            begins: "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
        ),
    ]

    @Test(arguments: Self.cases) func aCase(_ it: Case) async throws {
        let backend = try await TestBackend { _ in
            TestBackend.Answer(parts: [it.answers], closes: it.backendCloses)
        }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send(it.sends)
            let received =
                it.closes
                ? await client.receiveAll()
                : await client.receive { $0.hasPrefix(it.begins) && $0.hasSuffix(it.ends) }
            #expect(received.text.hasPrefix(it.begins), "\(received.text)")
            #expect(received.text.hasSuffix(it.ends), "\(received.text)")
            #expect(received.isClosed == it.closes)
            for text in it.contains { #expect(received.text.contains("\r\n\(text)"), "\(received.text)") }
            for text in it.lacks { #expect(!received.text.contains("\r\n\(text)"), "\(received.text)") }
            let seen = try #require(backend.seen.first)
            #expect(seen.line == it.sawLine)
            #expect(seen.body == it.sawBody)
            for field in it.saw { #expect(seen.has(field), "\(seen.head)") }
            for text in it.sawNot { #expect(!seen.head.contains(text), "\(seen.head)") }
            let sent = try #require(Self.requestIDs(seen.head).first)
            let answered = Self.requestIDs(received.text)
            #expect(
                answered.count == 1 && (answered == [sent] || it.answers.contains("X-Request-ID: its")),
                "\(answered)"
            )
            #expect(seen.head.contains("\r\ntraceparent: 00-"))
        }
        await backend.kill()
    }

    private static func requestIDs(_ text: String) -> [String] {
        text.split(separator: "\r\n").filter { $0.lowercased().hasPrefix("x-request-id: ") }
            .map { String($0.dropFirst("x-request-id: ".count)) }
    }

    @Test(arguments: ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nx : y\r\n\r\n"])
    func aRefusalHasAnIDToo(_ request: String) async throws {
        try await withGateway { _, port in
            let client = try RawClient(port: port)
            try client.send(request)
            let received = await client.receiveAll()
            #expect(received.text.hasPrefix("HTTP/1.1 400 "))
            #expect(Self.requestIDs(received.text).first?.utf8.count == 36, "\(received.text)")
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        let backend = try await TestBackend { .text($0.line) }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send(
                (0..<20).map { "POST /\($0) HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" }.joined()
            )
            let received = await client.receive { $0.contains("POST /19 ") }
            let order = received.text.split(separator: "POST /").dropFirst().map { $0.prefix { $0.isNumber } }
            #expect(order == (0..<20).map { "\($0)" })
            #expect(backend.acceptedConnections == 1, "the connection is used again")
        }
        await backend.kill()
    }

    @Test func aBodyWaitsForContinue() async throws {
        let backend = try await TestBackend { .text($0.body) }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            let first = await client.receive { $0.hasSuffix("\r\n\r\n") }
            #expect(first.text == "HTTP/1.1 100 Continue\r\n\r\n")
            try client.send("hello")
            #expect(await client.receiveAnswer().text.hasSuffix("\r\n\r\nhello"))
        }
        await backend.kill()
    }

    @Test func tokensArriveOneByOne() async throws {
        let backend = try await TestBackend { _ in
            .init(
                parts: [
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "3\r\none\r\n", "3\r\ntwo\r\n",
                    "0\r\n\r\n",
                ],
                pause: .milliseconds(150)
            )
        }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            let first = await client.receive { $0.hasSuffix("one\r\n") }
            #expect(first.text.hasSuffix("3\r\none\r\n"))
            let second = await client.receive { $0.hasSuffix("two\r\n") }
            #expect(second.text == "3\r\ntwo\r\n")
            #expect(await client.receive { $0.hasSuffix("0\r\n\r\n") }.text == "0\r\n\r\n")
        }
        await backend.kill()
    }
}
