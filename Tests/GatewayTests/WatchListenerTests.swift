import Gateway
import TestSupport
import Testing

/// A port for those who watch the launcher.
@Suite struct WatchListenerTests {
    private func ask(_ port: Int, _ request: String) async throws -> String {
        let client = try RawClient(port: port)
        try client.send(request)
        let received = await client.receiveAll()
        #expect(received.isClosed)
        return received.text
    }

    @Test func itAnswersOneQuestionAndNoOther() async throws {
        let listener = WatchListener(host: "127.0.0.1", port: 0)
        try await listener.bind()
        let port = try #require(listener.port)
        // Asked before anybody answers.
        let early = try RawClient(port: port)
        try early.send("GET /metrics HTTP/1.0\r\n\r\n")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await listener.run { page in
                    switch page {
                    case .metrics: .metrics("x_total 1\n")
                    case .live: .json(true, "{}")
                    case .ready: .json(false, #"{"reason":"x"}"#)
                    }
                }
            }
            #expect(await early.receiveAll().text.hasSuffix("\r\n\r\nx_total 1\n"))
            let answer = try await self.ask(port, "GET /metrics?a=b HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n") && answer.hasSuffix("\r\n\r\nx_total 1\n"), "\(answer)")
            #expect(answer.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"))
            #expect(answer.contains("\r\ncontent-length: 10\r\n"))
            let head = try await self.ask(port, "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(head.contains("\r\ncontent-length: 10\r\n") && head.hasSuffix("\r\n\r\n"))
            let live = try await self.ask(port, "GET /live HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(live.hasPrefix("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n") && live.hasSuffix("{}"))
            let ready = try await self.ask(port, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(ready.hasPrefix("HTTP/1.1 503 Service Unavailable\r\n") && ready.hasSuffix(#"{"reason":"x"}"#))
            for (request, status) in [
                ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404), ("GET /metricsx HTTP/1.1\r\nHost: a\r\n\r\n", 404),
                ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
                ("nonsense\r\n\r\n", 400), ("GET /metrics HTTP/1.1\r\n\r\n", 400),
                ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n", 413),
            ] {
                let answer = try await self.ask(port, request)
                #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            }
            group.cancelAll()
        }
        #expect(throws: RawClient.Failure.self, "it is closed") { _ = try RawClient(port: port) }
    }

    @Test func aTakenPortIsSaid() async throws {
        let taken = try SilentListener()
        do throws(GatewayError) {
            try await WatchListener(host: "127.0.0.1", port: taken.port).bind()
            Issue.record("a port was had twice")
        } catch {
            #expect(error.reason == "the port is taken")
        }
    }

    @Test func theEndIsSaid() async throws {
        let listener = WatchListener(host: "127.0.0.1", port: 0)
        try await listener.bind()
        let port = try #require(listener.port)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await listener.run { _ in nil } }
            let answer = try await self.ask(port, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 503 "))
            group.cancelAll()
        }
    }
}
