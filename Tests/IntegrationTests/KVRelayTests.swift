import Foundation
import TestSupport
import Testing

/// `kvEvents` of a manifest: engines' own KV events, published by the launcher, before a real router.
///
/// The engines are real mock engines that publish in vLLM's format; their own publisher writes to a JetStream stream, which a router on
/// NATS core does not read.
@Suite(.serialized, .timeLimit(.minutes(3))) struct KVRelayTests {
    private static let mocker = """
            module: dynamo.mocker
            restart: {initialDelay: 100ms}
            args: [--model-path, "${MODEL_PATH}", --block-size, 16, --num-gpu-blocks-override, 256, --speedup-ratio, 20,
                   --durable-kv-events, --zmq-kv-events-ports, "{{port.kv}}", --zmq-replay-ports, "{{port.replay}}"]
        """

    private static func manifest(_ processes: String, discovery: String = "file", replicas: Int = 1) -> String {
        """
        name: relayed
        planes: {request: tcp, events: nats-core}
        discovery: \(discovery)
        infrastructure: {nats: {managed: true, jetstream: true}\(discovery == "etcd" ? ", etcd: managed" : "")}
        processes:
          frontend: {module: dynamo.frontend, args: [--router-mode, kv]}
          worker:
        \(Self.mocker)
            replicas: \(replicas)
        \(processes)
        """
    }

    private func withDeployment(
        _ manifest: (URL) -> String,
        _ body: (LaunchedDeployment, String, URL) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "relayed.yaml")
            try manifest(directory).write(to: file, atomically: true, encoding: .utf8)
            let environment = try RealDynamoTests.environment(.v121)
            let (_, exit) = try await Launcher.up([file.path()], environment: environment) { deployment in
                try await deployment.waitUntilReady()
                try await deployment.program.waitForOutput("are published for instance")
                try await body(deployment, try await Chat.firstModel(deployment.url), directory)
            }
            #expect(exit == .code(0))
        }
    }

    /// What `status` says of a replica's relay.
    private func relay(_ deployment: LaunchedDeployment, _ name: String) async throws -> [String: Any] {
        let (json, _) = try await deployment.command("status", "--json")
        let status = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
        let replicas = status?["replicas"] as? [[String: Any]] ?? []
        return replicas.first { $0["name"] as? String == name }?["kvEvents"] as? [String: Any] ?? [:]
    }

    private func number(_ relay: [String: Any], _ key: String) -> Int { relay[key] as? Int ?? -1 }

    @Test(arguments: ["file", "etcd"])
    func `a real router steers by relayed events, and forgets a worker that was restarted`(
        _ discovery: String
    ) async throws {
        let relay = """
                ports: {kv: auto, replay: auto}
                kvEvents: {engine: "tcp://127.0.0.1:{{port.kv}}", replay: "tcp://127.0.0.1:{{port.replay}}"}
            """
        try await self.withDeployment({ _ in Self.manifest(relay, discovery: discovery, replicas: 2) }) {
            deployment,
            model,
            _ in
            func ask(_ word: String) async throws -> KVAnswer {
                try await KVAnswer.ask(deployment.url, model, word)
            }
            try await eventually("the router knows who holds a prompt") { try await ask("alpha").hitRate > 0.9 }
            for number in 0..<6 {
                let first = try await ask("word\(number)")
                #expect(first.hitRate < 0.5)
                var holders: Set = [first.worker]
                try await eventually("the prompt meets a worker that has it") {
                    let again = try await ask("word\(number)")
                    guard again.hitRate > 0.8 else {
                        holders.insert(again.worker)
                        return false
                    }
                    #expect(holders.contains(again.worker))
                    return true
                }
            }
            var instances: Set<String> = []
            var events = 0
            for name in ["worker-0", "worker-1"] {
                let relay = try await self.relay(deployment, name)
                #expect(relay["state"] as? String == "publishing" && self.number(relay, "connections") == 1, "\(relay)")
                #expect(self.number(relay, "losses") == 0 && self.number(relay, "refused") == 0, "\(relay)")
                instances.insert(relay["worker"] as? String ?? "")
                events += self.number(relay, "events")
            }
            // Most of the time both have computed some of them, but nobody makes the router share fairly.
            #expect(events >= 7)

            // Both workers are killed; the new ones hold nothing.
            let holder = try await ask("word5").worker
            for worker in deployment.processes where SystemProcesses.command(of: worker).contains("dynamo.mocker") {
                kill(worker, SIGKILL)
            }
            try await eventually(within: .seconds(40), "new workers serve, and hold nothing") {
                guard let again = try? await ask("word5") else { return false }
                return again.worker != holder && again.hitRate < 0.5
            }
            try await eventually(within: .seconds(20), "the new ones are relayed too") {
                guard let again = try? await ask("omega") else { return false }
                return again.hitRate > 0.9
            }
            for name in ["worker-0", "worker-1"] {
                var relay: [String: Any] = [:]
                try await eventually("it is relayed again") {
                    relay = try await self.relay(deployment, name)
                    return relay["state"] as? String == "publishing"
                }
                #expect(!instances.contains(relay["worker"] as? String ?? ""), "\(relay)")
            }
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var peer: TestEnvironment.DynamoPeer
        var plane: String
        var testDescription: String { "\(self.peer) on \(self.plane)" }
    }

    @Test(arguments: [
        Case(peer: .v121, plane: "zmq"), Case(peer: .v161, plane: "nats-core"), Case(peer: .v161, plane: "zmq"),
    ])
    func `what only the engine says is what a real router believes`(_ example: Case) async throws {
        let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Engine/token_engine.py").path()
        let worker = TestEnvironment.products.appending(path: "dynamo-worker").path()
        let (model, port) = (try TestEnvironment.model(), try freePort())
        let prompt = String(repeating: "known ", count: 60)
        // The worker's own publisher has no event plane; the engine has computed a prompt that the worker has never seen.
        let manifest = """
            name: foreign
            planes: {request: tcp, events: \(example.plane)}
            infrastructure: {nats: managed}
            processes:
              frontend: {module: dynamo.frontend, args: [--router-mode, kv]}
              worker:
                role: worker
                command: [env, DYN_EVENT_PLANE=none, \(worker), --engine, mock, --model-path, \(model), --speedup, 20]
                ports: {system: auto, kv: \(port)}
                kvEvents: {engine: "tcp://127.0.0.1:{{port.kv}}", topic: kv-}
              engine:
                role: infrastructure
                command: [python3, \(script), \(port), \(model)/tokenizer.json, 16, 0, "\(prompt)"]
            """
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "foreign.yaml")
            try manifest.write(to: file, atomically: true, encoding: .utf8)
            let environment = try RealDynamoTests.environment(example.peer)
            let (_, exit) = try await Launcher.up([file.path()], environment: environment) { deployment in
                try await deployment.waitUntilReady()
                try await deployment.program.waitForOutput("are published for instance")
                let name = try await Chat.firstModel(deployment.url)
                // With each question the worker holds more of it, without saying so; only the engine's events can count.
                try await eventually("the router knows what the engine said") {
                    try await KVAnswer.complete(deployment.url, name, prompt).hitRate > 0.9
                }
                let relay = try await self.relay(deployment, "worker")
                #expect(self.number(relay, "events") == 1 && self.number(relay, "refused") == 0, "\(relay)")
                let other = String(repeating: "other ", count: 60)
                for _ in 0..<3 {
                    #expect(try await KVAnswer.complete(deployment.url, name, other).hitRate < 0.1, "nobody said it")
                }
            }
            #expect(exit == .code(0))
        }
    }

    @Test func `a worker of ours publishes an engine's events as its own`() async throws {
        let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Engine/token_engine.py").path()
        let (model, port) = (try TestEnvironment.model(), try freePort())
        let manifest = """
            name: inside
            planes: {request: tcp, events: nats-core}
            infrastructure: {nats: managed}
            processes:
              # One that routes by KV events does not serve workers that take text.
              frontend: {module: dynamo.frontend}
              worker: {builtin: worker, args: [--relay-kv-events, "tcp://127.0.0.1:\(port)", --relay-block-size, 8]}
              engine:
                role: infrastructure
                command: [python3, \(script), \(port), \(model)/tokenizer.json, 8, 0, "\(String(repeating: "a ", count: 60))"]
            """
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "inside.yaml")
            try manifest.write(to: file, atomically: true, encoding: .utf8)
            let environment = try RealDynamoTests.environment(.v121)
            _ = try await Launcher.up([file.path()], environment: environment) { deployment in
                try await deployment.waitUntilReady()
                try await deployment.program.waitForOutput(" blocks\n")
                let said = try #require(deployment.program.output.firstMatch(of: /published ([0-9]+) blocks/))
                try await eventually("a router would know the blocks") {
                    let (json, _) = try await deployment.command("kv", "--json", "--interval", "0.2")
                    let report = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
                    let ranks = report?["ranks"] as? [[String: Any]] ?? []
                    return ranks.count == 1 && ranks[0]["process"] as? String == "worker"
                        && ranks[0]["blocks"] as? Int == Int(said.1)
                }
            }
        }
    }

    @Test(arguments: [true, false])
    func `messages that are lost on purpose are had again, or everything is taken back`(
        _ replays: Bool
    ) async throws {
        let proxy = TestEnvironment.root.appending(path: "Tests/Fixtures/Engine/lossy_proxy.py").path()
        let (engine, between) = (try freePort(), try freePort())
        let manifest = { (directory: URL) in
            Self.manifest(
                """
                    ports: {kv: \(engine), replay: auto}
                    kvEvents:
                      engine: tcp://127.0.0.1:\(between)
                \(replays ? #"      replay: "tcp://127.0.0.1:{{port.replay}}""# : "      topic: \"\"")
                  proxy:
                    role: infrastructure
                    command: [python3, \(proxy), \(engine), \(between), \(directory.path())/lose]
                """
            )
        }
        try await self.withDeployment(manifest) { deployment, model, directory in
            func hitRate(_ word: String) async throws -> Double {
                try await KVAnswer.ask(deployment.url, model, word).hitRate
            }
            try await eventually("the router knows who holds a prompt") { try await hitRate("alpha") > 0.9 }
            let before = try await self.relay(deployment, "worker")
            #expect(self.number(before, "gaps") == 0 && self.number(before, "losses") == 0, "\(before)")

            let lose = directory.appending(path: "lose")
            try Data().write(to: lose)
            #expect(try await hitRate("lost") < 0.5)
            // Nobody says what is not passed on, so this shows only that nothing was: the engine holds it by now.
            try await Task.sleep(for: .milliseconds(300))
            #expect(try await hitRate("lost") < 0.5)
            try FileManager.default.removeItem(at: lose)

            // The next message shows that others were lost.
            try await eventually("the router knows the next prompt") { try await hitRate("beta") > 0.9 }
            let after = try await self.relay(deployment, "worker")
            #expect(self.number(after, "gaps") == 1, "\(after)")
            if replays {
                #expect(try await hitRate("lost") > 0.9, "it was told again")
                #expect(try await hitRate("alpha") > 0.9, "what was known is still known")
                #expect(self.number(after, "losses") == 0 && self.number(after, "replayedMessages") > 0, "\(after)")
            } else {
                #expect(try await hitRate("alpha") < 0.5, "nobody can say whether it still holds it")
                #expect(self.number(after, "losses") == 1, "\(after)")
                #expect(deployment.program.output.contains("worker: error: KV events of the engine at"))
                #expect(deployment.program.output.contains("all of its blocks were taken back"))
            }
        }
    }
}

/// What a KV router says of a request that it has steered.
struct KVAnswer {
    var worker: UInt64
    var hitRate: Double

    /// Sends a prompt of some hundred tokens.
    static func ask(_ url: String, _ model: String, _ word: String) async throws -> KVAnswer {
        let message = ["role": "user", "content": String(repeating: "\(word) ", count: 60)]
        return try await self.send("\(url)/v1/chat/completions", model, ["messages": [message]])
    }

    /// Sends a prompt as it is.
    static func complete(_ url: String, _ model: String, _ prompt: String) async throws -> KVAnswer {
        try await self.send("\(url)/v1/completions", model, ["prompt": prompt])
    }

    private static func send(_ url: String, _ model: String, _ question: [String: Any]) async throws -> KVAnswer {
        var body: [String: Any] = [
            "model": model, "max_tokens": 4, "nvext": ["extra_fields": ["worker_id", "timing"]],
        ]
        body.merge(question) { $1 }
        let json = String(decoding: try JSONSerialization.data(withJSONObject: body), as: UTF8.self)
        let reply = try await HTTPRequests.post(url, json: json)
        guard reply.status == 200 else {
            throw OutputMissing(text: "an answer", ended: false, output: "\(reply.status) \(reply.text)")
        }
        let extras = try reply.object()["nvext"] as? [String: Any]
        let worker = ((extras?["worker_id"] as? [String: Any])?["prefill_worker_id"] as? NSNumber)?.uint64Value
        let hitRate = ((extras?["timing"] as? [String: Any])?["kv_hit_rate"] as? NSNumber)?.doubleValue
        return KVAnswer(worker: worker ?? 0, hitRate: hitRate ?? -1)
    }
}
