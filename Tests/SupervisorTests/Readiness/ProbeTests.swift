import Deployment
import Foundation
import NIOCore
import TestSupport
import Testing

@testable import Supervisor

private func answer(_ status: Int, _ body: String) -> HTTPAnswer {
    HTTPAnswer(status: status, body: ByteBuffer(string: body))
}

@Suite struct ProbeJudgementTests {
    /// Bodies as Dynamo 1.2.1 and 1.6.1 send them.
    @Test(arguments: [
        (503, #"{"status":"notready","uptime":{"secs":1,"nanos":7},"endpoints":{"generate":"ready"}}"#, nil as String?),
        (200, #"{"status":"ready","uptime":{"secs":1,"nanos":6},"endpoints":{"run":"ready"}}"#, nil),
        (200, #"{"status":"ready","uptime":{"secs":1,"nanos":6},"endpoints":{}}"#, "200, no endpoint is named yet"),
        (
            503, #"{"status":"notready","endpoints":{"a":"notready","b":"notready","c":"ready"}}"#,
            "endpoint a is notready, and 1 more"
        ),
        (503, #"{"endpoints":{"generate":{"status":"ready"}}}"#, nil), (404, "Route not found", "404: Route not found"),
    ])
    func systemHealthGoesByEndpoints(status: Int, body: String, reason: String?) {
        let expected = reason.map { ProbeOutcome.failure($0) } ?? .success
        #expect(SystemHealth.judge(answer(status, body)) == expected)
    }

    @Test func statusesAndText() {
        #expect(ProbeRunner.judge(answer(204, ""), statuses: [], text: nil) == .success)
        #expect(ProbeRunner.judge(answer(503, "later"), statuses: [], text: nil) == .failure("503: later"))
        #expect(ProbeRunner.judge(answer(503, "later"), statuses: [200, 503], text: nil) == .success)
        #expect(
            ProbeRunner.judge(answer(200, "x"), statuses: [], text: "backend")
                == .failure("200, but the body does not contain 'backend'")
        )
    }

    @Test func longAnswersAreCut() {
        let words = answer(500, String(repeating: "long\n", count: 100)).words
        #expect(words.hasPrefix("500: long long") && words.hasSuffix("...") && words.count == 205)
    }

    @Test func modelNamesAreOnePathSegment() {
        #expect(ModelProbe.percentEncoded("Qwen/Qwen3-0.6B") == "Qwen%2FQwen3-0.6B")
        #expect(ModelProbe.percentEncoded("a b%ä") == "a%20b%25%C3%A4")
    }

    @Test(arguments: [
        ("http://127.0.0.1:8000/live", HTTPTarget.tcp(host: "127.0.0.1", port: 8000), "/live"),
        ("http://localhost", .tcp(host: "localhost", port: 80), "/"),
        ("http://[::1]:81?x=1", .tcp(host: "::1", port: 81), "/?x=1"),
        ("http://[::1]/", .tcp(host: "::1", port: 80), "/"),
    ])
    func urls(url: String, target: HTTPTarget, path: String) throws {
        let request = try HTTPRequest(url: url)
        #expect(request.target == target)
        #expect(request.path == path)
    }

    @Test(arguments: ["https://x", "x", "http://", "http://x:port/", "http://x:0/", "http://:1/"])
    func notURLs(url: String) {
        #expect(throws: HTTPFailure.self) { try HTTPRequest(url: url) }
    }

    @Test func natsURLs() {
        #expect(NATSPing.address(of: "nats://127.0.0.1:4333") == .init(host: "127.0.0.1", port: 4333))
        #expect(NATSPing.address(of: "localhost") == .init(host: "localhost", port: 4222))
        #expect(
            NATSPing.address(of: "nats://u:p@[::1]:1, nats://other:2")
                == .init(host: "::1", port: 1, credentials: "u:p")
        )
        #expect(NATSPing.address(of: "nats://x:y") == nil)
        #expect(NATSPing.address(of: "") == nil)
    }
}

/// Probes against a small server.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct LiveProbeTests {
    private let runner = ProbeRunner(namespace: "ns") { component, endpoint, namespace in
        .failure("\(namespace).\(component).\(endpoint)")
    }

    /// Answers `METHOD PATH` with a status and a body.
    private func serve(_ answers: [String: (Int, String)], _ body: (String) async throws -> Void) async throws {
        let folder = ScratchFolder()
        let table = answers.map { key, value in
            "\(ConsoleFormatter.quoted(key)): (\(value.0), \(ConsoleFormatter.quoted(value.1)))"
        }
        let code = """
            import http.server, sys, time
            answers = {\(table.joined(separator: ", "))}
            class Handler(http.server.BaseHTTPRequestHandler):
                def answer(self):
                    self.rfile.read(int(self.headers.get('content-length', 0)))
                    status, body = answers.get(self.command + ' ' + self.path, (404, 'no'))
                    if status == 0: time.sleep(60)
                    self.send_response(status); self.end_headers(); self.wfile.write(body.encode())
                do_GET = do_POST = answer
                def log_message(self, *_): pass
            server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
            open('\(folder.path)/new', 'w').write(str(server.server_port))
            import os; os.rename('\(folder.path)/new', '\(folder.path)/port')
            server.serve_forever()
            """
        let server = try Stranger(["/usr/bin/python3", "-c", code])
        var port = ""
        try await eventually("serving") {
            port = (try? String(contentsOfFile: "\(folder.path)/port", encoding: .utf8)) ?? ""
            return !port.isEmpty
        }
        try await body("http://127.0.0.1:\(port)")
        withExtendedLifetime(server) {}
    }

    private func ask(_ probe: Probe, timeout: Duration = .seconds(5)) async -> ProbeOutcome {
        await self.runner.ask(probe, timeout: timeout)
    }

    @Test func nobodyListens() async throws {
        let url = "http://127.0.0.1:1"
        let refused = ProbeOutcome.failure("connection refused")
        #expect(await self.ask(.tcp(host: "127.0.0.1", port: 1)) == refused)
        #expect(await self.ask(.http(url: url, statuses: [], bodyContains: nil)) == refused)
        #expect(await self.ask(.modelListed(baseURL: url, model: nil)) == refused)
        #expect(await self.ask(.generate(baseURL: url, model: nil, canary: CanaryRequest())) == refused)
        #expect(await self.ask(.natsPing(url: "nats://127.0.0.1:1")) == refused)
        let secure = ProbeOutcome.failure("https://x is not an http:// URL")
        #expect(await self.ask(.http(url: "https://x", statuses: [], bodyContains: nil)) == secure)
    }

    @Test func aServerThatDoesNotAnswerTimesOut() async throws {
        try await self.serve(["GET /live": (0, "")]) { base in
            let before = ContinuousClock.now
            let outcome = await self.ask(
                .http(url: "\(base)/live", statuses: [], bodyContains: nil),
                timeout: .seconds(0.3)
            )
            #expect(outcome == .failure("no answer within 0.3 s"))
            #expect(ContinuousClock.now - before < .seconds(2))
        }
    }

    @Test func cancellingAProbeEndsIt() async throws {
        try await self.serve(["GET /live": (0, "")]) { base in
            let before = ContinuousClock.now
            let outcome = await withTaskGroup(of: ProbeOutcome.self) { group in
                group.addTask {
                    await self.ask(.http(url: "\(base)/live", statuses: [], bodyContains: nil), timeout: .seconds(50))
                }
                group.cancelAll()
                return await group.next()
            }
            #expect(outcome != .success)
            #expect(ContinuousClock.now - before < .seconds(2))
        }
    }

    @Test func models() async throws {
        let list = #"{"object":"list","data":[{"id":"a/b","object":"model"}]}"#
        try await self.serve(["GET /v1/models": (200, list), "GET /v1/models/a%2Fb/ready": (503, #"{"ready":false}"#)])
        {
            base in
            #expect(await self.ask(.modelListed(baseURL: base, model: nil)) == .success)
            #expect(await self.ask(.modelListed(baseURL: base, model: "a/b")) == .success)
            #expect(await self.ask(.modelListed(baseURL: base, model: "c")) == .failure("model list has a/b, not c"))
            #expect(await self.ask(.modelReady(baseURL: base, model: nil)) == .failure(#"503: {"ready":false}"#))
        }
        // Dynamo 1.2.1 has no such route; 1.6.1 does not find names with a slash under it.
        try await self.serve(["GET /v1/models": (200, list)]) { base in
            #expect(await self.ask(.modelReady(baseURL: base, model: "a/b")) == .success)
        }
        try await self.serve(["GET /v1/models": (200, #"{"object":"list","data":[]}"#)]) { base in
            #expect(await self.ask(.modelReady(baseURL: base, model: nil)) == .failure("model list is empty"))
            #expect(await self.ask(.modelListed(baseURL: base, model: nil)) == .failure("model list is empty"))
            let generate = Probe.generate(baseURL: base, model: nil, canary: CanaryRequest())
            #expect(await self.ask(generate) == .failure("model list is empty"))
        }
        try await self.serve(["GET /v1/models": (200, "no JSON")]) { base in
            #expect(
                await self.ask(.modelListed(baseURL: base, model: nil))
                    == .failure("not a list of models: 200: no JSON")
            )
        }
    }

    @Test func generation() async throws {
        let good = #"{"choices":[{"message":{"content":"x"}}]}"#
        try await self.serve([
            "POST /v1/chat/completions": (200, good), "POST /v1/completions": (200, #"{"choices":[]}"#),
        ]) { base in
            #expect(await self.ask(.generate(baseURL: base, model: "m", canary: CanaryRequest())) == .success)
            let other = CanaryRequest(endpoint: .completions)
            let outcome = await self.ask(.generate(baseURL: base, model: "m", canary: other))
            #expect(outcome == .failure(#"200 without a choice: 200: {"choices":[]}"#))
        }
        try await self.serve(["POST /v1/chat/completions": (500, "Invalid TCP address")]) { base in
            let outcome = await self.ask(.generate(baseURL: base, model: "m", canary: CanaryRequest()))
            #expect(outcome == .failure("500: Invalid TCP address"))
        }
    }

    @Test func thePublicAddressIsProved() async throws {
        func proof(_ base: String, layers: [LayerProbe]) -> PublicProof? {
            let folder = ScratchFolder()
            var plan = Plan.test(folder, [.shell("frontend", "exec sleep 1", role: .frontend)])
            plan.replicas[0].readiness = layers
            plan.publicAddress.port = base.split(separator: ":").last.flatMap { Int($0) } ?? 0
            return PublicProof(plan)
        }
        // The frontend's own address is another one.
        let layers = [
            LayerProbe(
                layer: .serving,
                probe: .generate(baseURL: "http://127.0.0.1:1", model: "m", canary: CanaryRequest(timeout: 2))
            )
        ]
        #expect(proof("http://127.0.0.1:1", layers: [LayerProbe(layer: .alive, probe: .process)]) == nil)
        try await self.serve(["POST /v1/chat/completions": (200, #"{"choices":[{"message":{}}]}"#)]) { base in
            #expect(await proof(base, layers: layers)?.trouble(within: .seconds(5)) == nil)
        }
        try await self.serve(["POST /v1/chat/completions": (503, "nobody")]) { base in
            let trouble = await proof(base, layers: layers)?.trouble(within: .milliseconds(600))
            #expect(
                trouble?.hasSuffix("although each frontend does by itself: 503: nobody") ?? false,
                "\(trouble ?? "")"
            )
        }
        let before = ContinuousClock.now
        try await self.serve(["POST /v1/chat/completions": (0, "")]) { base in
            let trouble = await proof(base, layers: layers)?.trouble(within: .milliseconds(600))
            #expect(trouble?.contains("no answer within 0.6 s") ?? false, "\(trouble ?? "")")
        }
        #expect(ContinuousClock.now - before < .seconds(5))
    }

    @Test func thePlaneIsAskedByTheCaller() async {
        #expect(
            await self.ask(.requestPlane(component: "backend", endpoint: "generate")) == .failure("ns.backend.generate")
        )
    }
}
