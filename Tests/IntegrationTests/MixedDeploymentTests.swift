import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

/// Our processes beside Dynamo's own on the TCP plane, with a directory for discovery and nothing else.
@Suite("Mixed deployments", .serialized, .timeLimit(.minutes(3)))
struct MixedDeploymentTests {
    /// One deployment: where its processes find each other, and the port of its frontend.
    private struct Place {
        let directory: URL
        let port: Int

        var url: String { "http://127.0.0.1:\(self.port)" }

        /// What every process of the deployment gets.
        func environment(host: String? = "127.0.0.1") -> [String: String?] {
            [
                "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": self.directory.path, "DYN_REQUEST_PLANE": "tcp",
                "DYN_EVENT_PLANE": "zmq", "HF_HUB_OFFLINE": "1", "NATS_SERVER": nil, "DYN_NAMESPACE": nil,
                "DYN_TCP_RPC_HOST": host, "DYN_HTTP_PORT": nil, "DYN_SYSTEM_PORT": nil,
            ]
        }
    }

    private static let words = (1...600).map(String.init).joined(separator: " ")
    private static let ours = TestEnvironment.products

    private func withPlace(_ body: (Place) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            try await body(Place(directory: directory.appending(path: "kv"), port: try freePort()))
        }
    }

    private func chat(_ model: String, _ text: String, streams: Bool = false) -> String {
        #"{"model":"\#(model)",\#(streams ? #""stream":true,"# : "")"messages":[{"role":"user","content":"\#(text)"}]}"#
    }

    private func waitForModel(_ model: String, at place: Place, _ program: RunningProgram) async throws {
        try await eventually(within: .seconds(60), "`\(model)` is listed; output of the frontend:\n\(program.output)") {
            (try? await HTTPRequests.get(place.url + "/v1/models", limit: 2))?.text.contains("\"\(model)\"") ?? false
        }
    }

    /// Asks for a chat, streamed and not.
    private func checkChat(_ model: String, at place: Place) async throws {
        let path = place.url + "/v1/chat/completions"
        let whole = try await HTTPRequests.post(path, json: self.chat(model, "one two three"))
        #expect(whole.status == 200, "\(whole.text)")
        let choice = (try whole.object()["choices"] as? [[String: Any]])?.first
        let content = (choice?["message"] as? [String: Any])?["content"] as? String
        #expect(content?.split(separator: " ") == ["one", "two", "three"])
        #expect(choice?["finish_reason"] as? String == "stop")
        #expect((try whole.object()["usage"] as? [String: Any])?["completion_tokens"] as? Int == 3)

        let streamed = try await HTTPRequests.post(path, json: self.chat(model, "one two three", streams: true))
        #expect(streamed.status == 200)
        let events = streamed.text.split(separator: "\n\n").map { $0.dropFirst("data: ".count) }
        #expect(events.last == "[DONE]")
        let pieces = try events.dropLast().compactMap { event -> String? in
            let object = try JSONSerialization.jsonObject(with: Data(event.utf8)) as? [String: Any]
            let choice = (object?["choices"] as? [[String: Any]])?.first
            return (choice?["delta"] as? [String: Any])?["content"] as? String
        }.filter { !$0.isEmpty }
        #expect(pieces.count == 3)
        #expect(pieces.joined().split(separator: " ") == ["one", "two", "three"])
    }

    /// Leaves in the middle of an answer.
    private func leave(_ model: String, at place: Place, streams: Bool) async throws {
        var request = HTTPClientRequest(url: place.url + "/v1/chat/completions")
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        request.body = .bytes(ByteBuffer(string: self.chat(model, Self.words, streams: streams)))
        guard streams else {
            // The answer comes at its end, long after this.
            let limit = TimeAmount.milliseconds(700)
            await #expect(throws: HTTPClientError.deadlineExceeded) {
                try await HTTPClient.shared.execute(request, timeout: limit)
            }
            return
        }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
        var body = response.body.makeAsyncIterator()
        // Letting go of the body closes the connection.
        let first = try #require(try await body.next())
        #expect(String(buffer: first).hasPrefix("data: "))
    }

    /// How many generations our worker saw cancelled.
    private func cancellations(systemPort: Int) async throws -> Int {
        let metrics = try await HTTPRequests.get("http://127.0.0.1:\(systemPort)/metrics").text
        let line = metrics.split(separator: "\n").first { $0.hasPrefix("dynamo_component_cancellation_total{") }
        return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
    }

    // MARK: Our worker

    private func withOurWorker(
        at place: Place,
        host: String? = "127.0.0.1",
        _ arguments: [String] = [],
        _ body: (Int) async throws -> Void
    ) async throws {
        let systemPort = try freePort()
        var environment = place.environment(host: host)
        environment["DYN_SYSTEM_PORT"] = "\(systemPort)"
        environment["DYN_SYSTEM_HOST"] = "127.0.0.1"
        let (_, exit) = try await withProgram(
            Self.ours.appending(path: "dynamo-worker").path,
            arguments,
            environment: environment
        ) { worker in
            try await eventually("our worker is ready") {
                (try? await HTTPRequests.get("http://127.0.0.1:\(systemPort)/health", limit: 2))?.status == 200
            }
            try await body(systemPort)
            worker.send(SIGTERM)
            try await worker.waitForExit()
        }
        #expect(exit == .code(0))
        let left = try FileManager.default.contentsOfDirectory(
            atPath: place.directory.appending(path: "v1/instances").path
        )
        #expect(left.filter { $0.hasPrefix("dynamo%2Fbackend") }.isEmpty)
    }

    @Test("a real 1.2.1 frontend serves our worker", arguments: ["127.0.0.1", nil])
    func realFrontend(host: String?) async throws {
        let python = try TestEnvironment.python(.v121)
        try await self.withPlace { place in
            _ = try await withProgram(
                python,
                ["-m", "dynamo.frontend", "--http-port", "\(place.port)"],
                environment: place.environment(host: host)
            ) { frontend in
                try await self.withOurWorker(at: place, host: host) { systemPort in
                    try await self.waitForModel("echo", at: place, frontend)
                    try await self.checkChat("echo", at: place)
                    try await self.leave("echo", at: place, streams: true)
                    try await self.leave("echo", at: place, streams: false)
                    try await eventually("the worker saw both clients leave") {
                        try await self.cancellations(systemPort: systemPort) == 2
                    }
                }
                try await eventually("the model is gone from the real frontend") {
                    try await !HTTPRequests.get(place.url + "/v1/models").text.contains("\"echo\"")
                }
            }
        }
    }

    @Test("a real 1.2.1 frontend serves completions of our worker")
    func realFrontendCompletions() async throws {
        let python = try TestEnvironment.python(.v121)
        try await self.withPlace { place in
            _ = try await withProgram(
                python,
                ["-m", "dynamo.frontend", "--http-port", "\(place.port)"],
                environment: place.environment()
            ) { frontend in
                try await self.withOurWorker(at: place, ["--serve", "completions", "--model-name", "text"]) { _ in
                    try await self.waitForModel("text", at: place, frontend)
                    for stream in ["", #","stream":true"#] {
                        let answer = try await HTTPRequests.post(
                            place.url + "/v1/completions",
                            json: #"{"model":"text","prompt":"one two","max_tokens":1\#(stream)}"#
                        )
                        #expect(answer.status == 200, "\(answer.text)")
                        #expect(answer.text.contains(#""text":"one""#))
                        #expect(answer.text.contains(#""finish_reason":"length""#))
                    }
                }
            }
        }
    }

    // MARK: Our frontend

    private func withOurFrontend(
        at place: Place,
        _ arguments: [String] = [],
        _ body: (RunningProgram) async throws -> Void
    ) async throws {
        let (_, exit) = try await withProgram(
            Self.ours.appending(path: "dynamo-frontend").path,
            ["--http-host", "127.0.0.1", "--http-port", "\(place.port)"] + arguments,
            environment: place.environment()
        ) { frontend in
            try await body(frontend)
            frontend.send(SIGTERM)
            try await frontend.waitForExit()
        }
        #expect(exit == .code(0))
    }

    @Test("our frontend serves a real 1.2.1 text worker")
    func realWorker() async throws {
        let python = try TestEnvironment.python(.v121)
        let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Dynamo/text_worker.py").path
        let model = try TestEnvironment.model()
        try await self.withPlace { place in
            try await self.withOurFrontend(at: place) { frontend in
                _ = try await withProgram(
                    python,
                    [script, "--model-path", model, "--model-name", "py-text"],
                    environment: place.environment()
                ) { worker in
                    try await self.waitForModel("py-text", at: place, frontend)
                    try await self.checkChat("py-text", at: place)
                    for streams in [true, false] {
                        let failed = try await HTTPRequests.post(
                            place.url + "/v1/chat/completions",
                            json: self.chat("py-text", "raise", streams: streams)
                        )
                        #expect(failed.status == 400)
                        #expect(failed.text.contains("the worker was asked to fail"))
                    }
                    for (count, streams) in [(1, true), (2, false)] {
                        try await self.leave("py-text", at: place, streams: streams)
                        try await eventually("the worker saw client \(count) leave:\n\(worker.output)") {
                            worker.output.components(separatedBy: #"{"event": "cancelled""#).count - 1 == count
                        }
                    }
                    #expect(worker.output.contains(#""killed": true"#))
                }
                try await eventually("the model is gone") {
                    try await !HTTPRequests.get(place.url + "/v1/models").text.contains("\"py-text\"")
                }
            }
        }
    }

    @Test("our frontend serves our worker, chat and completions, and only of its namespace")
    func bothOurs() async throws {
        try await self.withPlace { place in
            try await self.withOurFrontend(at: place) { frontend in
                try await self.withOurWorker(at: place) { systemPort in
                    try await self.waitForModel("echo", at: place, frontend)
                    try await self.checkChat("echo", at: place)
                    let completion = try await HTTPRequests.post(
                        place.url + "/v1/completions",
                        json: #"{"model":"echo","prompt":"one two"}"#
                    )
                    #expect(completion.text.contains(#""text":"one two""#))
                    let ready = try await HTTPRequests.get(place.url + "/v1/models/echo/ready")
                    #expect(ready.status == 200)
                    for (count, streams) in [(1, true), (2, false)] {
                        try await self.leave("echo", at: place, streams: streams)
                        try await eventually("the worker saw client \(count) leave") {
                            try await self.cancellations(systemPort: systemPort) == count
                        }
                    }
                    let other = Place(directory: place.directory, port: try freePort())
                    try await self.withOurFrontend(at: other, ["--namespace", "other"]) { frontend in
                        try await frontend.waitForOutput("frontend listens")
                        let models = try await HTTPRequests.get(other.url + "/v1/models").text
                        #expect(models == #"{"object":"list","data":[]}"#)
                    }
                }
            }
        }
    }

    @Test("a worker that is asked to stop finishes its stream; nobody new is sent to it")
    func workerDrain() async throws {
        try await self.withPlace { place in
            try await self.withOurFrontend(at: place) { frontend in
                let (_, exit) = try await withProgram(
                    Self.ours.appending(path: "dynamo-worker").path,
                    ["--rate", "20"],
                    environment: place.environment()
                ) { worker in
                    try await self.waitForModel("echo", at: place, frontend)
                    let url = place.url + "/v1/chat/completions"
                    let words = (1...40).map(String.init).joined(separator: " ")
                    let long = self.chat("echo", words, streams: true)
                    let answer = try await withThrowingTaskGroup(of: HTTPReply.self) { group in
                        group.addTask { try await HTTPRequests.post(url, json: long) }
                        try await eventually("the stream runs") {
                            try await HTTPRequests.get(place.url + "/metrics").text
                                .contains(#"dynamo_frontend_time_to_first_token_seconds_count{model="echo"} 1"#)
                        }
                        worker.send(SIGTERM)
                        try await eventually("new requests are refused") {
                            try await HTTPRequests.post(url, json: self.chat("echo", "x")).status == 404
                        }
                        #expect(worker.isRunning)
                        return try #require(try await group.next())
                    }
                    #expect(answer.text.contains(#""finish_reason":"stop""#))
                    #expect(answer.text.hasSuffix("data: [DONE]\n\n"))
                    try await worker.waitForExit()
                }
                #expect(exit == .code(0))
            }
        }
    }

    // MARK: Command lines

    @Test(
        "what cannot work is said and ends with an exit code",
        arguments: [
            (
                "dynamo-frontend", ["--http-prot", "1"], [:],
                "Unknown option '--http-prot'. Did you mean '--http-port'?"
            ),
            (
                "dynamo-frontend", ["--http-port", "70000"], [:],
                "--http-port is 70000; it must be a number from 0 to 65535"
            ),
            ("dynamo-frontend", ["--router-mode", "kv"], [:], "'kv' is invalid for '--router-mode"),
            (
                "dynamo-frontend", [], ["DYN_HTTP_PORT": "x"],
                "DYN_HTTP_PORT is 'x'; it must be a whole number from 0 to 65535"
            ),
            (
                "dynamo-frontend", [], ["DYN_REQUEST_PLANE": "bogus"],
                "Invalid request plane mode 'bogus': valid values are tcp, http, nats"
            ),
            ("dynamo-worker", ["--engine", "vllm"], [:], "'vllm' is invalid for '--engine"),
            ("dynamo-worker", ["--rate", "-1"], [:], "Error: "),
            ("dynamo-worker", [], ["DYN_DISCOVERY_BACKEND": "kubernetes"], "it must be one of etcd, file, mem"),
            ("dynamo-worker", ["--component", "a/b"], [:], "--component is 'a/b'"),
        ] as [(String, [String], [String: String], String)]
    )
    func faults(program: String, arguments: [String], environment: [String: String], message: String) async throws {
        try await self.withPlace { place in
            let variables = place.environment().merging(environment) { $1 }
            let (output, exit) = try await withProgram(
                Self.ours.appending(path: program).path,
                arguments,
                environment: variables
            ) { program in
                try await program.waitForExit()
                return program.output
            }
            #expect(output.contains(message), "\(output)")
            #expect(exit != .code(0))
        }
    }

    @Test("a port that is taken ends the frontend with an error that says so")
    func portTaken() async throws {
        try await self.withPlace { place in
            try await self.withOurFrontend(at: place) { frontend in
                try await frontend.waitForOutput("frontend listens")
                let (output, exit) = try await withProgram(
                    Self.ours.appending(path: "dynamo-frontend").path,
                    ["--http-host", "127.0.0.1", "--http-port", "\(place.port)"],
                    environment: place.environment()
                ) { program in
                    try await program.waitForExit()
                    return program.output
                }
                #expect(
                    output.contains("cannot listen on 127.0.0.1:\(place.port): Address already in use"),
                    "\(output)"
                )
                #expect(exit == .code(1))
            }
        }
    }
}
