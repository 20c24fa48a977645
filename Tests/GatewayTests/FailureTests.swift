import Gateway
import NIOCore
import TestSupport
import Testing

/// Backends that come late, die, or close; clients that leave.
@Suite struct FailureTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    private static let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"

    @Test func aRequestWaitsForItsBackend() async throws {
        let backend = try await TestBackend { .text($0.body) }
        try await withGateway { gateway, port in
            let client = try RawClient(port: port)
            try client.send(Self.post)
            try await eventually("held") { gateway.status.heldRequests == 1 }
            #expect(gateway.status.heldBytes > 4)
            gateway.setBackends([backend.backend])
            #expect(await client.receiveAnswer().text.hasSuffix("\r\n\r\nbody"))
            #expect(gateway.status.heldRequests == 0 && gateway.status.heldBytes == 0)
        }
        await backend.kill()
    }

    @Test func patienceEnds() async throws {
        try await withGateway {
            $0.hold.patience = .milliseconds(200)
        } _: { _, port in
            let client = try RawClient(port: port)
            try client.send(Self.get + Self.get)
            let first = await client.receiveAnswer()
            #expect(first.text.hasPrefix("HTTP/1.1 503 ") && first.text.contains("\r\nretry-after: 5\r\n"))
            #expect(first.text.contains(#""code":"no_backend_ready""#))
            // Nothing was lost of the connection: the next request waits in its turn.
            #expect(await client.receiveAnswer().text.hasPrefix("HTTP/1.1 503 "))
        }
    }

    @Test func oneWhoWaitsAndLeavesIsForgotten() async throws {
        try await withGateway { gateway, port in
            var client: RawClient? = try RawClient(port: port)
            try client?.send(Self.get)
            try await eventually("held") { gateway.status.heldRequests == 1 }
            client = nil
            try await eventually("forgotten") { gateway.status.heldRequests == 0 && gateway.status.connections == 0 }
        }
    }

    @Test func aRefusedConnectionCostsNobodyAnything() async throws {
        let backend = try await TestBackend(id: "frontend-1") { _ in .text("ok") }
        let gone = Backend(id: "frontend-0", generation: 1, host: "127.0.0.1", port: try freePort())
        try await withGateway { gateway, port in
            gateway.setBackends([gone, backend.backend])
            let client = try RawClient(port: port)
            for _ in 0..<4 {
                try client.send(Self.post)
                #expect(await client.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
            }
            let statistics = try #require(gateway.status.backends.first { $0.backend == gone })
            #expect(statistics.failures[.connect] == 1 && statistics.ejections == 1, "ejected after the first")
        }
        await backend.kill()
    }

    @Test func aBodyThatWasReadGoesToTheConnectionThatIsThereWhenTheOtherBackendRefuses() async throws {
        let backend = try await TestBackend(id: "frontend-1") { _ in .text("ok") }
        let gone = Backend(id: "frontend-0", generation: 1, host: "127.0.0.1", port: try freePort())
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let first = try RawClient(port: port)
            try first.send(Self.get)
            _ = await first.receiveAnswer()
            // Now there is an idle connection to the one, and the other one's turn comes.
            gateway.setBackends([gone, backend.backend])
            for _ in 0..<2 {
                let client = try RawClient(port: port)
                try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
                #expect(await client.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
            }
            #expect(gateway.status.backends.first { $0.backend == gone }?.failures[.connect] == 1, "it was asked")
        }
        await backend.kill()
    }

    /// What an ejected backend answers to the question whether it is well.
    @Test(arguments: [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true),
        ("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\n\r\nok", true), ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", false),
        ("nonsense\r\n\r\n", false), ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", false), ("", false),
    ])
    func anEjectedBackendComesBackWhenItSaysThatItIsWell(_ answer: String, _ isWell: Bool) async throws {
        let port = try freePort()
        let backend = Backend(id: "frontend-0", generation: 1, host: "127.0.0.1", port: port)
        try await withGateway {
            $0.upstream.ejection = .milliseconds(50)
            $0.upstream.probeTimeout = .milliseconds(500)
            $0.hold.patience = .seconds(10)
        } _: { gateway, gatewayPort in
            gateway.setBackends([backend])
            let client = try RawClient(port: gatewayPort)
            try client.send(Self.post)
            try await eventually("ejected") { gateway.status.backends.first?.ejections == 1 }
            let process = try await TestBackend(port: port) { seen in
                seen.line == "GET /health HTTP/1.1" ? .init(parts: [answer], closes: true) : .text("served")
            }
            if isWell {
                #expect(await client.receiveAnswer().text.hasSuffix("served"))
                #expect(process.seen.map(\.line) == ["GET /health HTTP/1.1", "POST / HTTP/1.1"])
                #expect(process.seen.first?.has("host: 127.0.0.1:\(port)") ?? false)
            } else {
                try await eventually("asked again and again") { process.seen.count >= 3 }
                #expect(process.seen.allSatisfy { $0.line == "GET /health HTTP/1.1" }, "no request is risked")
                #expect(gateway.status.heldRequests == 1)
            }
            await process.kill()
        }
    }

    @Test func anAnswerThatBreaksOffLooksBroken() async throws {
        let backend = try await TestBackend { _ in
            .init(
                parts: ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n"],
                pause: .milliseconds(50),
                closes: true
            )
        }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send(Self.get)
            let received = await client.receiveAll()
            #expect(received.isClosed && received.text.hasSuffix("3\r\none\r\n"), "\(received.text)")
            #expect(gateway.status.backends.first?.failures == [.cut: 1])
            #expect(gateway.status.inFlight == 0)
        }
        await backend.kill()
    }

    @Test func noAnswerIsABadGateway() async throws {
        let backend = try await TestBackend { _ in .init(closes: true) }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send(Self.post)
            let received = await client.receiveAnswer()
            #expect(received.text.hasPrefix("HTTP/1.1 502 Bad Gateway\r\n"))
            #expect(received.text.contains("frontend-0 (generation 1") && received.text.contains("x-request-id: "))
            #expect(gateway.status.backends.first?.failures == [.closedBeforeHead: 1])
            #expect(backend.seen.count == 1, "a request that may have been executed is not sent again")
        }
        await backend.kill()
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : y\r\n\r\n", "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
    ])
    func anAnswerThatIsNoHTTPIsABadGateway(_ answer: String) async throws {
        let backend = try await TestBackend { _ in .init(parts: [answer]) }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send(Self.get)
            #expect(await client.receiveAnswer().text.hasPrefix("HTTP/1.1 502 Bad Gateway\r\n"))
            #expect(gateway.status.backends.first?.failures == [.malformed: 1])
        }
        await backend.kill()
    }

    /// The backend closes between two requests.
    @Test(arguments: [get, post]) func aStaleConnectionCostsNoError(_ request: String) async throws {
        let backend = try await TestBackend { _ in
            .init(parts: ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"], closes: true)
        }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            for _ in 0..<100 {
                try client.send(request)
                let received = await client.receiveAnswer()
                #expect(received.text.hasPrefix("HTTP/1.1 200 "), "\(received.text)")
                try await eventually("the backend has closed") { backend.openConnections == 0 }
            }
            #expect(backend.seen.count == 100, "none is executed twice")
        }
        await backend.kill()
    }

    /// The backend closes while the next request is on its way.
    ///
    /// What its system had taken by then, nobody can say to be unread.
    /// A request that may be executed twice is sent again; another one may get 502, and is never executed twice.
    @Test(arguments: [get, post]) func aConnectionThatIsClosedUnderARequestExecutesNothingTwice(
        _ request: String
    ) async throws {
        let backend = try await TestBackend { _ in
            .init(parts: ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"], closes: true)
        }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            var answered = 0
            for _ in 0..<300 {
                try client.send(request)
                let received = await client.receiveAnswer()
                let isUncertain = request == Self.post && received.text.contains("\"backend_failed\"")
                #expect(received.text.hasPrefix("HTTP/1.1 \(isUncertain ? 502 : 200) "), "\(received.text)")
                if !isUncertain { answered += 1 }
            }
            #expect(backend.seen.count == answered, "none is executed twice")
            // It is a matter of microseconds.
            #expect(answered > 150)
        }
        await backend.kill()
    }

    @Test func aClientThatLeavesEndsItsRequest() async throws {
        let backend = try await TestBackend { _ in .init(parts: ["never"], delay: .hours(1)) }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            var client: RawClient? = try RawClient(port: port)
            try client?.send(Self.post)
            try await eventually("at the backend") { backend.seen.count == 1 }
            client = nil
            try await eventually(within: .seconds(2), "the backend's connection is closed") {
                backend.openConnections == 0
            }
            #expect(gateway.status.backends.first?.cancelled == 1 && gateway.status.inFlight == 0)
        }
        await backend.kill()
    }

    @Test func aRemovedBackendFinishesAndItsIdleConnectionsClose() async throws {
        let backend = try await TestBackend { seen in
            var answer = TestBackend.Answer.text("ok")
            if seen.line.contains("/slow") { answer.delay = .seconds(2) }
            return answer
        }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let idle = try RawClient(port: port)
            let slow = try RawClient(port: port)
            try slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            try await eventually("running") { backend.seen.count == 1 }
            try idle.send(Self.get)
            _ = await idle.receiveAnswer()
            #expect(backend.openConnections == 2)
            gateway.setBackends([])
            try await eventually("the idle one closes") { backend.openConnections == 1 }
            #expect(await slow.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
            try await eventually("the other one follows") { backend.openConnections == 0 }
        }
        await backend.kill()
    }

    @Test func drainingAnswersWhatRunsAndEndsConnections() async throws {
        let backend = try await TestBackend { _ in
            .init(parts: ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"], delay: .milliseconds(300))
        }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let (running, idle) = (try RawClient(port: port), try RawClient(port: port))
            try running.send(Self.get)
            try await eventually("running") { backend.seen.count == 1 }
            async let drained: Void = gateway.drain(within: .seconds(5))
            let received = await running.receiveAll()
            #expect(received.text.hasPrefix("HTTP/1.1 200 ") && received.text.contains("\r\nconnection: close\r\n"))
            #expect(await idle.receiveAll().isClosed)
            await drained
            #expect(throws: RawClient.Failure.self) { _ = try RawClient(port: port) }
        }
        await backend.kill()
    }

    /// Two generations that are stopped at the same time both wait for it.
    @Test func drainingTwiceIsDrainingOnce() async throws {
        let backend = try await TestBackend { _ in
            .init(parts: ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"], delay: .milliseconds(300))
        }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let running = try RawClient(port: port)
            try running.send(Self.get)
            try await eventually("running") { backend.seen.count == 1 }
            let start = ContinuousClock.now
            await withDiscardingTaskGroup { group in
                for _ in 0..<8 { group.addTask { await gateway.drain(within: .seconds(60)) } }
                #expect(await running.receiveAll().text.hasPrefix("HTTP/1.1 200 "))
            }
            await gateway.drain(within: .seconds(60))
            #expect(ContinuousClock.now - start < .seconds(30), "nobody waits for the limit")
        }
        await backend.kill()
    }
}
