import Deployment
import Foundation
import TestSupport
import Testing

/// The NetworkPolicies as rules of nftables between network namespaces in which the pods' processes run: our own objects' pods, and those
/// that Dynamo's operator would make, with its labels, ports and variables.
@Suite("Network policies", .serialized, .timeLimit(.minutes(3)))
struct NetworkPolicyTests {
    /// A deployment whose pods are run.
    struct Place: Sendable, CustomTestStringConvertible {
        /// nil: our own processes.
        var release: TestEnvironment.DynamoPeer?
        var plane: String
        /// Whether our mock engine publishes KV events, and the frontend routes by them.
        var hasEvents = false
        /// Whether a DynamoGraphDeployment has the pods.
        var isGraph = false

        var testDescription: String {
            "\(self.release.map { "\($0)" } ?? "ours") on \(self.plane)\(self.hasEvents ? " with zmq" : "")\(self.isGraph ? " of the operator" : "")"
        }

        func manifest() throws -> String {
            let head =
                "name: chat\nplanes: {request: \(self.plane), events: \(self.hasEvents ? "zmq" : "none")}\ninfrastructure: {nats: managed}\n"
            guard self.release != nil else {
                return head + """
                    model: echo
                    processes:
                      frontend: {builtin: frontend, args: [--router-mode, \(self.hasEvents ? "kv" : "round-robin")]}
                      worker:
                        builtin: worker
                        args: [--engine, \(self.hasEvents ? "mock" : "echo"), --model-name, echo]
                        ports: {system: 9090}
                    """
            }
            let model = try TestEnvironment.model()
            return head + """
                model: \(model)
                kubernetes: {discovery: etcd}
                processes:
                  frontend: {module: dynamo.frontend}
                  worker: {module: dynamo.mocker, args: [--model-path, \(model)], ports: {system: 9090}}
                """
        }

        /// What may be opened, and nothing else.
        var open: Set<String> {
            var open: Set = [
                // Clients, and whoever reads metrics, of the namespace that may.
                "client -> chat-frontend-0:8000", "client -> chat-worker-0:9090",
                // Answers, whatever the request plane.
                "chat-worker-0 -> chat-frontend-0:9346",
                "chat-frontend-0 -> chat-etcd-0:2379", "chat-worker-0 -> chat-etcd-0:2379",
            ]
            if self.plane == "nats" {
                open.formUnion(["chat-frontend-0 -> chat-nats-0:4222", "chat-worker-0 -> chat-nats-0:4222"])
            } else {
                open.insert("chat-frontend-0 -> chat-worker-0:9345")
            }
            // Subscribers connect to publishers, which take any port.
            if self.hasEvents { open.insert("chat-frontend-0 -> chat-worker-0:any") }
            // From 1.6 on a frontend gets the model's files from the worker.
            if self.release == .v161 { open.insert("chat-frontend-0 -> chat-worker-0:9090") }
            // Who belongs to nothing is not held back from others who do not.
            for (from, to) in [
                ("stranger", "outside"), ("client", "outside"), ("client", "stranger"), ("outside", "stranger"),
            ] {
                open.insert("\(from) -> \(to):\(to == "outside" ? 443 : 9999)")
            }
            return open
        }
    }

    struct Result: Decodable {
        var answer: String
        var open: [String]
        var closed: Int
        var listening: [String: [Int]]
        var probes: [String: String]
        var control: Bool
        var removed: [String: Bool]
    }

    private static func plan(_ place: Place) throws -> ClusterPlan {
        let text = try place.manifest()
        let environment: [String: String] = [:]
        let manifest = try Manifest.load(
            ManifestSource(path: "chat.yaml", bytes: Array(text.utf8)),
            environment: environment
        )
        let release: DynamoRelease? =
            switch place.release {
            case .v121: DynamoRelease(1, 2, 1)
            case .v161: DynamoRelease(1, 6, 1)
            case nil: nil
            }
        let options = ClusterPlanner.Options(release: release, version: "0.1.0", environment: environment)
        var plan = try ClusterPlanner.plan(manifest, options)
        plan.settings.clients = ["apps"]
        return plan
    }

    /// Runs the pods, and says what could be done.
    private static func run(
        _ place: Place,
        change: (inout [KubernetesObject]) throws -> Void = { _ in }
    ) async throws -> Result {
        let plan = try self.plan(place)
        var objects = place.isGraph ? try OperatorObjects.objects(of: plan) : PlainObjects.objects(of: plan)
        try change(&objects)
        let python = try TestEnvironment.python(place.release ?? .v121)
        return try await withTemporaryDirectory { directory in
            let pods = directory.appending(path: "pods")
            try FileManager.default.createDirectory(at: pods, withIntermediateDirectories: true)
            let rendered = directory.appending(path: "objects.yaml")
            try Data(YAMLValue.documents(objects.map(\.yaml)).utf8).write(to: rendered)
            let result = directory.appending(path: "result.json")
            let configuration = directory.appending(path: "configuration.json")
            let programs = [
                "dynamo-frontend": TestEnvironment.products.appending(path: "dynamo-frontend").path,
                "dynamo-worker": TestEnvironment.products.appending(path: "dynamo-worker").path,
                "python3": python, "etcd": "/usr/bin/etcd", "nats-server": try NATSServerFixture.program(),
            ]
            let body: [String: Any] = [
                "model": plan.model ?? "", "stream": true, "max_tokens": 16,
                "messages": [["role": "user", "content": "one two three"]],
            ]
            let settings: [String: Any] = [
                "objects": rendered.path, "namespace": "serving", "programs": programs, "folder": pods.path,
                "images": ["PATH": "/usr/bin:/bin", "HOME": pods.path, "HF_HUB_OFFLINE": "1", "DYN_LOG": "info"],
                "service": [
                    "name": "chat", "from": "client", "port": 8000, "path": "/v1/chat/completions", "body": body,
                    "text": "data: [DONE]",
                ],
                "strangers": [
                    // Of the same namespace, and of others; one has the labels of a pod, but is not in its namespace.
                    "stranger": ["namespace": "serving", "ports": [9999]],
                    "client": ["namespace": "apps"],
                    "double": ["namespace": "elsewhere", "labels": Self.labels(of: plan, place)],
                    "outside": ["namespace": "elsewhere", "ports": [443]],
                ],
                "removals": ["clients", "requests", "responses"],
                "result": result.path,
            ]
            try JSONSerialization.data(withJSONObject: settings).write(to: configuration)
            let fixture = TestEnvironment.root.appending(path: "Tests/Fixtures/Kubernetes/policies.py").path
            let (_, exit) = try await withProgram(
                "/usr/bin/unshare",
                [
                    "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", python, fixture,
                    configuration.path,
                ]
            ) { program in
                try await program.waitForExit(within: .seconds(120))
                try #require(FileManager.default.fileExists(atPath: result.path), "\(program.output)")
            }
            #expect(exit == .code(0))
            return try JSONDecoder().decode(Result.self, from: Data(contentsOf: result))
        }
    }

    /// The labels by which a worker's pod is known.
    private static func labels(of plan: ClusterPlan, _ place: Place) -> [String: String] {
        if place.isGraph {
            return [
                "nvidia.com/dynamo-graph-deployment-name": plan.name, "nvidia.com/dynamo-component": "worker",
                "nvidia.com/dynamo-component-type": "worker",
            ]
        }
        return [
            "app.kubernetes.io/instance": plan.deployment, "app.kubernetes.io/component": "worker",
            "dynamo-launch/generation": "1", "dynamo-launch/role": "worker",
        ]
    }

    @Test(
        "a request is answered through the policies, nothing else flows, and without a rule it is not answered",
        arguments: [
            Place(plane: "tcp"), Place(plane: "tcp", hasEvents: true), Place(plane: "http"), Place(plane: "nats"),
            Place(plane: "tcp", hasEvents: true, isGraph: true),
            Place(release: .v121, plane: "http"),
            Place(release: .v121, plane: "nats"), Place(release: .v161, plane: "tcp"),
        ]
    )
    func exactly(_ place: Place) async throws {
        let result = try await Self.run(place)
        // Generated, though some tokens of a mock engine are no text.
        #expect(
            result.answer.contains(#""finish_reason":"length""#) || result.answer.contains(#""finish_reason":"stop""#)
        )
        let allowed = place.open.union(["double -> outside:443", "double -> stranger:9999"])
        #expect(Set(result.open).subtracting(allowed).isEmpty, "open, and need not be")
        #expect(allowed.subtracting(result.open).isEmpty, "closed, and should be open; \(result.listening)")
        #expect(result.closed > allowed.count)
        #expect(result.probes.filter { !$0.value.isEmpty }.isEmpty)
        #expect(result.probes.count >= 6)
        // Either side alone keeps it closed.
        var rules: Set = [
            "chat-frontend ingress clients", "chat-worker egress responses", "chat-frontend ingress responses",
        ]
        if place.plane != "nats" { rules.formUnion(["chat-frontend egress requests", "chat-worker ingress requests"]) }
        #expect(result.control)
        #expect(Set(result.removed.keys) == rules)
        #expect(result.removed.values.allSatisfy { !$0 }, "answered without: \(result.removed.filter(\.value))")
    }
}
