import OrderedCollections
import Testing

@testable import Deployment

/// What the NetworkPolicies admit.
@Suite struct PlainNetworkPolicyTests {
    /// `FROM -> TO:PORTS` for each connection of a plan.
    private static func connections(of plan: ClusterPlan) -> Set<String> {
        Set(
            PlaneConnections(plan).all.map { connection in
                let ports = connection.ports.map { ports in
                    "\(ports.first)\(ports.last.map { "-\($0)" } ?? "")\(ports.isUDP ? "/udp" : "")"
                }
                return "\(self.name(connection.from)) -> \(self.name(connection.to)):\(ports.joined(separator: ","))"
            }
        )
    }

    private static func name(_ party: Connection.Party) -> String {
        switch party {
        case .processes(let names): names.joined(separator: "+")
        case .server(let name): name
        case .namespaces(let names, _): names.isEmpty ? "anybody" : names.joined(separator: "+")
        case .addresses(let block): block ?? "anywhere"
        case .names: "DNS"
        }
    }

    private static func connections(
        _ text: String,
        release: DynamoRelease? = DynamoRelease(1, 2, 1),
        _ change: (inout ClusterPlan) -> Void = { _ in }
    ) throws -> Set<String> {
        var plan = try PlainManifests.plan(text, release: release)
        change(&plan)
        return self.connections(of: plan)
    }

    private static let always: Set = [
        "anybody -> frontend:8000", "anybody -> worker:9090", "worker -> frontend:9346",
        "frontend+worker -> etcd:2379", "frontend+worker -> DNS:53/udp,53",
    ]

    private static func ours(_ plane: String) -> String {
        """
        name: chat
        model: echo
        planes: {request: \(plane), events: none}
        infrastructure: {nats: managed}
        processes:
          frontend: {builtin: frontend}
          worker: {builtin: worker, args: [--engine, echo], ports: {system: 9090}}
        """
    }

    @Test(arguments: [
        ("tcp", "frontend -> worker:9345"), ("http", "frontend -> worker:9345"),
        ("nats", "frontend+worker -> nats:4222"),
    ])
    func `a plane admits its own connections only`(_ plane: String, _ connection: String) throws {
        #expect(try Self.connections(Self.ours(plane)) == Self.always.union([connection]))
    }

    @Test func `the hub is where the manifest says, and behind its proxy`() throws {
        let manifest = """
            name: chat
            model: Qwen/Qwen3-0.6B
            env: {HF_ENDPOINT: "http://hub.example:8080", HTTPS_PROXY: "http://proxy.example:3128"}
            processes:
              frontend: {module: dynamo.frontend}
              worker: {module: dynamo.vllm, args: [--model, "{{model}}"], env: {HF_ENDPOINT: "https://hub.example"}}
            """
        let connections = try Self.connections(manifest, release: DynamoRelease(1, 6, 1))
        #expect(connections.contains("frontend -> anywhere:8080,3128"), "\(connections)")
        #expect(connections.contains("worker -> anywhere:443,3128"), "\(connections)")
    }

    @Test func `Dynamo's processes need the API server, the hub, each other's blocks and events`() throws {
        let connections = try Self.connections(PlainManifests.disaggregated, release: DynamoRelease(1, 6, 1))
        #expect(
            connections == [
                "anybody -> frontend:8000", "anybody -> decode:9090", "anybody -> prefill:9090",
                "frontend -> decode+prefill:9345", "decode+prefill -> frontend:9346",
                // From 1.6 on a frontend gets a model's files from a worker.
                "frontend -> decode+prefill:9090",
                // Two frontends tell each other what they have sent where.
                "frontend -> decode+prefill+frontend:32768-60999",
                "decode+prefill -> decode:5600,32768-60999", "decode+prefill -> prefill:20097,32768-60999",
                "frontend+decode+prefill -> anywhere:443,6443", "frontend+decode+prefill -> anywhere:443",
                "frontend+decode+prefill -> DNS:53/udp,53",
            ]
        )
        let before = try Self.connections(PlainManifests.disaggregated, release: DynamoRelease(1, 2, 1))
        #expect(connections.subtracting(before) == ["frontend -> decode+prefill:9090"])
    }

    @Test func `a model in a folder, or a hub that is not asked, needs no way out`() throws {
        let folder = PlainManifests.disaggregated.replacing("Qwen/Qwen3-0.6B", with: "/models/qwen")
        #expect(try !Self.connections(folder).contains { $0.hasSuffix("anywhere:443") })
        let offline = PlainManifests.disaggregated.replacing("processes:", with: "env: {HF_HUB_OFFLINE: 1}\nprocesses:")
        #expect(try !Self.connections(offline).contains { $0.hasSuffix("anywhere:443") })
    }

    @Test func `a router is asked by frontends and asks workers`() throws {
        let text = Self.ours("tcp").replacing("events: none", with: "events: zmq")
            .replacing("  worker:", with: "  router: {builtin: router}\n  worker:")
        let connections = try Self.connections(text)
        #expect(connections.contains("frontend+router -> router+worker:9345"))
        #expect(connections.contains("router+worker -> frontend+router:9346"))
    }

    @Test func `servers somewhere else are reached by address or only by port`() throws {
        let connections = try Self.connections(Self.ours("nats")) { plan in
            plan.nats = .init(urls: ["nats://nats.example:14222"], isManaged: false, image: "")
            plan.discovery = .etcd(.init(urls: ["http://10.1.2.3:2379"], isManaged: false, image: ""))
        }
        #expect(connections.contains("frontend+worker -> anywhere:14222"))
        #expect(connections.contains("frontend+worker -> 10.1.2.3/32:2379"))
        #expect(!connections.contains { $0.hasSuffix("nats:4222") || $0.hasSuffix("etcd:2379") })
    }

    @Test func `the API server is where the manifest says`() throws {
        let connections = try Self.connections(PlainManifests.disaggregated) { plan in
            plan.settings.apiServer.ports = [16443]
            plan.settings.apiServer.addresses = ["10.0.0.1/32", "fd00::1/128"]
        }
        let ports = connections.filter { $0.hasSuffix(":16443") }
        #expect(
            ports == ["frontend+decode+prefill -> 10.0.0.1/32:16443", "frontend+decode+prefill -> fd00::1/128:16443"]
        )
        #expect(!connections.contains { $0.hasSuffix(":443,6443") })
    }

    @Test(arguments: [
        ("args: [--cache, redis://chat-cache:6379/0]", true), ("env: {CACHE: chat-cache.prod.svc}", true),
        ("args: [--cache, old-chat-cache:6379]", false), ("env: {CACHE: \"chat-cache-2,x.chat-cache\"}", false),
        ("args: []", false),
    ])
    func `who is told a server's name connects to it without waiting for it`(_ said: String, _ isUser: Bool) throws {
        // It waits for workers itself, so nobody waits for it.
        let text =
            Self.ours("tcp").replacing("ports: {system: 9090}}", with: "ports: {system: 9090}, ENV}")
            + "\n  cache: {command: [redis], role: infrastructure, dependsOn: [worker], ports: {cache: 6379}, kubernetes: {image: redis}}\n"
        let worker = said.replacing("args: [", with: "args: [--engine, echo, ").replacing(", ]", with: "]")
        let manifest =
            said.hasPrefix("args")
            ? text.replacing(", ENV}", with: "}").replacing("args: [--engine, echo]", with: worker)
            : text.replacing("ENV", with: said)
        let plan = try PlainManifests.plan(manifest)
        #expect(Self.connections(of: plan).contains("worker -> cache:6379") == isUser)
        #expect(plan.policyNotes.count == (isUser ? 0 : 1), "\(plan.policyNotes)")
    }

    @Test func `telemetry goes where it is sent, unless that is the pod itself`() throws {
        let connections = try Self.connections(Self.ours("tcp")) { plan in
            PlainManifests.process("worker", of: &plan) {
                $0.environment.append(
                    .init(name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value: .text("http://otel:4318/v1/traces"))
                )
            }
            PlainManifests.process("frontend", of: &plan) {
                $0.environment.append(.init(name: "OTEL_EXPORTER_OTLP_ENDPOINT", value: .text("localhost:4317")))
            }
        }
        #expect(connections.subtracting(Self.always) == ["frontend -> worker:9345", "worker -> anywhere:4318"])
    }

    @Test func `answers over QUIC are datagrams`() throws {
        let connections = try Self.connections(Self.ours("tcp")) { $0.planes.response = .quic }
        #expect(connections.contains("worker -> frontend:9346/udp"))
    }

    @Test func `clients are those of the namespaces that were named, and the gateway`() throws {
        let objects = try PlainManifests.objects(Self.ours("tcp")) { plan in
            plan.settings.clients = ["apps"]
            plan.settings.route = .init(gateway: "public", gatewayNamespace: "gateways")
        }
        let rule = try objects.one("NetworkPolicy", "chat-frontend")["spec"]["ingress"][0]
        #expect(
            rule["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"] == ["apps", "gateways"]
        )
        #expect(rule["from"].items.count == 1)
        #expect(rule["ports"] == [["protocol": "TCP", "port": 8000]])
    }

    @Test func `what several rules are for is said once`() throws {
        let plan = try ClusterPlannerTests.plan(
            """
            name: chat
            model: m
            processes:
              frontend: {module: dynamo.frontend}
              one: {module: dynamo.vllm, ports: {system: 8081}}
              two: {module: dynamo.vllm, ports: {system: 8082}}
            """
        )
        let policy = PlainObjects.objects(of: plan).first { $0.kind == "NetworkPolicy" && $0.name == "chat-frontend" }
        let egress = policy?.yaml.at("metadata", "annotations", "dynamo-launch/egress")?.text ?? ""
        #expect(egress.contains("model files") && !egress.contains("model files, model files"), "\(egress)")
    }

    @Test func `a gateway beside the deployment is a client`() throws {
        let objects = try PlainManifests.objects(Self.ours("tcp")) { plan in
            plan.settings.clients = ["apps"]
            plan.settings.route = .init(gateway: "public")
        }
        let rule = try objects.one("NetworkPolicy", "chat-frontend")["spec"]["ingress"][0]
        #expect(rule["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"] == ["apps"])
        #expect(rule["from"].items.dropFirst().map(\.value) == [["podSelector": [:]]])
    }

    @Test func `everything of the generation is closed, and each process opens what is its own`() throws {
        let objects = try PlainManifests.objects(Self.ours("tcp"))
        let closed = try objects.one("NetworkPolicy", "chat-closed")["spec"]
        #expect(closed["policyTypes"] == ["Ingress", "Egress"])
        #expect(closed["ingress"] == [])
        #expect(closed["egress"] == [])
        let worker = try objects.one("NetworkPolicy", "chat-worker")
        #expect(worker["metadata"]["annotations"]["dynamo-launch/ingress"] == "metrics, requests")
        #expect(worker["metadata"]["annotations"]["dynamo-launch/egress"] == "responses, etcd, DNS")
        #expect(worker["spec"]["ingress"].items.count == 2)
        let request = worker["spec"]["ingress"][1]
        #expect(request["ports"] == [["protocol": "TCP", "port": 9345]])
        let peer = request["from"][0]["podSelector"]
        #expect(peer["matchLabels"]["dynamo-launch/generation"] == "1")
        #expect(peer["matchExpressions"][0]["values"] == ["frontend"])
        // Generations share the servers: whoever takes part in the planes may come.
        let etcd = try objects.one("NetworkPolicy", "chat-etcd")["spec"]
        #expect(etcd["egress"] == [])
        let from = etcd["ingress"][0]["from"][0]["podSelector"]
        #expect(from["matchLabels"] == ["app.kubernetes.io/instance": "chat"])
        #expect(from["matchExpressions"][0]["values"] == ["frontend", "router", "worker"])
    }

    @Test func `what may be opened may be accepted, and the reverse`() throws {
        for text in [PlainManifests.disaggregated, PlainManifests.embedded, Self.ours("http")] {
            let plan = try PlainManifests.plan(text)
            let processes = Set(plan.processes.map(\.name))
            for connection in PlaneConnections(plan).all {
                for party in [connection.from, connection.to] {
                    if case .processes(let names) = party {
                        #expect(!names.isEmpty)
                        #expect(processes.isSuperset(of: names))
                    }
                }
                #expect(!connection.ports.isEmpty)
            }
        }
    }

    @Test func `without policies there are none`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded) { $0.settings.networkPolicy = false }
        #expect(objects.names("NetworkPolicy").isEmpty)
    }
}
