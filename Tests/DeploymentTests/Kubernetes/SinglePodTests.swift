import OrderedCollections
import Testing

@testable import Deployment

/// A deployment in one pod.
@Suite struct SinglePodTests {
    private static let head = "name: chat\nmodel: echo\n"

    private static func pod(
        _ text: String,
        flags: [String] = [],
        overrides: [String] = [],
        extra: [String] = [],
        environment: [String: String] = [:],
        generation: Int = 1
    ) throws -> SinglePod {
        var cluster = ClusterCase(text, generation: generation)
        cluster.manifest.environment = environment
        cluster.manifest.arguments = extra
        cluster.manifest.overrides.set = overrides
        cluster.isSinglePod = true
        let manifest = try cluster.manifest.manifest()
        let options = SinglePod.Options(
            manifestText: text,
            flags: flags + overrides.flatMap { ["--set", $0] },
            passthroughArguments: extra,
            environment: environment,
            version: "0.1.0"
        )
        return try SinglePod(cluster.plan(), manifest, options)
    }

    private static func object(_ kind: String, of pod: SinglePod) throws -> YAMLValue {
        try #require(pod.objects.first { $0.kind == kind }?.yaml)
    }

    private static func container(of pod: SinglePod) throws -> YAMLValue {
        try #require(try self.object("Deployment", of: pod).at("spec", "template", "spec", "containers", "0"))
    }

    private static func spec(of pod: SinglePod) throws -> YAMLValue {
        try #require(try self.object("Deployment", of: pod).at("spec", "template", "spec"))
    }

    private static func errors(_ text: String, environment: [String: String] = [:]) throws -> [String] {
        do {
            _ = try self.pod(text, environment: environment)
            return []
        } catch let errors as ManifestErrors {
            return errors.diagnostics.map(\.description)
        }
    }

    @Test func `what no container allows is not asked for`() throws {
        let text = Self.ours.replacing("args: [", with: "limits: {memory: 1Gi, nice: 3}, args: [")
        let words = try Self.container(of: Self.pod(text, flags: ["--tcp"])).at("args")
        guard case .list(let list)? = words else { throw ManifestErrors([]) }
        let expected: [YAMLValue] = ["--tcp", "--set", "processes.worker.limits.memory=unlimited"].map(YAMLValue.text)
        #expect(Array(list.prefix(expected.count + 2).suffix(expected.count)) == expected)
    }

    private static let ours = """
        name: chat
        model: echo
        http: {port: 80}
        processes:
          frontend: {builtin: frontend, stop: {grace: 20s}}
          worker: {builtin: worker, args: [--engine, echo]}
        """

    @Test func `the launcher runs the manifest's own text, and the Service leads to it`() throws {
        let text =
            Self.ours + "\npassthrough: worker\nkubernetes: {service: NodePort, clients: [web], namespace: prod}\n"
        let pod = try Self.pod(text, flags: ["--nats", "--set", "a=$(HOME) $x"], extra: ["--rate", "5"])
        #expect(
            pod.objects.map { "\($0.kind)/\($0.name)" } == [
                "ServiceAccount/chat", "ConfigMap/chat-manifest", "Service/chat", "NetworkPolicy/chat-launcher",
                "Deployment/chat-launcher",
            ]
        )
        #expect(pod.objects.allSatisfy { $0.namespace == "prod" })
        #expect(try Self.object("ConfigMap", of: pod).at("data", "manifest.yaml") == .text(text))
        let container = try Self.container(of: pod)
        #expect(container.at("command") == ["dynamo-launch"])
        // Kubernetes takes '$$' for '$', and would put a variable's value in the place of the other.
        #expect(
            container.at("args") == [
                "up", "/etc/dynamo-launch/manifest.yaml", "--nats", "--set", "a=$$(HOME) $$x", "--health",
                "0.0.0.0:9180", "--set", "http.host=0.0.0.0", "--set", "http.port=8000", "--", "--rate", "5",
            ]
        )
        let service = try Self.object("Service", of: pod)
        #expect(service.at("spec", "type") == "NodePort")
        #expect(service.at("spec", "ports", "0", "port") == 80)
        let labels = try Self.object("Deployment", of: pod).at("spec", "template", "metadata", "labels")
        guard case .keyed(let selector)? = service.at("spec", "selector") else { throw ManifestErrors([]) }
        for (key, value) in selector { #expect(labels?.at(key) == value, "\(key)") }
        let policy = try Self.object("NetworkPolicy", of: pod)
        #expect(policy.at("spec", "ingress", "0", "ports", "0", "port") == 8000)
        #expect(
            policy.at("spec", "ingress", "0", "from", "0", "namespaceSelector", "matchExpressions", "0", "values") == [
                "web"
            ]
        )
    }

    @Test func `a Gateway leads to the pod, and is let in`() throws {
        func peers(_ clients: String, _ route: String) throws -> YAMLValue? {
            let pod = try Self.pod(Self.ours + "\nkubernetes: {\(clients)route: {gateway: public\(route)}}\n")
            let object = try Self.object("HTTPRoute", of: pod)
            #expect(object.at("spec", "parentRefs", "0", "name") == "public")
            #expect(object.at("spec", "rules", "0", "backendRefs") == [["name": "chat", "port": 80, "weight": 1]])
            #expect(pod.notes.isEmpty)
            return try Self.object("NetworkPolicy", of: pod).at("spec", "ingress", "0", "from")
        }
        let elsewhere = try peers("clients: [web], ", ", gatewayNamespace: gateways")
        #expect(elsewhere?.items.count == 1)
        #expect(elsewhere?.at("0", "namespaceSelector", "matchExpressions", "0", "values") == ["web", "gateways"])
        let beside = try peers("clients: [web], ", "")
        #expect(beside?.at("0", "namespaceSelector", "matchExpressions", "0", "values") == ["web"])
        #expect(beside?.at("1") == ["podSelector": [:]])
        #expect(try peers("", ", gatewayNamespace: gateways") == nil, "anybody")
    }

    @Test func `the kubelet asks the launcher, and gives it the time that it takes to stop`() throws {
        let pod = try Self.pod(Self.ours)
        let container = try Self.container(of: pod)
        for (probe, path) in [("startupProbe", "/live"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")] {
            #expect(container.at(probe, "httpGet", "path") == .text(path))
            #expect(container.at(probe, "httpGet", "port") == "health")
        }
        #expect(container.at("ports", "1") == ["name": "health", "containerPort": 9180, "protocol": "TCP"])
        let spec = try Self.spec(of: pod)
        let stop = DeploymentTimes(pod.plan.local).stop
        #expect(stop >= 40)
        #expect(spec.at("terminationGracePeriodSeconds") == .number(Int(stop.rounded(.up)) + 5))
        let deployment = try Self.object("Deployment", of: pod)
        #expect(deployment.at("spec", "strategy", "type") == "Recreate")
        #expect(deployment.at("spec", "replicas") == 1)
        #expect(spec.at("securityContext", "runAsNonRoot") == true)
        #expect(container.at("securityContext", "readOnlyRootFilesystem") == true)
    }

    @Test func `a changed manifest is another pod, and generations stand beside each other`() throws {
        func digest(_ text: String) throws -> YAMLValue? {
            let pod = try Self.object("Deployment", of: Self.pod(text)).at("spec", "template", "metadata")
            return pod?.at("annotations", "dynamo-launch/manifest-digest")
        }
        #expect(try digest(Self.ours) == digest(Self.ours))
        #expect(try digest(Self.ours) != digest(Self.ours + "# changed\n"))
        let twin = try Self.pod(Self.ours, generation: 2)
        #expect(twin.objects.first { $0.kind == "Deployment" }?.name == "g2-chat-launcher")
        #expect(twin.objects.first { $0.kind == "Service" }?.name == "chat")
    }

    @Test func `devices and amounts are those of all processes`() throws {
        let pod = try Self.pod(
            """
            name: chat
            model: m
            processes:
              frontend: {module: dynamo.frontend, kubernetes: {requests: {cpu: 100m, memory: 1Gi}, limits: {memory: 2Gi}}}
              prefill:
                module: dynamo.vllm
                args: [--model, m]
                replicas: 2
                gpus: 2
                kubernetes:
                  requests: {cpu: "0.7", example.com/nic: 1}
                  limits: {cpu: 2, memory: 1536Mi, example.com/nic: 1}
                  nodeSelector: {pool: gpu}
                  tolerations: [{key: gpu, effect: NoSchedule}, {key: a, value: b}]
                  volumes: [{name: models, path: /models, claim: models, readOnly: true}]
              decode:
                module: dynamo.vllm
                args: [--model, m]
                gpus: 1
                kubernetes:
                  sharedMemory: 1Gi
                  limits: {memory: 1.5Gi}
                  tolerations: [{key: gpu, effect: NoSchedule}]
                  volumes: [{name: models, path: /models, claim: models, readOnly: true}]
                  autoscaling: {max: 3}
                  requests: {cpu: 1}
            """
        )
        let container = try Self.container(of: pod)
        // Only what all of them limit is a limit of the whole; what one is limited to is what it is given.
        #expect(
            container.at("resources") == [
                "requests": ["cpu": "2500m", "memory": "5632Mi"],
                "limits": ["example.com/nic": "2", "memory": "6656Mi", "nvidia.com/gpu": "5"],
            ]
        )
        let spec = try Self.spec(of: pod)
        #expect(spec.at("nodeSelector") == ["pool": "gpu"])
        #expect(
            spec.at("tolerations") == [
                ["key": "gpu", "operator": "Exists", "effect": "NoSchedule"],
                ["key": "a", "operator": "Equal", "value": "b"],
            ]
        )
        #expect(
            spec.at("volumes", "4") == [
                "name": "shared-memory", "emptyDir": ["medium": "Memory", "sizeLimit": "17Gi"],
            ]
        )
        #expect(spec.at("volumes", "5", "persistentVolumeClaim", "claimName") == "models")
        #expect(spec.at("volumes", "6") == nil)
        #expect(container.at("volumeMounts", "5") == ["name": "models", "mountPath": "/models", "readOnly": true])
        // An engine writes where it likes.
        #expect(container.at("securityContext", "readOnlyRootFilesystem") == false)
        #expect(
            pod.notes == [
                "the image dynamo-launch:0.1.0 must have the programs of frontend, prefill, decode beside dynamo-launch "
                    + "(docs/images.md says how to make one): name yours under 'kubernetes.images.launcher', since this one has only our "
                    + "own",
                "one pod has no use for autoscaling of decode",
            ]
        )
    }

    @Test func `huge pages are a limit of the pod, and what some processes are limited to is requested`() throws {
        let pod = try Self.pod(
            """
            name: chat
            model: m
            processes:
              frontend: {builtin: frontend}
              worker:
                builtin: worker
                args: [--engine, echo]
                replicas: 2
                kubernetes: {limits: {memory: 1Gi, hugepages-2Mi: 64Mi}}
            """
        )
        #expect(
            try Self.container(of: pod).at("resources") == [
                "requests": ["memory": "2Gi"], "limits": ["hugepages-2Mi": "128Mi"],
            ]
        )
    }

    @Test func `paths beside the manifest, and ports that the pod cannot open, are refused`() throws {
        let lines = try Self.errors(
            Self.head + """
                discovery: {backend: file, directory: found}
                gateway:
                  tls: {certificate: cert.pem, key: /certs/key.pem}
                  listeners: ["unix:run/a.sock", {unix: b.sock}, "unix:/tmp/c.sock", "0.0.0.0:443", "0.0.0.0:9180", "0.0.0.0:8443"]
                processes: {frontend: {builtin: frontend, workingDirectory: work}}
                """
        )
        // What no form can have is said first.
        #expect(lines.count == 1 && lines[0].hasPrefix("test.yaml:7:"), "\(lines)")
        let pod = try Self.errors(
            Self.head + """
                discovery: {backend: file, directory: found}
                gateway:
                  tls: {certificate: cert.pem, key: /certs/key.pem}
                  listeners: ["unix:run/a.sock", {unix: b.sock}, "unix:/tmp/c.sock", "0.0.0.0:443", "0.0.0.0:9180", "0.0.0.0:8443"]
                processes: {frontend: {builtin: frontend}}
                """
        )
        for (line, words) in zip(
            pod,
            [
                "test.yaml:3:28: error: 'discovery.directory' is a path beside",
                "test.yaml:5:9: error: 'gateway.tls.certificate' is",
                "test.yaml:6:15: error: 'gateway.listeners.0' is",
                "test.yaml:6:35: error: 'gateway.listeners.1.unix' is",
                "test.yaml:6:70: error: the gateway would listen on port 443,",
                "test.yaml:6:85: error: the gateway would listen on port 9180,",
            ]
        ) { #expect(line.hasPrefix(words), "\(line)") }
        #expect(pod.count == 6, "\(pod)")
    }

    @Test func `variables of the manifest come along, and secrets only by name`() throws {
        let text = """
            name: chat
            model: ${MODEL}
            kubernetes: {secrets: {HF_TOKEN: {secret: huggingface, key: token}}}
            env: {API_KEY: "${API_KEY}", LEVEL: "${LEVEL:-info}", URL: "${URL}", OTHER_TOKEN: "${OTHER_TOKEN:-}"}
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker, args: [--engine, echo, "${HOME}"]}
            """
        let environment = [
            "MODEL": "m $(x)", "API_KEY": "hunter2", "URL": "http://hunter2@host", "HOME": "/home/ada", "UNUSED": "1",
        ]
        let pod = try Self.pod(text, environment: environment)
        let variables = try #require(try Self.container(of: pod).at("env"))
        func secret(_ name: String, _ secret: String, _ key: String) -> YAMLValue {
            ["name": .text(name), "valueFrom": ["secretKeyRef": ["name": .text(secret), "key": .text(key)]]]
        }
        let optional: YAMLValue = ["name": "chat-secrets", "key": "OTHER_TOKEN", "optional": true]
        #expect(
            variables == [
                secret("API_KEY", "chat-secrets", "API_KEY"), secret("HF_TOKEN", "huggingface", "token"),
                ["name": "HOME", "value": "/var/lib/dynamo-launch"], ["name": "MODEL", "value": "m $$(x)"],
                ["name": "OTHER_TOKEN", "valueFrom": ["secretKeyRef": optional]], secret("URL", "chat-secrets", "URL"),
                ["name": "XDG_RUNTIME_DIR", "value": "/run/dynamo-launch"],
                ["name": "XDG_STATE_HOME", "value": "/var/lib/dynamo-launch"],
            ]
        )
        #expect(!YAMLValue.documents(pod.objects.map(\.yaml)).contains("hunter2"))
        #expect(
            pod.notes.contains {
                $0.hasPrefix("the Secret 'chat-secrets' must be there, with API_KEY, URL, and may have OTHER_TOKEN")
            }
        )
        #expect(pod.notes.contains { $0.hasPrefix("the Secret 'huggingface' must be there, with token: ") })
    }

    @Test(arguments: [
        "|\n    -----BEGIN PRIVATE KEY-----\n    abc\n    -----END PRIVATE KEY-----", ">-\n    hunter2x\n    hunter2y",
        #""hunter2x\nhunter2y""#, #""hunter2x\"hunter2y""#, #""hunter2\u0078""#, #""\x68unter2x""#, "'hunter2x''y'",
        "${X:-hunter2x}", "hunter2x${X:-}",
    ])
    func `a secret is refused however it is written`(_ value: String) throws {
        for name in ["API_KEY", "LICENSE"] {
            let lines = try Self.errors(
                Self.head + "kubernetes: {secrets: {LICENSE: {secret: s}}}\nenv:\n  \(name): \(value)\n"
                    + "processes: {frontend: {builtin: frontend}}",
                environment: ["X": "other"]
            )
            #expect(lines.count == 1, "\(lines)")
            #expect(lines.first?.contains("the value of '\(name)' would stand in a ConfigMap") == true, "\(lines)")
        }
    }

    @Test func `what --set replaces stands in the manifest all the same`() throws {
        let text = Self.head + "env: {API_KEY: hunter2x}\nprocesses: {frontend: {builtin: frontend}}"
        #expect(throws: ManifestErrors.self) {
            try Self.pod(text, overrides: ["env.API_KEY=${X}"], environment: ["X": "abcd"])
        }
        #expect(
            try Self.errors(text.replacing("hunter2x", with: #""Bearer ${X}""#), environment: ["X": "abcd"]).isEmpty
        )
    }

    @Test func `what cannot be in one pod is said with its place`() throws {
        #expect(
            try Self.errors(Self.head + "env: {API_KEY: hunter2x}\nprocesses: {frontend: {builtin: frontend}}").first
                == """
                test.yaml:3:16: error: the value of 'API_KEY' would stand in a ConfigMap, which everybody can read
                  remedy: write ${API_KEY}; in the pod it comes from a Secret. If it is none, write 'kubernetes: {secrets: {API_KEY: false}}'
                """
        )
        let dsn = #"env: {DB: "redis://u:hunter2x@{{name}}"}"# + "\nprocesses: {frontend: {builtin: frontend}}"
        #expect(try Self.errors(Self.head + dsn).first?.hasPrefix("test.yaml:3:11: error: the value of 'DB'") == true)
        #expect(try Self.errors(Self.head + dsn + "\nkubernetes: {secrets: {DB: false}}").isEmpty)
        #expect(
            try Self.errors(
                Self.head + "gateway: false\nprocesses: {frontend: {builtin: frontend, ports: {http: auto}}}"
            ).first?.contains("the pod's public port must be known") == true
        )
        #expect(
            try Self.errors(
                Self.head + "gateway: false\nprocesses: {frontend: {builtin: frontend, ports: {http: 80}}}"
            ).first?.contains("the frontend listens on port 80 itself") == true
        )
        let places = try Self.errors(
            Self.head + """
                processes:
                  frontend: {builtin: frontend, kubernetes: {nodeSelector: {pool: a}, volumes: [{name: x, path: /x, empty: 1Gi}]}}
                  worker: {builtin: worker, kubernetes: {nodeSelector: {pool: b}, volumes: [{name: x, path: /x, empty: 2Gi}, {name: tmp, path: /y, empty: 1}, {name: z, path: /tmp, empty: 1}]}}
                """
        )
        for words in [
            "different values of 'pool'", "two volumes 'x'", "two volumes at '/x'", "two volumes 'tmp'",
            "of its own at '/tmp'",
        ] {
            #expect(places.contains { $0.contains(words) && $0.hasPrefix("test.yaml:4:3: ") }, "\(words): \(places)")
        }
    }

    @Test func `servers of the cluster, and a frontend's own port, are kept`() throws {
        let pod = try Self.pod(
            """
            name: chat
            model: echo
            planes: {request: nats}
            discovery: {backend: etcd}
            infrastructure: {nats: managed, etcd: managed}
            gateway: false
            kubernetes: {nats: "nats://nats.infra:4222", etcd: ["http://a.infra:2379", "http://[2001:db8::1]:2379"], networkPolicy: false}
            processes:
              frontend: {builtin: frontend, ports: {http: 9000}}
              worker: {builtin: worker, args: [--engine, echo]}
            """
        )
        let container = try Self.container(of: pod)
        #expect(
            container.at("args") == [
                "up", "/etc/dynamo-launch/manifest.yaml", "--health", "0.0.0.0:9180", "--set", "http.host=0.0.0.0",
                "--set", "infrastructure.nats=nats://nats.infra:4222", "--set",
                #"discovery={backend: etcd, endpoints: ["http://a.infra:2379", "http://[2001:db8::1]:2379"]}"#,
            ]
        )
        #expect(container.at("ports", "0", "containerPort") == 9000)
        #expect(!pod.objects.contains { $0.kind == "NetworkPolicy" })
    }
}
