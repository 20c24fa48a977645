import AsyncHTTPClient
import Discovery
import Foundation
import KVRouter
import NIOCore
import NIOHTTP1
import RequestPlane
import Synchronization
import TestSupport
import Testing

@testable import dynamo_frontend

@Suite("Router modes over HTTP", .timeLimit(.minutes(1)))
struct RouterModesTests {
    private static let path = "/v1/chat/completions"

    private func body(_ text: String = "x", _ more: String = "") -> String {
        #"{"model":"m"\#(more),"messages":[{"role":"user","content":"\#(text)"}]}"#
    }

    /// A prompt of several blocks: what is shorter than one is no load once it has its first token.
    private static func long(_ text: String) -> String { String(repeating: text + ". ", count: 20) }

    private func run(
        _ mode: RouterMode,
        _ client: ScriptedClient = ScriptedClient { _ in [.chunk("a")] },
        _ body: (RunningFrontend, ScriptedClient) async throws -> Void
    ) async throws {
        var router = RouterConfiguration()
        router.mode = mode
        try await RunningFrontend.run(client, router: router) { frontend in
            try await frontend.publish((1...3).map { FrontendFixture.worker($0) })
            try await eventually("all workers are known") {
                let health = try await HTTPRequests.get(frontend.url + "/health").text
                return health.components(separatedBy: #""component":"backend""#).count == 4
            }
            try await body(frontend, client)
        }
    }

    @Test(
        "direct: the worker that the body or a header names",
        arguments: ["backend_instance_id", "decode_worker_id"]
    )
    func direct(field: String) async throws {
        try await self.run(.direct) { frontend, client in
            let url = frontend.url + Self.path
            let named = try await HTTPRequests.post(
                url,
                json: self.body("x", #","nvext":{"\#(field)":2}"#)
            )
            #expect(named.status == 200)
            #expect(client.sent.withLock { $0.map(\.instance) } == [2])
            var request = HTTPClientRequest(url: url)
            request.method = .POST
            request.headers.add(name: "content-type", value: "application/json")
            request.headers.add(name: "x-worker-instance-id", value: "3")
            request.body = .bytes(ByteBuffer(string: self.body("x", #","nvext":{"\#(field)":2}"#)))
            let answer = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
            _ = try await answer.body.collect(upTo: 1 << 20)
            #expect(client.sent.withLock { $0.map(\.instance) } == [2, 3])
            let unnamed = try await HTTPRequests.post(url, json: self.body())
            #expect(unnamed.status == 400)
            #expect(unnamed.text.contains(#""code":"worker_id_required""#))
            let unknown = try await HTTPRequests.post(
                url,
                json: self.body("x", #","nvext":{"\#(field)":9}"#)
            )
            #expect(unknown.status == 404)
            #expect(unknown.text.contains(#""code":"worker_not_found""#))
            let wrong = try await HTTPRequests.post(
                url,
                json: self.body("x", #","nvext":{"\#(field)":"two"}"#)
            )
            #expect(wrong.status == 400)
            #expect(wrong.text.contains("nvext.\(field)"))
        }
    }

    @Test("kv: the same prompt goes to the same worker, others are spread")
    func kv() async throws {
        try await self.run(.kv) { frontend, client in
            let prompt = String(repeating: "a long beginning. ", count: 20)
            for _ in 0..<8 {
                _ = try await HTTPRequests.post(frontend.url + Self.path, json: self.body(prompt))
            }
            #expect(Set(client.sent.withLock { $0.map(\.instance) }).count == 1)
            for number in 0..<20 {
                let other = String(repeating: "\(number) other ", count: 20)
                _ = try await HTTPRequests.post(frontend.url + Self.path, json: self.body(other))
            }
            #expect(Set(client.sent.withLock { $0.map(\.instance) }).count == 3)
        }
    }

    @Test(
        "modes that look at load leave out who is busy",
        arguments: [RouterMode.leastLoaded, .powerOfTwo, .kv]
    )
    func load(mode: RouterMode) async throws {
        // Worker 1 keeps what it gets.
        let client = ScriptedClient { $0.id.rawValue == 1 ? [.chunk("a"), .silence] : [.chunk("a")] }
        try await self.run(mode, client) { frontend, client in
            let url = frontend.url + Self.path
            try await withThrowingTaskGroup(of: Void.self) { group in
                func got(_ worker: UInt64) -> Int {
                    client.sent.withLock { $0.count { $0.instance == worker } }
                }
                var number = 0
                while got(1) == 0, number < 200 {
                    number += 1
                    let before = client.sent.withLock { $0.count }
                    let text = self.body(Self.long("prompt \(number)"))
                    group.addTask { _ = try? await HTTPRequests.post(url, json: text, limit: 20) }
                    try await eventually("it was sent") { client.sent.withLock { $0.count } > before }
                }
                #expect(got(1) == 1)
                for number in 0..<12 {
                    _ = try await HTTPRequests.post(url, json: self.body(Self.long("\(number) later")))
                }
                #expect(got(1) == 1)
                group.cancelAll()
            }
        }
    }

    @Test(
        "an unknown mode is refused with what was probably meant; the option wins over the variable"
    )
    func settings() throws {
        for (text, hint) in [
            ("least-load", "least-loaded"), ("roundrobin", "round-robin"), ("KW", "kv"),
        ] {
            let error = #expect(throws: RouterConfigurationError.self) {
                try RouterSettings.read(["DYN_ROUTER_MODE": text], mode: nil)
            }
            #expect(error?.description.contains("did you mean '\(hint)'?") == true)
        }
        #expect(throws: RouterConfigurationError.self) {
            try RouterSettings.mode("device-aware-weighted")
        }
        let (router, warnings) = try RouterSettings.read(
            [
                "DYN_ROUTER_MODE": "Random", "DYN_ROUTER_EVENT_THREADS": "5",
                "DYN_ROUTER_TEMPERATURE": "0.5",
            ],
            mode: nil
        )
        #expect((router.mode, router.temperature, router.syncsReplicas) == (.random, 0.5, false))
        #expect(warnings == ["DYN_ROUTER_EVENT_THREADS is set, but has no effect in this frontend"])
        #expect(
            try RouterSettings.read(["DYN_ROUTER_MODE": "nonsense"], mode: .kv).configuration.mode == .kv
        )
    }

    @Test("the documented variables are those that take effect")
    func documented() throws {
        let text = try String(
            contentsOf: TestEnvironment.root.appending(path: "docs/environment.md"),
            encoding: .utf8
        )
        let part = try #require(
            text.components(separatedBy: "\n# ").first {
                $0.hasPrefix("Variables of the frontend's router")
            }
        )
        let rows = part.split(separator: "\n").filter { $0.hasPrefix("| `") }.map { line in
            line.split(separator: "|").prefix(2).map { $0.trimmingCharacters(in: [" ", "`"]) }
        }
        let expected = RouterSettings.knobs.map { [$0.variable, $0.fallback ?? "as the card says"] }
        #expect(Set(rows) == Set(expected))
        #expect(rows.count == expected.count)
    }
}
