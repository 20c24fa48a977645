import Foundation
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// Our processes beside Dynamo's own, on every plane, with a directory for discovery.
@Suite("Mixed deployments", .serialized, .timeLimit(.minutes(4)))
struct MixedDeploymentTests {
    private static let ours = TestEnvironment.products

    private func withPlace(_ peer: InteropPeer? = nil, _ body: (MixedPlace) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            var place = MixedPlace(directory: directory.appending(path: "kv"), port: try freePort())
            guard let peer else { return try await body(place) }
            place.plane = peer.mode
            try await peer.withBroker { nats in
                place.nats = nats
                try await body(place)
            }
        }
    }

    // MARK: Our worker

    private func withOurWorker(
        at place: MixedPlace,
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

    @Test("a real frontend serves our worker", arguments: InteropPeer.pairs)
    func realFrontend(_ peer: InteropPeer) async throws {
        let python = try TestEnvironment.python(peer.release)
        try await self.withPlace(peer) { place in
            _ = try await withProgram(
                python,
                ["-m", "dynamo.frontend", "--http-port", "\(place.port)"],
                environment: place.environment()
            ) { frontend in
                try await self.withOurWorker(at: place, ["--context-length", "1300"]) { systemPort in
                    try await place.waitForModel("echo", frontend)
                    try await place.checkChat("echo")
                    try await place.leave("echo", streams: true)
                    try await place.leave("echo", streams: false)
                    try await eventually("the worker saw both clients leave") {
                        try await MixedPlace.cancellations(systemPort: systemPort) == 2
                    }
                    try await place.checkMany("echo")
                    for streams in [true, false] {
                        let text = Array(repeating: MixedPlace.words, count: 3).joined(separator: " ")
                        let refused = try await HTTPRequests.post(
                            place.url + "/v1/chat/completions",
                            json: MixedPlace.chat("echo", text, streams: streams)
                        )
                        // A streamed answer has begun before the worker is asked; its error is an event.
                        #expect(streams || refused.status >= 400, "\(refused.text)")
                        #expect(!streams || refused.text.contains(#"{"error":{"message""#), "\(refused.text)")
                        // 1.6.1 keeps the worker's words to itself.
                        let words = peer.release == .v121 ? "the context of `echo` has 1300" : "Invalid request"
                        #expect(refused.text.contains(words), "\(refused.text)")
                    }
                    // Another model, so that nothing else is sent to the worker that is killed.
                    let (_, exit) = try await withProgram(
                        Self.ours.appending(path: "dynamo-worker").path,
                        ["--model-name", "lost", "--component", "lost"],
                        environment: place.environment()
                    ) { lost in
                        try await place.waitForModel("lost", frontend)
                        try await place.checkKill("lost", lost)
                    }
                    #expect(exit == .signal(SIGKILL))
                    try await place.checkChat("echo")
                }
                try await eventually("the model is gone from the real frontend") {
                    try await !HTTPRequests.get(place.url + "/v1/models").text.contains("\"echo\"")
                }
            }
        }
    }

    @Test("a real 1.2.1 frontend serves our worker at an address that it finds itself")
    func realFrontendAnyHost() async throws {
        let python = try TestEnvironment.python(.v121)
        try await self.withPlace { place in
            _ = try await withProgram(
                python,
                ["-m", "dynamo.frontend", "--http-port", "\(place.port)"],
                environment: place.environment(host: nil)
            ) { frontend in
                try await self.withOurWorker(at: place, host: nil) { _ in
                    try await place.waitForModel("echo", frontend)
                    try await place.checkChat("echo")
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
                    try await place.waitForModel("text", frontend)
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
        at place: MixedPlace,
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

    @Test("our frontend serves a real text worker", arguments: InteropPeer.pairs)
    func realWorker(_ peer: InteropPeer) async throws {
        let python = try TestEnvironment.python(peer.release)
        let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Dynamo/text_worker.py").path
        let model = try TestEnvironment.model()
        func arguments(_ name: String) -> [String] {
            [script, "--model-path", model, "--model-name", name, "--endpoint", "dynamo.\(name).generate"]
        }
        try await self.withPlace(peer) { place in
            try await self.withOurFrontend(at: place) { frontend in
                _ = try await withProgram(python, arguments("py-text"), environment: place.environment()) { worker in
                    // Another model, so that nothing else is sent to the worker that is killed.
                    _ = try await withProgram(python, arguments("lost"), environment: place.environment()) { lost in
                        try await place.waitForModel("py-text", frontend)
                        try await place.waitForModel("lost", frontend)
                        try await place.checkKill("lost", lost)
                    }
                    try await place.checkChat("py-text")
                    try await place.checkMany("py-text")
                    for streams in [true, false] {
                        let failed = try await HTTPRequests.post(
                            place.url + "/v1/chat/completions",
                            json: MixedPlace.chat("py-text", "raise", streams: streams)
                        )
                        #expect(failed.status == 400)
                        #expect(failed.text.contains("the worker was asked to fail"))
                    }
                    for (count, streams) in [(1, true), (2, false)] {
                        try await place.leave("py-text", streams: streams)
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

    @Test(
        "our frontend serves our worker, chat and completions, and only of its namespace",
        arguments: InteropPeer.pairs.filter { $0.release == .v121 }.map(\.mode)
    )
    func bothOurs(_ plane: RequestPlaneMode) async throws {
        try await self.withPlace(InteropPeer(release: .v121, mode: plane)) { place in
            try await self.withOurFrontend(at: place) { frontend in
                try await self.withOurWorker(at: place) { systemPort in
                    try await place.waitForModel("echo", frontend)
                    try await place.checkChat("echo")
                    try await place.checkMany("echo")
                    let completion = try await HTTPRequests.post(
                        place.url + "/v1/completions",
                        json: #"{"model":"echo","prompt":"one two"}"#
                    )
                    #expect(completion.text.contains(#""text":"one two""#))
                    let ready = try await HTTPRequests.get(place.url + "/v1/models/echo/ready")
                    #expect(ready.status == 200)
                    for (count, streams) in [(1, true), (2, false)] {
                        try await place.leave("echo", streams: streams)
                        try await eventually("the worker saw client \(count) leave") {
                            try await MixedPlace.cancellations(systemPort: systemPort) == count
                        }
                    }
                    var other = place
                    other.port = try freePort()
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
                    try await place.waitForModel("echo", frontend)
                    let url = place.url + "/v1/chat/completions"
                    let words = (1...40).map(String.init).joined(separator: " ")
                    let long = MixedPlace.chat("echo", words, streams: true)
                    let answer = try await withThrowingTaskGroup(of: HTTPReply.self) { group in
                        group.addTask { try await HTTPRequests.post(url, json: long) }
                        try await eventually("the stream runs") {
                            try await HTTPRequests.get(place.url + "/metrics").text
                                .contains(#"dynamo_frontend_time_to_first_token_seconds_count{model="echo"} 1"#)
                        }
                        worker.send(SIGTERM)
                        try await eventually("new requests are refused") {
                            try await HTTPRequests.post(url, json: MixedPlace.chat("echo", "x")).status == 404
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
            ("dynamo-frontend", ["--router-mode", "least-load"], [:], "did you mean 'least-loaded'?"),
            ("dynamo-frontend", [], ["DYN_ROUTER_MODE": "kvv"], "did you mean 'kv'?"),
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
