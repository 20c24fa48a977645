import OrderedCollections
import Testing

@testable import Deployment

@Suite
struct OperatorObjectsTests {
    static func graph(
        _ text: String,
        release: DynamoRelease? = DynamoRelease(1, 6, 1),
        generation: Int = 1
    ) throws
        -> YAMLValue
    {
        let plan = try ClusterCase(text, release: release, generation: generation).plan()
        let objects = try OperatorObjects.objects(of: plan)
        return try #require(objects.first { $0.kind == "DynamoGraphDeployment" }).yaml
    }

    static let disaggregated = """
        name: chat
        model: Qwen/Qwen3-0.6B
        planes: nats
        infrastructure: {nats: "nats://nats.example:4222"}
        env: {HF_TOKEN: "${HF_TOKEN:-none}"}
        processes:
          frontend: {module: dynamo.frontend, args: [--router-mode, kv]}
          decode:
            module: dynamo.vllm
            replicas: 2
            gpus: 1
            args: [--model, "{{model}}", --disaggregation-mode, decode]
            timing: {startupTimeout: 20m, steadyInterval: 7s, failureThreshold: 4}
            stop: {grace: 45s}
          prefill:
            module: dynamo.vllm
            gpus: 2
            args: [--model, "{{model}}", --disaggregation-mode=prefill, --kv-transfer-config, "{}"]
        """

    @Test func componentsAreWhatTheOperatorExpects() throws {
        let graph = try Self.graph(Self.disaggregated)
        #expect(graph.at("apiVersion") == "nvidia.com/v1beta1")
        #expect(graph.at("metadata", "name") == "chat")
        #expect(graph.at("spec", "backendFramework") == "vllm")
        let components = try #require(graph.at("spec", "components")).items
        #expect(Set(components.compactMap { $0.at("name")?.text }) == ["frontend", "decode", "prefill"])
        #expect(components.allSatisfy { $0.at("name") == $0.at("type") })
        let decode = try #require(components.first { $0.at("name") == "decode" })
        #expect(decode.at("replicas") == 2)
        #expect(decode.at("sharedMemorySize") == "8Gi")
        #expect(decode.at("runtimeVersionOverride") == nil, "the tag of the image says it")
        let container = try #require(decode.at("podTemplate", "spec", "containers", "0"))
        #expect(container.at("name") == "main")
        #expect(container.at("image") == "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.6.1")
        #expect(container.at("command") == ["python3"])
        #expect(container.at("args", "1") == "dynamo.vllm")
        #expect(container.at("resources", "limits", "nvidia.com/gpu") == "1")
        #expect(container.at("startupProbe", "httpGet", "port") == "system")
        #expect(container.at("readinessProbe", "httpGet", "path") == "/health")
        #expect(container.at("livenessProbe", "failureThreshold") == 4)
        #expect(container.at("livenessProbe", "periodSeconds") == 7)
        let token = container.at("env")?.variableTexts["HF_TOKEN"] ?? ""
        #expect(token.contains("secretKeyRef") && token.contains("chat-secrets"))
        let frontend = try #require(components.first { $0.at("name") == "frontend" })
        #expect(frontend.at("sharedMemorySize") == "0")
        #expect(frontend.at("podTemplate", "spec", "containers", "0", "startupProbe", "httpGet", "port") == "http")
    }

    @Test func theOperatorsOwnVariablesAreLeftToIt() throws {
        let graph = try Self.graph(Self.disaggregated)
        let shared = try #require(graph.at("spec", "env")).variableTexts
        #expect(shared["DYN_REQUEST_PLANE"] == "nats")
        #expect(shared["DYN_EVENT_PLANE"] != nil)
        #expect(shared["NATS_SERVER"] == "nats://nats.example:4222")
        #expect(shared["DYN_DISCOVERY_BACKEND"] == "kubernetes")
        #expect(shared["DYN_NAMESPACE"] == nil)
        for component in try #require(graph.at("spec", "components")).items {
            let container = try #require(component.at("podTemplate", "spec", "containers", "0"))
            let variables = container.at("env")?.variableTexts ?? [:]
            for name in ["DYN_NAMESPACE", "DYN_HTTP_PORT", "DYN_SYSTEM_PORT", "DYN_NAMESPACE_PREFIX", "POD_NAME"] {
                #expect(variables[name] == nil, "\(component.at("name")?.text ?? ""): \(name)")
            }
            // Any list would take the place of the operator's, to which its probes lead.
            #expect(container.at("ports") == nil)
        }
    }

    @Test func operatorsBefore12GetTheOldVersion() throws {
        let graph = try Self.graph(Self.disaggregated, release: DynamoRelease(1, 1, 1))
        #expect(graph.at("apiVersion") == "nvidia.com/v1alpha1")
        #expect(graph.at("spec", "components") == nil)
        #expect(graph.at("spec", "envs")?.variableTexts["DYN_REQUEST_PLANE"] == "nats")
        let prefill = try #require(graph.at("spec", "services", "prefill"))
        #expect(prefill.at("componentType") == "worker")
        #expect(prefill.at("subComponentType") == "prefill")
        #expect(prefill.at("resources", "limits", "gpu") == "2")
        #expect(prefill.at("sharedMemory", "size") == "8Gi")
        #expect(prefill.at("extraPodSpec", "mainContainer", "name") == "main")
        #expect(prefill.at("extraPodSpec", "mainContainer", "args", "1") == "dynamo.vllm")
        #expect(prefill.at("livenessProbe", "httpGet", "path") == "/live")
        #expect(graph.at("spec", "services", "frontend", "sharedMemory") == ["disabled": true])
    }

    @Test func twinsHaveNamesThatDoNotBeginLikeEachOther() throws {
        let first = try #require(try Self.graph(Self.disaggregated).at("metadata", "name")?.text)
        let second = try #require(try Self.graph(Self.disaggregated, generation: 2).at("metadata", "name")?.text)
        #expect(second == "g2-chat")
        #expect(!second.hasPrefix(first) && !first.hasPrefix(second))
    }

    @Test func clientsReachTheFrontendsOfOneGraph() throws {
        let plan = try ClusterCase(Self.disaggregated, generation: 2).plan()
        let service = OperatorObjects.service(of: plan).yaml
        #expect(service.at("metadata", "name") == "chat")
        #expect(service.at("spec", "selector", "nvidia.com/dynamo-graph-deployment-name") == "g2-chat")
        #expect(service.at("spec", "selector", "nvidia.com/dynamo-component-type") == "frontend")
        #expect(service.at("spec", "ports", "0", "targetPort") == "http")
    }

    @Test func ourProcessesMeetInEtcdAndSayTheirVersion() throws {
        let graph = try Self.graph(
            """
            name: ours
            model: echo
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker, args: [--engine, echo, --model-name, echo]}
            """,
            release: nil
        )
        #expect(graph.at("metadata", "annotations", "nvidia.com/dynamo-discovery-backend") == "etcd")
        #expect(graph.at("spec", "env")?.variableTexts["DYN_DISCOVERY_BACKEND"] == "etcd")
        #expect(graph.at("spec", "env")?.variableTexts["ETCD_ENDPOINTS"] == "http://ours-etcd:2379")
        #expect(graph.at("spec", "backendFramework") == nil)
        let worker = try #require(graph.at("spec", "components")?.items.first { $0.at("name") == "worker" })
        #expect(worker.at("type") == "worker")
        #expect(worker.at("runtimeVersionOverride") == "1.6.1")
        #expect(worker.at("podTemplate", "spec", "containers", "0", "command", "0") == "/usr/local/bin/dynamo-worker")
    }

    @Test func aRouterFindsTheWorkersOfTheOperatorsNamespace() throws {
        let graph = try Self.graph(
            """
            name: chat
            model: m
            processes:
              frontend: {module: dynamo.frontend, args: [--namespace, chat]}
              router: {module: dynamo.router, args: [--endpoint, "{{namespace}}.backend.generate", --block-size, 16]}
              worker: {module: dynamo.vllm, args: [--model, m, --namespace=chat]}
            """
        )
        let components = try #require(graph.at("spec", "components")).items
        func container(_ name: String) throws -> YAMLValue {
            try #require(components.first { $0.at("name")?.text == name }?.at("podTemplate", "spec", "containers", "0"))
        }
        #expect(components.first { $0.at("name") == "router" }?.at("type") == nil)
        #expect(try container("router").at("args")?.items.contains("$(DYN_NAMESPACE).backend.generate") == true)
        #expect(try container("worker").at("args")?.items.suffix(2) == ["--namespace", "$(DYN_NAMESPACE)"])
        #expect(try container("worker").at("env")?.variableTexts["DYN_NAMESPACE_WORKER_SUFFIX"] == "")
        #expect(try container("frontend").at("args")?.items == ["-m", "dynamo.frontend"])
    }

    @Test func imagesWithoutAVersionSayIt() throws {
        for (image, version) in [
            ("registry:5000/dynamo", "1.6.1"), ("a/b:latest", "1.6.1"), ("a/b:1.6.1", nil),
            ("a/b:1.6.1@sha256:\(String(repeating: "0", count: 64))", nil), ("a/b:1.5.0", "1.6.1"),
        ] {
            var plan = try ClusterCase(Self.disaggregated).plan()
            plan.processes[0].image = image
            let component = OperatorComponent(process: plan.processes[0], plan: plan)
            #expect(component.runtimeVersion == version, "\(image)")
        }
    }

    @Test func whatTheResourceCannotHoldIsRefusedWithItsPlace() throws {
        var text = "name: many\nmodel: m\nprocesses:\n  frontend: {module: dynamo.frontend}\n"
        for index in 1...25 { text += "  w\(index): {module: dynamo.mocker, args: [--model-path, m]}\n" }
        var error = #expect(throws: ManifestErrors.self) { try Self.graph(text) }
        #expect(error?.description.contains("test.yaml:29:") == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("at most 25") == true)
        error = #expect(throws: ManifestErrors.self) {
            try Self.graph(
                """
                name: a-name-of-thirty-characters-xx
                model: m
                processes:
                  frontend: {module: dynamo.frontend}
                  quite-a-long-name: {module: dynamo.mocker, args: [--model-path, m]}
                """
            )
        }
        #expect(error?.description.contains("test.yaml:5:3") == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("47 characters") == true)
    }

    // MARK: What is beside the graph

    @Test(arguments: [DynamoRelease(1, 1, 1), DynamoRelease(1, 6, 1)])
    func policiesAndBudgetsSelectTheOperatorsPods(release: DynamoRelease) throws {
        let text = Self.disaggregated.replacing(
            "{module: dynamo.frontend,",
            with: "{module: dynamo.frontend, ports: {http: 9000},"
        )
        .replacing("replicas: 2", with: "replicas: 2\n    ports: {system: \"{{9191 + index}}\"}")
        let objects = try OperatorObjects.objects(of: ClusterCase(text, release: release, generation: 2).plan())
        func labels(_ component: String) -> YAMLValue {
            [
                "nvidia.com/dynamo-graph-deployment-name": "g2-chat", "nvidia.com/dynamo-component": .text(component),
            ]
        }
        let closed = try objects.one("NetworkPolicy", "g2-chat-closed")["spec"]
        #expect(closed["podSelector"]["matchLabels"] == ["nvidia.com/dynamo-graph-deployment-name": "g2-chat"])
        let decode = try objects.one("NetworkPolicy", "g2-chat-decode")
        #expect(decode["spec"]["podSelector"]["matchLabels"] == labels("decode"))
        #expect(decode["metadata"]["labels"]["app.kubernetes.io/component"] == "decode")
        // The operator's pods listen where it says.
        #expect(decode["spec"]["ingress"][0]["ports"] == [["protocol": "TCP", "port": 9090]])
        let frontend = try objects.one("NetworkPolicy", "g2-chat-frontend")["spec"]
        #expect(frontend["ingress"][0]["ports"] == [["protocol": "TCP", "port": 8000]])
        let peer = frontend["ingress"][1]["from"][0]["podSelector"]
        #expect(peer["matchLabels"] == ["nvidia.com/dynamo-graph-deployment-name": "g2-chat"])
        #expect(peer["matchExpressions"][0]["key"] == "nvidia.com/dynamo-component")
        #expect(peer["matchExpressions"][0]["values"] == ["decode", "prefill"])
        #expect(objects.names("PodDisruptionBudget") == ["g2-chat-decode"])
        let budget = try objects.one("PodDisruptionBudget", "g2-chat-decode")["spec"]
        #expect(budget["selector"]["matchLabels"] == labels("decode"))
        // No pod is open for a moment.
        let kinds = objects.map(\.kind)
        #expect(kinds.lastIndex(of: "NetworkPolicy") ?? 99 < kinds.firstIndex(of: "DynamoGraphDeployment") ?? 0)
        let graph = try objects.one("DynamoGraphDeployment", "g2-chat")["spec"]
        let pod =
            release < DynamoRelease(1, 2, 0)
            ? graph["services"]["decode"]["extraPodSpec"] : graph["components"].named("decode")["podTemplate"]["spec"]
        let terms = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        #expect(
            terms.items.map { $0["podAffinityTerm"]["labelSelector"]["matchLabels"].value } == [
                labels("decode"), labels("decode"),
            ]
        )
        // Grove refuses a graph with it.
        #expect(pod["topologySpreadConstraints"] == [])
        let single =
            release < DynamoRelease(1, 2, 0)
            ? graph["services"]["prefill"]["extraPodSpec"] : graph["components"].named("prefill")["podTemplate"]["spec"]
        #expect(single.keys.contains("containers") || single.keys.contains("mainContainer"))
        #expect(!single.keys.contains("affinity"))
    }

    @Test func noPoliciesAreWrittenWhereNoneAreWanted() throws {
        let objects = try OperatorObjects.objects(
            of: ClusterCase(Self.disaggregated + "\nkubernetes: {networkPolicy: false}\n").plan()
        )
        #expect(objects.names("NetworkPolicy").isEmpty)
    }

    /// The operator tells every pod of its platform's NATS server, which Dynamo before 1.6 insists on.
    @Test func theServerOfThePlatformIsReachedWhereItIsInsistedOn() throws {
        let text = Self.disaggregated.replacing(
            "planes: nats\ninfrastructure: {nats: \"nats://nats.example:4222\"}",
            with: "planes: {request: tcp, events: zmq}"
        )
        func opens(_ release: DynamoRelease) throws -> Bool {
            let objects = try OperatorObjects.objects(of: ClusterCase(text, release: release).plan())
            let policy = try objects.one("NetworkPolicy", "chat-decode")
            return policy["spec"]["egress"].items.contains { $0["ports"] == [["protocol": "TCP", "port": 4222]] }
        }
        #expect(try opens(DynamoRelease(1, 2, 1)))
        #expect(try !opens(DynamoRelease(1, 6, 1)))
    }

    @Test(arguments: [
        ("frontend: {module: dynamo.frontend, ports: {http: 8080, other: 8000}}", "test.yaml:4:66: ", "'other'"),
        (
            "frontend: {module: dynamo.frontend, env: {DYN_TCP_RESPONSE_STREAM_PORT: 8000}, ports: {http: 8080}}",
            "test.yaml:4:3: ", "'response'"
        ),
        ("worker: {module: dynamo.vllm, ports: {system: 9191, other: 9090}}", "test.yaml:4:", "'other'"),
    ])
    func anotherPortWhereTheOperatorsPodsListenIsRefused(process: String, place: String, port: String) throws {
        let other =
            process.hasPrefix("worker") ? "frontend: {module: dynamo.frontend}" : "worker: {module: dynamo.vllm}"
        let error = #expect(throws: ManifestErrors.self) {
            try Self.graph("name: chat\nmodel: m\nprocesses:\n  \(process)\n  \(other)\n")
        }
        #expect(error?.diagnostics.count == 1)
        #expect(error?.description.hasPrefix(place) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("port \(port) of process") == true, "\(error?.description ?? "")")
    }
}
