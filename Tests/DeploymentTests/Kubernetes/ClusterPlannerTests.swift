import Foundation
import Testing

@testable import Deployment

/// What of a manifest runs in pods.
@Suite struct ClusterPlannerTests {
    static func plan(
        _ text: String,
        release: DynamoRelease? = DynamoRelease(1, 6, 1),
        generation: Int = 1,
        environment: [String: String] = [:]
    ) throws -> ClusterPlan {
        let manifest = try Manifest.load(ManifestSource(path: "chat.yaml", text: text), environment: environment)
        let options = ClusterPlanner.Options(
            release: release,
            generation: generation,
            version: "0.1.0",
            environment: environment,
            workingDirectory: "/srv/chat"
        )
        return try ClusterPlanner.plan(manifest, options)
    }

    /// The errors that a manifest is refused with.
    static func errors(_ text: String, environment: [String: String] = [:]) throws -> [String] {
        do {
            _ = try self.plan(text, environment: environment)
            return []
        } catch let errors as ManifestErrors {
            return errors.diagnostics.map(\.description)
        }
    }

    private static func process(_ name: String, of plan: ClusterPlan) throws -> ClusterProcess {
        try #require(plan.processes.first { $0.name == name }, "\(plan.processes.map(\.name))")
    }

    private static func value(_ name: String, of process: ClusterProcess) -> ClusterVariable.Value? {
        process.environment.first { $0.name == name }?.value
    }

    @Test func `every manifest of launch can run in a cluster`() throws {
        let launch = Fixtures.repository.appending(path: "launch")
        let found = FileManager.default.enumerator(at: launch, includingPropertiesForKeys: nil)
        let manifests = (found?.allObjects ?? []).compactMap { $0 as? URL }.filter { $0.pathExtension == "yaml" }
        #expect(manifests.count >= 20)
        for url in manifests {
            let text = try String(contentsOf: url, encoding: .utf8)
            // The relay keeps events in JetStream, which later releases do not.
            let release = url.lastPathComponent == "relay.yaml" ? DynamoRelease(1, 2, 1) : DynamoRelease(1, 6, 1)
            let plan = try Self.plan(text, release: release, environment: ["MODEL_PATH": "/models/tiny"])
            let local = Dictionary(grouping: plan.local.replicas) { $0.process }
            for process in plan.processes {
                let replicas = try #require(local[process.process])
                #expect(process.replicas == (process.index == nil ? replicas.count : 1), "\(url): \(process.name)")
                #expect(Set(process.ports.map(\.name)).count == process.ports.count, "\(url): \(process.ports)")
                #expect(Set(process.ports.map(\.number)).count == process.ports.count, "\(url): \(process.ports)")
            }
            #expect(plan.planes == plan.local.planes, "\(url)")
        }
    }

    private static let vllm = """
        name: chat
        model: Qwen/Qwen3-0.6B
        infrastructure: {nats: managed}
        processes:
          frontend: {module: dynamo.frontend}
          worker:
            module: dynamo.vllm
            replicas: 2
            gpus: 1
            args: [--model, "{{model}}", --kv-events, "tcp://*:{{port.kv}}", --nixl-port, "{{20096 + index}}"]
            ports: {system: "{{8081 + index}}", kv: "{{20080 + index}}"}
            env: {VLLM_NIXL_SIDE_CHANNEL_PORT: "{{20096 + index}}", HF_TOKEN: "${HF_TOKEN}"}
        """

    @Test func `replicas that differ in ports and devices only are copies`() throws {
        let worker = try Self.process("worker", of: Self.plan(Self.vllm, environment: ["HF_TOKEN": "hunter2"]))
        #expect(worker.replicas == 2)
        #expect(worker.gpus == 1)
        #expect(worker.gpuResource == "nvidia.com/gpu")
        #expect(worker.image == "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.6.1")
        #expect(worker.command == ["python3"])
        #expect(
            worker.arguments == [
                "-m", "dynamo.vllm", "--model", "Qwen/Qwen3-0.6B", "--kv-events", "tcp://*:20080", "--nixl-port",
                "20096",
            ]
        )
        #expect(Self.value("VLLM_NIXL_SIDE_CHANNEL_PORT", of: worker) == .text("20096"))
        #expect(Self.value("CUDA_VISIBLE_DEVICES", of: worker) == nil, "the device plugin decides")
        #expect(Self.value("HF_TOKEN", of: worker) == .secret(.init(secret: "chat-secrets", key: "HF_TOKEN")))
        #expect(Self.value("DYN_TCP_RPC_PORT", of: worker) == .text("9345"))
        let numbers = Dictionary(uniqueKeysWithValues: worker.ports.map { ($0.name, $0.number) })
        #expect(numbers == ["system": 8081, "kv": 20080, "request": 9345, "response": 9346])
    }

    @Test func `the Secrets that must be there are named, with what makes them`() throws {
        let plan = try Self.plan(Self.vllm, environment: ["HF_TOKEN": "hunter2"])
        #expect(
            plan.secretNotes == [
                "the Secret 'chat-secrets' must be there, with HF_TOKEN: kubectl create secret generic chat-secrets "
                    + "--from-literal=HF_TOKEN=..."
            ]
        )
    }

    @Test func `replicas that differ in more are processes of their own`() throws {
        let plan = try Self.plan(
            """
            name: chat
            model: m
            processes:
              frontend: {module: dynamo.frontend}
              worker:
                module: dynamo.vllm
                replicas: 2
                args: [--data-parallel-rank, "{{index}}"]
            """
        )
        #expect(plan.processes.map(\.name) == ["frontend", "worker-0", "worker-1"])
        #expect(plan.processes.map(\.replicas) == [1, 1, 1])
        #expect(plan.processes.map(\.index) == [nil, 0, 1])
        #expect(try Self.process("worker-1", of: plan).arguments.suffix(2) == ["--data-parallel-rank", "1"])
        #expect(try Self.process("worker-1", of: plan).gpus == 1, "an engine that is told nothing needs one")
    }

    @Test(arguments: [("tcp", "DYN_TCP_RPC_PORT"), ("http", "DYN_HTTP_RPC_PORT"), ("nats", nil)])
    func `request ports are fixed`(_ plane: String, _ variable: String?) throws {
        let text = """
            name: chat
            model: echo
            planes: \(plane)
            infrastructure: {nats: managed}
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker, args: [--engine, echo]}
            """
        let plan = try Self.plan(text, release: nil)
        let (frontend, worker) = (try Self.process("frontend", of: plan), try Self.process("worker", of: plan))
        for name in ["DYN_TCP_RPC_PORT", "DYN_HTTP_RPC_PORT"] {
            #expect(Self.value(name, of: worker) == (name == variable ? .text("9345") : nil))
            #expect(Self.value(name, of: frontend) == nil)
        }
        #expect(worker.ports.contains { $0.purpose == .request } == (variable != nil))
        #expect(frontend.ports.contains { $0.purpose == .response && $0.number == 9346 })
        let shared = Dictionary(uniqueKeysWithValues: plan.shared.map { ($0.name, $0.value) })
        #expect(shared["DYN_REQUEST_PLANE"] == .text(plane))
        #expect(shared["NATS_SERVER"] == (plane == "nats" ? .text("nats://chat-nats:4222") : nil))
        #expect((plan.nats != nil) == (plane == "nats"))
        // Ours cannot use the API server.
        #expect(shared["DYN_DISCOVERY_BACKEND"] == .text("etcd"))
        #expect(shared["ETCD_ENDPOINTS"] == .text("http://chat-etcd:2379"))
        #expect(frontend.image == "dynamo-launch:0.1.0")
        #expect(frontend.command == ["/usr/local/bin/dynamo-frontend"])
    }

    @Test func `the next generation has names and a namespace of its own`() throws {
        let plan = try Self.plan(Self.vllm, generation: 2, environment: ["HF_TOKEN": "hunter2"])
        #expect(plan.name == "g2-chat")
        #expect(plan.namespace == "g2-chat")
        #expect(plan.deployment == "chat")
        #expect(plan.shared.contains { $0.name == "DYN_NAMESPACE" && $0.value == .text("g2-chat") })
    }

    @Test func `what the discovery of this machine implies stays as it is`() throws {
        // With the API server 1.2 would publish events on NATS; with files it is ZeroMQ.
        let plan = try Self.plan(
            Self.vllm,
            release: DynamoRelease(1, 2, 1),
            environment: ["HF_TOKEN": "hunter2"]
        )
        #expect(plan.discovery == .kubernetes)
        #expect(plan.local.planes.events == .zmq)
        #expect(plan.shared.contains { $0.name == "DYN_EVENT_PLANE" && $0.value == .text("zmq") })
        #expect(plan.nats == nil)
    }

    @Test func `the release must be known, and an unknown one is said`() throws {
        do {
            _ = try Self.plan(Self.vllm, release: nil, environment: ["HF_TOKEN": "hunter2"])
            Issue.record("planned without a release")
        } catch let errors as ManifestErrors {
            #expect(errors.diagnostics.count == 1, "\(errors)")
            let text = "\(errors.diagnostics.first.map(\.description) ?? "")"
            #expect(text.contains("which release of Dynamo the images have is not known"), "\(text)")
            #expect(text.contains("--dynamo-release") && text.contains("'python3'"), "\(text)")
        }
        let newer = try Self.plan(Self.vllm, release: DynamoRelease(9, 9, 0), environment: ["HF_TOKEN": "hunter2"])
        #expect(newer.notes.contains { $0.contains("9.9.0 is newer than any release known here") }, "\(newer.notes)")
    }

    @Test func `what cannot be in a cluster is refused with its place`() throws {
        let long = String(repeating: "a", count: 50)
        let lines = try Self.errors(
            """
            name: chat
            model: m
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker}
              engine: {command: [./engine, "--key=${API_KEY}"], role: worker, kubernetes: {image: engine}}
              \(long): {command: [engine], role: infrastructure, kubernetes: {image: engine}}
            """,
            environment: ["API_KEY": "hunter22"]
        )
        #expect(lines.count == 3, "\(lines)")
        #expect(lines.allSatisfy { $0.hasPrefix("chat.yaml:") })
        #expect(lines.contains { $0.contains("6:22: error: the program './engine'") }, "\(lines)")
        #expect(lines.contains { $0.contains("6:32: error: word 2 of 'command' of process 'engine'") }, "\(lines)")
        #expect(lines.contains { $0.contains("7:3: error: the objects of process '\(long)'") }, "\(lines)")
        #expect(!lines.joined().contains("hunter22"))
    }

    @Test func `a password in the URL of NATS is refused`() throws {
        let lines = try Self.errors(
            """
            name: chat
            model: m
            planes: nats
            infrastructure: {nats: "nats://ai:hunter22@nats.example:4222"}
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker}
            """
        )
        #expect(lines.count == 1)
        #expect(lines.first?.contains("chat.yaml:4:") ?? false, "\(lines)")
        #expect(!lines.joined().contains("hunter22"), "\(lines)")
    }
}
