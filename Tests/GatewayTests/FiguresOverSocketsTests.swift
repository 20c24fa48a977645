import Gateway
import NIOCore
import TestSupport
import Testing

/// What is measured of real answers; the pauses of the backend are the subject.
@Suite struct FiguresOverSocketsTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    private static let end = "0\r\n\r\n"

    private static func chunk(_ text: String) -> String {
        "\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n"
    }

    /// A stream of some events that are 20 ms apart, a long time after its head and before its end.
    private static func stream(of count: Int, type: String) -> TestBackend.Answer {
        let event = Self.chunk("data: x\n\n")
        // The size of the first chunk (its line end is one character) comes long before the chunk: it is no content.
        let parts =
            ["HTTP/1.1 200 OK\r\ncontent-type: \(type)\r\ntransfer-encoding: chunked\r\n\r\n" + event.prefix(2)]
            + [String(event.dropFirst(2))] + Array(repeating: event, count: count - 1) + [Self.end]
        let pauses = [500] + Array(repeating: Int64(20), count: count - 1) + [500]
        return .init(parts: parts, pauses: pauses.map { .milliseconds($0) })
    }

    private static func figures(_ answer: TestBackend.Answer) async throws -> (TrafficFigures, BackendStatistics) {
        var result: (TrafficFigures, BackendStatistics)?
        let backend = try await TestBackend(generation: 3) { _ in answer }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send(Self.get)
            let received = await client.receive { $0.hasSuffix(Self.end) || $0.hasSuffix("whole") }
            #expect(received.text.contains("HTTP/1.1 200 "))
            try await eventually("it is counted") { gateway.figures(of: 3).requests == 1 }
            result = (gateway.figures(of: 3), try #require(gateway.status.backends.first))
        }
        await backend.kill()
        return try #require(result)
    }

    @Test(arguments: ["text/event-stream", "Text/Event-Stream ; charset=utf-8"])
    func anEventStreamTellsItsFirstTokenAndThePauses(_ type: String) async throws {
        let (figures, statistics) = try await Self.figures(Self.stream(of: 10, type: type))
        #expect(figures.firstToken.count == 1 && figures.betweenTokens.count == 1 && figures.duration.count == 1)
        let first = try #require(figures.firstToken.quantile(0.5))
        // A quantile is up to a tenth off.
        #expect(first >= 0.45 && first < 1, "\(first): not the head, not its end")
        // With the pause at either end it would be 60 ms and more.
        let between = try #require(figures.betweenTokens.quantile(0.5))
        #expect(between >= 0.012 && between < 0.055, "\(between)")
        #expect(try #require(figures.duration.quantile(0.5)) >= 1)
        #expect(statistics.firstByte.sum < 0.4, "the first byte is the head's")
    }

    @Test func aShortStreamHasNoPauses() async throws {
        let (figures, _) = try await Self.figures(Self.stream(of: 7, type: "text/event-stream"))
        #expect(figures.firstToken.count == 1 && figures.betweenTokens.count == 0)
    }

    @Test func otherAnswersOnlyHaveADuration() async throws {
        let (figures, _) = try await Self.figures(Self.stream(of: 8, type: "application/json"))
        #expect(figures.firstToken.count == 0 && figures.betweenTokens.count == 0 && figures.duration.count == 1)
    }

    /// The backend says at once that it wants the content, and answers late.
    @Test func anInterimAnswerIsNotTheFirstByte() async throws {
        let body = "data: whole"
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: \(body.utf8.count)\r\n\r\n"
        let backend = try await TestBackend { _ in .init(parts: [head + body], delay: .milliseconds(400)) }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            let interim = await client.receive { $0.hasSuffix("\r\n\r\n") }
            #expect(interim.text.hasPrefix("HTTP/1.1 100 "))
            try client.send("ab")
            #expect(await client.receive { $0.hasSuffix("whole") }.text.hasPrefix("HTTP/1.1 200 "))
            try await eventually("it is counted") { gateway.figures(of: 1).requests == 1 }
            let firstByte = try #require(gateway.status.backends.first?.firstByte)
            #expect(firstByte.count == 1 && firstByte.sum >= 0.4)
            #expect(try #require(gateway.figures(of: 1).firstToken.quantile(0.5)) >= 0.36)
        }
        await backend.kill()
    }

    @Test func anAnswerThatComesWithAnInterimOneHasItsFirstByte() async throws {
        let (_, statistics) = try await Self.figures(
            .init(parts: ["HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole"])
        )
        #expect(statistics.firstByte.count == 1)
    }

    /// What a request waits for is not the doing of the generation that gets it.
    @Test func theTimeBeforeABackendWasThereIsNotCounted() async throws {
        let backend = try await TestBackend { _ in .text("whole") }
        try await withGateway { gateway, port in
            let client = try RawClient(port: port)
            try client.send(Self.get)
            try await eventually("it waits") { gateway.status.heldRequests == 1 }
            let start = ContinuousClock.now
            try await eventually("it has waited") { ContinuousClock.now - start >= .seconds(1) }
            gateway.setBackends([backend.backend], shares: [1: 100])
            #expect(await client.receiveAnswer().text.hasSuffix("whole"))
            try await eventually("it is counted") { gateway.figures(of: 1).requests == 1 }
            #expect(try #require(gateway.figures(of: 1).duration.quantile(1)) < 0.9)
            #expect(try #require(gateway.status.backends.first).duration.sum >= 1)
        }
        await backend.kill()
    }

    @Test func aGenerationThatRefusesConnectionsHasNoErrorsAndNoRequests() async throws {
        let backend = try await TestBackend { _ in .text("whole") }
        let gone = Backend(id: "frontend-0", generation: 2, host: "127.0.0.1", port: try freePort())
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend, gone], shares: [1: 1, 2: 99])
            let client = try RawClient(port: port)
            for _ in 0..<20 {
                try client.send(Self.get)
                #expect(await client.receiveAnswer().text.hasSuffix("whole"))
            }
            try await eventually("all are counted") { gateway.figures(of: 1).requests == 20 }
            let figures = gateway.figures(of: 2)
            #expect(figures.requests == 0 && figures.errors == 0 && figures.retries > 0 && figures.inFlight == 0)
            #expect(gateway.figures(of: 1).errors == 0)
        }
        await backend.kill()
    }
}
