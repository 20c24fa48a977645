import Deployment
import TestSupport
import Testing

@testable import Rollout

/// What a new generation's frontends must answer before clients reach them.
@Suite struct CanaryTests {
    typealias Asked = ScriptedFrontend.Asked
    typealias Answer = ScriptedFrontend.Answer

    private static func delta(_ text: String) -> String {
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\(text)\"}}]}\n\n"
    }

    private static let stream: [String] =
        ["data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"]
        + (0..<64).map { Self.delta("t\($0) ") } + ["data: {\"choices\":[],\"usage\":{}}\n\n", "data: [DONE]\n\n"]

    /// As a frontend should.
    private static func good(_ asked: Asked) -> Answer {
        if asked.path == "/v1/models" { return .whole(status: 200, body: "{\"data\":[{\"id\":\"echo\"}]}") }
        if asked.isStreamed { return .pieces(Self.stream, ends: true) }
        let text = asked.body.contains("2 + 2") ? "It is 4." : "Hi"
        return .whole(status: 200, body: "{\"choices\":[{\"message\":{\"content\":\"\(text)\"},\"text\":\"\(text)\"}]}")
    }

    private func troubles(
        of frontend: ScriptedFrontend,
        model: String? = nil,
        endpoint: CanaryRequest.Endpoint = .chat,
        checks: [MigrationSettings.CanaryCheck] = [],
        timeout: Double = 20
    ) async -> [String] {
        let canary = Canary(
            frontends: [.init(name: "frontend", baseURL: frontend.url)],
            model: model,
            request: CanaryRequest(endpoint: endpoint, timeout: timeout),
            checks: checks
        )
        return await canary.troubles()
    }

    private func troubles(
        checks: [MigrationSettings.CanaryCheck] = [],
        timeout: Double = 20,
        _ respond: @escaping @Sendable (Asked, Int) -> Answer
    ) async throws -> [String] {
        let frontend = try await ScriptedFrontend(respond)
        let troubles = await self.troubles(of: frontend, checks: checks, timeout: timeout)
        await frontend.close()
        return troubles
    }

    @Test func `a frontend that serves has no troubles, and was asked everything`() async throws {
        let frontend = try await ScriptedFrontend { asked, number in
            // The second stream is the one that is given up.
            asked.isStreamed && number == 2 ? .endless(Self.delta("x")) : Self.good(asked)
        }
        let troubles = await self.troubles(
            of: frontend,
            checks: [.init(prompt: "2 + 2", expect: "^It is [0-9]", maxTokens: 7)]
        )
        #expect(troubles == [])
        #expect(frontend.asked.map(\.path) == ["/v1/models"] + Array(repeating: "/v1/chat/completions", count: 5))
        #expect(frontend.asked.map(\.isStreamed) == [false, false, true, true, false, false])
        let last = try #require(frontend.asked.last)
        #expect(
            last.body
                == "{\"model\":\"echo\",\"messages\":[{\"role\":\"user\",\"content\":\"2 + 2\"}],\"max_tokens\":7,\"stream\":false}"
        )
        try await eventually("the client leaves in the middle of the stream") { frontend.left == 1 }
        await frontend.close()
    }

    @Test func `a stated model and the other endpoint are used`() async throws {
        let frontend = try await ScriptedFrontend { asked, _ in
            guard asked.isStreamed else { return Self.good(asked) }
            return .pieces(["data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n"], ends: true)
        }
        #expect(
            await self.troubles(of: frontend, model: "m", endpoint: .completions, checks: [.init(prompt: "2 + 2")])
                == []
        )
        #expect(Set(frontend.asked.map(\.path)) == ["/v1/completions"])
        #expect(frontend.asked.allSatisfy { $0.body.hasPrefix("{\"model\":\"m\",\"prompt\":\"") })
        await frontend.close()
    }

    @Test func `whoever gives no token is told so once`() async throws {
        #expect(
            try await self.troubles { asked, _ in
                asked.path == "/v1/models" ? Self.good(asked) : .whole(status: 503, body: "{\"error\":\"no worker\"}")
            } == ["frontend: one token was asked for: 503: {\"error\":\"no worker\"}"]
        )
        #expect(
            try await self.troubles { asked, _ in .whole(status: 200, body: "{\"data\":[]}") }
                == ["frontend: it was asked which models it has: model list is empty"]
        )
        let frontend = try await ScriptedFrontend { asked, _ in Self.good(asked) }
        await frontend.close()
        let refused = await self.troubles(of: frontend, model: "m")
        #expect(refused.count == 1)
        #expect(refused.first?.hasPrefix("frontend: one token was asked for: connection refused") == true, "\(refused)")
    }

    @Test(
        arguments: [
            ([Self.delta("a"), Self.delta("b")], true, "it ended after 2 pieces without 'data: [DONE]'"),
            (["data: {\"choices\":[]}\n\n", "data: [DONE]\n\n"], true, "it ended without a piece of an answer"),
            (
                [Self.delta("a"), "event: error\ndata: {\"message\":\"engine died\"}\n\n"], true,
                "it broke off: {\"message\":\"engine died\"}"
            ),
            ([Self.delta("a"), "event: error\n: engine died\n\n"], true, "it broke off: engine died"),
            (
                [Self.delta("a"), "data: {\"error\":{\"message\":\"engine died\"}}\n\n"], true,
                "it broke off: engine died"
            ),
            ([Self.delta("a"), "data: nonsense\n\n"], true, "a piece is no JSON of a completion: nonsense"),
            (
                [Self.delta("a")], false,
                "the connection was closed before the answer was complete, after 1 piece"
            ),
        ]
    )
    func `a stream must come to its end with text`(_ pieces: [String], _ ends: Bool, _ words: String) async throws {
        let troubles = try await self.troubles { asked, number in
            asked.isStreamed && number == 1 ? .pieces(pieces, ends: ends) : Self.good(asked)
        }
        #expect(troubles == ["frontend: a stream of 64 tokens was asked for: \(words)"])
    }

    @Test func `a stream that does not end, or stops moving, is given up`() async throws {
        let endless = try await self.troubles { asked, number in
            asked.isStreamed && number == 1 ? .endless(String(repeating: Self.delta("a"), count: 50)) : Self.good(asked)
        }
        #expect(endless == ["frontend: a stream of 64 tokens was asked for: it did not end after 1024 pieces"])
        let silent = try await self.troubles(timeout: 1) { asked, number in
            asked.isStreamed && number == 1 ? .silence : Self.good(asked)
        }
        #expect(silent == ["frontend: a stream of 64 tokens was asked for: nothing came for 1 s"])
    }

    @Test func `after a stream was given up the frontend must still answer`() async throws {
        let troubles = try await self.troubles { asked, number in
            // The first one-token request is answered, the one after the streams is not.
            !asked.isStreamed && asked.path != "/v1/models" && number == 2
                ? .whole(status: 500, body: "stuck") : Self.good(asked)
        }
        #expect(troubles == ["frontend: one token was asked for after a stream was given up: 500: stuck"])
    }

    @Test func `the manifest's own requests must get what they expect`() async throws {
        let checks: [MigrationSettings.CanaryCheck] = [
            .init(prompt: "2 + 2", expect: "\\b4\\b"), .init(prompt: "Capital\nof France?", expect: "Paris"),
            .init(prompt: "slow", timeout: 0.3), .init(prompt: "bad"), .init(prompt: "empty"),
        ]
        let troubles = try await self.troubles(checks: checks) { asked, _ in
            if asked.body.contains("slow") { return .silence }
            if asked.body.contains("\"bad\"") { return .whole(status: 400, body: "no") }
            if asked.body.contains("empty") { return .whole(status: 200, body: "{\"choices\":[]}") }
            guard asked.body.contains("Capital") else { return Self.good(asked) }
            return .whole(
                status: 200,
                body: "{\"choices\":[{\"message\":{\"content\":\"\(String(repeating: "banana ", count: 50))\"}}]}"
            )
        }
        let bananas = String(repeating: "banana ", count: 50).prefix(120)
        #expect(
            troubles == [
                "frontend: it was asked 'Capital of France?': the answer must match /Paris/, and it is '\(bananas)...'",
                "frontend: it was asked 'slow': no answer within 0.3 s", "frontend: it was asked 'bad': 400: no",
                "frontend: it was asked 'empty': 200: {\"choices\":[]} has no choice",
            ]
        )
    }

    @Test func `each frontend is asked, and those with troubles are named`() async throws {
        let good = try await ScriptedFrontend { asked, _ in Self.good(asked) }
        let bad = try await ScriptedFrontend { _, _ in .whole(status: 500, body: "") }
        let canary = Canary(
            frontends: [
                .init(name: "frontend-0", baseURL: bad.url), .init(name: "frontend-1", baseURL: good.url),
                .init(name: "frontend-2", baseURL: bad.url),
            ],
            model: "echo",
            request: CanaryRequest(timeout: 20),
            checks: []
        )
        #expect(
            await canary.troubles() == [
                "frontend-0: one token was asked for: 500", "frontend-2: one token was asked for: 500",
            ]
        )
        #expect(good.asked.count == 4)
        await good.close()
        await bad.close()
    }

    @Test func `a plan without a frontend proves nothing`() async {
        let canary = Canary(frontends: [], model: nil, request: CanaryRequest(), checks: [])
        #expect(await canary.troubles().count == 1)
    }

    @Test func `events may come in any pieces`() {
        let text = "data: {\"choices\":[{\"text\":\"ä\"}]}\r\n\r\n: keep-alive\n\nid: 1\ndata: [DONE]\n\n"
        for size in 1...text.utf8.count {
            var reader = EventStreamReader()
            var events: [EventStreamReader.Event] = []
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                events += reader.feed(rest.prefix(size))
                rest = rest.dropFirst(size)
            }
            #expect(events == [.text("ä"), .done])
        }
    }
}
