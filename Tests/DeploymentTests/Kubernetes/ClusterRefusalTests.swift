import Testing

@testable import Deployment

/// What of a manifest cannot be in a cluster, and is said with its place.
@Suite struct ClusterRefusalTests {
    private static let environment = [
        "NATS_TOKEN": "hunter22", "API_KEY": "hunter22", "LICENSE": "hunter22", "HOST": "127.0.0.1",
    ]

    private static func errors(_ text: String) throws -> [String] {
        let lines = try ClusterPlannerTests.errors(text, environment: self.environment)
        #expect(!lines.joined().contains("hunter22"), "\(lines)")
        #expect(lines.allSatisfy { $0.hasPrefix("chat.yaml:") && $0.contains("\n") }, "a place and a remedy: \(lines)")
        return lines
    }

    private static func ours(
        _ more: String,
        worker: String = "",
        planes: String = "nats",
        name: String = "chat"
    ) -> String {
        """
        name: \(name)
        model: m
        planes: \(planes)
        \(more)
        processes:
          frontend: {builtin: frontend}
          worker: {builtin: worker\(worker)}
        """
    }

    // MARK: Secrets

    @Test func `a secret in the arguments of a server is refused`() throws {
        let nats = try Self.errors(
            Self.ours(#"infrastructure: {nats: {managed: true, args: ["--auth", "${NATS_TOKEN}"]}}"#)
        )
        #expect(nats.count == 1, "\(nats)")
        #expect(nats.first?.hasPrefix("chat.yaml:4:") ?? false, "\(nats)")
        #expect(nats.first?.contains("'infrastructure.nats' ('--auth') has a secret in it") ?? false, "\(nats)")
        let etcd = try Self.errors(
            Self.ours(
                #"""
                infrastructure: {etcd: {managed: true, args: ["--x=${LICENSE}"]}}
                discovery: etcd
                kubernetes: {secrets: {LICENSE: {secret: s}}}
                """#,
                planes: "tcp"
            )
        )
        #expect(etcd.count == 1, "\(etcd)")
        #expect(etcd.first?.contains("'infrastructure.etcd' has a secret in it") ?? false, "\(etcd)")
    }

    @Test(
        arguments: [
            #"live: {exec: [check, "${API_KEY}"]}"#, #"live: {http: "http://127.0.0.1:1/?key=${API_KEY}"}"#,
            #"live: {http: {url: "http://127.0.0.1:1/", contains: "${API_KEY}"}}"#,
        ]
    )
    func `a secret in a probe is refused`(_ probe: String) throws {
        let lines = try Self.errors(Self.ours("", worker: ", probes: {\(probe)}", planes: "tcp"))
        #expect(lines.count == 1, "\(lines)")
        #expect(lines.first?.hasPrefix("chat.yaml:7:") ?? false, "\(lines)")
        #expect(lines.first?.contains("probe 'live' of process 'worker' has a secret") ?? false, "\(lines)")
    }

    @Test func `what is declared as a secret comes from it, whatever it is called`() throws {
        let plan = try ClusterPlannerTests.plan(
            """
            name: chat
            model: m
            env: {LICENSE: "${LICENSE}"}
            kubernetes: {secrets: {LICENSE: {secret: licenses, key: engine}, HF_TOKEN: {secret: hub, key: token}}}
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker}
              silent: {builtin: worker, unset: [HF_TOKEN]}
              cache: {command: [redis], role: infrastructure, kubernetes: {image: redis}}
            """,
            release: nil,
            environment: Self.environment
        )
        func key(_ name: String, _ process: String) -> ClusterVariable.Value? {
            plan.processes.first { $0.name == process }?.environment.first { $0.name == name }?.value
        }
        let license = ClusterVariable.Value.secret(.init(secret: "licenses", key: "engine"))
        for name in ["frontend", "worker", "cache"] { #expect(key("LICENSE", name) == license) }
        // No manifest names it, and who needs it looks for it.
        let token = ClusterVariable.Value.secret(.init(secret: "hub", key: "token"))
        for name in ["frontend", "worker"] { #expect(key("HF_TOKEN", name) == token) }
        #expect(key("HF_TOKEN", "cache") == nil)
        #expect(key("HF_TOKEN", "silent") == nil)
        let text = YAMLValue.documents(PlainObjects.objects(of: plan).map(\.yaml))
        #expect(!text.contains("hunter22"))
    }

    @Test func `a secret in a value comes from the Secret, and what is declared as none does not`() throws {
        let plan = try ClusterPlannerTests.plan(
            """
            name: chat
            model: m
            env: {HTTPS_PROXY: "http://u:hunter22@proxy:3128", CHAT_TOKEN: "</s>", EMPTY_TOKEN: "", X: "a${LICENSE}"}
            kubernetes: {secrets: {CHAT_TOKEN: false, DSN: false, LICENSE: {secret: licenses}}}
            processes:
              frontend: {module: dynamo.frontend, env: {HF_TOKEN: "${HF_TOKEN:-}", HUB_KEY: "${HUB:-}"}}
              worker: {module: dynamo.vllm, env: {DSN: "redis://u:p@h", URL: "https://h/x?token=hunter22"}}
            """,
            environment: Self.environment.merging(["HF_TOKEN": "hunter22"]) { $1 }
        )
        func value(_ name: String, _ process: String) -> ClusterVariable.Value? {
            plan.processes.first { $0.name == process }?.environment.first { $0.name == name }?.value
        }
        func key(_ name: String, isOptional: Bool = false) -> ClusterVariable.Value {
            .secret(.init(secret: "chat-secrets", key: name, isOptional: isOptional))
        }
        for name in ["HTTPS_PROXY", "X"] { #expect(value(name, "worker") == key(name), "\(name)") }
        #expect(value("URL", "worker") == key("URL"))
        #expect(value("DSN", "worker") == .text("redis://u:p@h"))
        #expect(value("CHAT_TOKEN", "worker") == .text("</s>"))
        #expect(value("EMPTY_TOKEN", "worker") == .text(""))
        // Whoever generates it may have one: the manifest says that it may be missing.
        for name in ["HF_TOKEN", "HUB_KEY"] { #expect(value(name, "frontend") == key(name, isOptional: true)) }
        #expect(
            plan.secretNotes.first
                == "the Secret 'chat-secrets' must be there, with HTTPS_PROXY, URL, X, and may have HF_TOKEN, HUB_KEY: kubectl "
                + "create secret generic chat-secrets --from-literal=HF_TOKEN=... --from-literal=HTTPS_PROXY=... "
                + "--from-literal=HUB_KEY=... --from-literal=URL=... --from-literal=X=..."
        )
        #expect(plan.secretNotes.last?.contains("'kubernetes: {secrets: {NAME: false}}'") ?? false)
        for objects in [PlainObjects.objects(of: plan), try OperatorObjects.objects(of: plan)] {
            let text = YAMLValue.documents(objects.map(\.yaml))
            #expect(!text.contains("hunter22"))
            #expect(text.contains("optional: true"))
        }
        // Policies know the proxy's port all the same.
        let policies = PlainObjects.objects(of: plan).filter { $0.kind == "NetworkPolicy" }
        #expect(YAMLValue.documents(policies.map(\.yaml)).contains("port: 3128"))
    }

    @Test func `words of a model's vocabulary, keys to find things by, and numbers are no secrets`() throws {
        let plan = try ClusterPlannerTests.plan(
            """
            name: chat
            model: m
            env: {SORT_KEY: name, PRIMARY_KEY: id, MAX_TOKEN: "4096", DYN_TOKEN_BUDGET: "1024", X_TOKEN: "12", AUTH_MODE: plain, MYSQL_PWD: hunter22,
              CFG: '{"pad_token": "<pad>","bos_token":"BOS"}', HEADERS: "Authorization=Bearer hunter22"}
            processes:
              frontend: {module: dynamo.frontend}
              worker: {module: dynamo.vllm, args: [--image-token, IMGT, --partition-key=userid, --override-generation-config, '{"eos_token":"EOSX"}']}
            """
        )
        let worker = plan.processes.first { $0.name == "worker" }
        let secrets = worker?.environment.compactMap { variable -> String? in
            guard case .secret(let key) = variable.value else { return nil }
            return key.key
        }
        #expect(secrets?.sorted() == ["HEADERS", "MYSQL_PWD"])
    }

    @Test func `a secret in an argument is refused with the place of the argument, unless arguments are public`() throws
    {
        func text(_ more: String) -> String {
            Self.ours("", planes: "tcp") + """

                  engine: {command: [engine, "--db=redis://u:hunter22@h"], role: infrastructure, kubernetes: {image: e\(more)}, args: [-v,
                    --password, hunter22, "${API_KEY}"], probes: {live: {http: "http://h/?token=hunter22"}}}

                """
        }
        let lines = try Self.errors(text(""))
        #expect(lines.count == 4, "\(lines)")
        for (line, words) in zip(
            lines,
            [
                "chat.yaml:8:30: error: word 2 of 'command' of process 'engine' (a URL with a password) has a secret",
                "chat.yaml:9:17: error: argument 3 of process 'engine' ('--password') has a secret",
                "chat.yaml:9:27: error: argument 4 of process 'engine' has a secret",
                "chat.yaml:9:51: error: the probe 'live' of process 'engine' ('token') has a secret",
            ]
        ) { #expect(line.hasPrefix(words), "\(line)") }
        #expect(lines.count { $0.contains("'kubernetes: {publicArguments: true}'") } == 3, "\(lines)")
        let publicly = try Self.errors(text(", publicArguments: true").replacing("hunter22", with: "x"))
        #expect(publicly.count == 1 && publicly[0].contains(":9:20: error: argument 4"), "\(publicly)")
    }

    @Test func `templates in the arguments of servers are filled in`() throws {
        let plan = try ClusterPlannerTests.plan(
            Self.ours(#"infrastructure: {nats: {managed: true, args: ["--name", "{{namespace}}:{{port.client}}"]}}"#),
            release: nil,
            generation: 2
        )
        #expect(plan.nats?.arguments == ["--name", "chat:4222"], "the same for all generations")
    }

    // MARK: Servers

    @Test(arguments: ["localhost", "${HOST}", "[::1]"])
    func `a server on this machine cannot be reached from pods`(_ host: String) throws {
        let nats = try Self.errors(Self.ours(#"infrastructure: {nats: "nats://\#(host):4222"}"#))
        #expect(nats.count == 1, "\(nats)")
        #expect(nats.first?.hasPrefix("chat.yaml:4:") ?? false, "\(nats)")
        #expect(nats.first?.contains("'kubernetes.nats'") ?? false, "\(nats)")
        let etcd = try Self.errors(
            Self.ours(#"discovery: {backend: etcd, endpoints: ["http://\#(host):2379"]}"#, planes: "tcp")
        )
        #expect(etcd.count == 1, "\(etcd)")
        #expect(etcd.first?.hasPrefix("chat.yaml:4:") ?? false, "\(etcd)")
        #expect(etcd.first?.contains("'kubernetes.etcd'") ?? false, "\(etcd)")
        let said = try Self.errors(
            Self.ours("infrastructure: {nats: \"nats://\(host):4222\"}\nkubernetes: {nats: \"nats://nats:4222\"}")
        )
        #expect(said.isEmpty, "\(said)")
    }

    // MARK: Names

    @Test(arguments: ["closed", "own", "nats", "etcd", "nats-pods", "etcd-pods", "infrastructure"])
    func `a process is not called as objects of the deployment are`(_ name: String) throws {
        let text =
            Self.ours("infrastructure: {nats: {managed: true}}")
            + "\n  \(name): {command: [x], role: infrastructure, kubernetes: {image: x}}\n"
        let lines = try Self.errors(text)
        #expect(lines.count == 1, "\(lines)")
        #expect(lines.first?.hasPrefix("chat.yaml:8:3: ") ?? false, "\(lines)")
    }

    @Test func `a deployment is not called as a generation of another, and leaves room for its servers`() throws {
        let generation = try Self.errors(Self.ours("", planes: "tcp", name: "g2-chat"))
        #expect(generation.count == 1 && generation[0].hasPrefix("chat.yaml:1:7: "), "\(generation)")
        let long = String(repeating: "a", count: 48)
        let server = try Self.errors(Self.ours("", planes: "tcp", name: long))
        #expect(server.contains { $0.hasPrefix("chat.yaml:1:7: ") && $0.contains("'\(long)-etcd'") }, "\(server)")
    }

    @Test func `replicas that are processes of their own are not called as another process`() throws {
        let lines = try Self.errors(
            """
            name: chat
            model: m
            processes:
              frontend: {module: dynamo.frontend}
              worker: {module: dynamo.vllm, replicas: 2, args: [--data-parallel-rank, "{{index}}"]}
              worker-1: {module: dynamo.vllm}
            """
        )
        #expect(lines.count == 1 && lines[0].hasPrefix("chat.yaml:6:3: "), "\(lines)")
    }

    @Test(arguments: ClusterCase.launch)
    func `no two objects of a kind have one name`(_ name: String) throws {
        let plan = try ClusterCase(launch: name).plan()
        let objects = PlainObjects.objects(of: plan)
        #expect(Set(objects.map { "\($0.kind) \($0.name)" }).count == objects.count)
    }

    // MARK: Programs

    @Test func `a program that no image is said to have is refused`() throws {
        let process = "\n  engine: {command: [engine], role: worker"
        let lines = try Self.errors(Self.ours("", planes: "tcp") + process + "}\n")
        #expect(lines.count == 1 && lines[0].hasPrefix("chat.yaml:8:3: "), "\(lines)")
        #expect(lines.first?.contains("'kubernetes.image'") ?? false, "\(lines)")
        let said = [
            Self.ours("", planes: "tcp") + process + ", kubernetes: {image: engine}}\n",
            Self.ours("kubernetes: {images: {dynamo: all}}", planes: "tcp") + process + "}\n",
        ]
        for text in said { #expect(try Self.errors(text).isEmpty) }
    }

    @Test(arguments: [("work", true), ("./{{name}}", true), ("{{model}}", true), ("/data/{{name}}", false)])
    func `a working directory beside the manifest is refused`(_ directory: String, _ isRefused: Bool) throws {
        let lines = try Self.errors(Self.ours("", worker: ", workingDirectory: \"\(directory)\"", planes: "tcp"))
        #expect(lines.count == (isRefused ? 1 : 0), "\(lines)")
        let refused = lines.first?.hasPrefix("chat.yaml:7:47: error: the working directory") ?? false
        #expect(refused == isRefused, "\(lines)")
        let program = "\n  engine: {command: [\"\(directory)/x\"], role: worker, kubernetes: {image: engine}}\n"
        #expect(try Self.errors(Self.ours("", planes: "tcp") + program).count == (isRefused ? 1 : 0))
    }

    @Test func `one pod has one image, which is the launcher's`() throws {
        func errors(_ more: String, _ process: String) throws -> String {
            var cluster = ClusterCase(
                Self.ours(more, planes: "tcp") + "\n  engine: {command: [engine], role: worker\(process)}\n",
                release: nil
            )
            cluster.isSinglePod = true
            do {
                return try cluster.plan().processes.isEmpty ? "no processes" : ""
            } catch { return error.description }
        }
        let lines = try errors("", "")
        #expect(lines.hasPrefix("test.yaml:8:3: "), "\(lines)")
        #expect(lines.contains("dynamo-launch:0.1.0, which does not have the program of process 'engine'"), "\(lines)")
        #expect(lines.contains("images: {launcher: IMAGE}"), "\(lines)")
        // The image of one process is not that of the pod.
        #expect(try errors("", ", kubernetes: {image: engine}").hasPrefix("test.yaml:8:65: "))
        #expect(try errors("kubernetes: {images: {dynamo: all}}", "").contains("images: {launcher: IMAGE}"))
        #expect(try errors("kubernetes: {images: {launcher: all}}", "") == "")
    }

    @Test func `one of ours among others does not use the API server`() throws {
        let lines = try Self.errors(
            """
            name: chat
            model: m
            kubernetes: {discovery: kubernetes}
            processes:
              frontend: {module: dynamo.frontend}
              engine: {command: [engine], role: worker, kubernetes: {image: engine}}
              worker: {builtin: worker}
            """
        )
        #expect(lines.count == 1 && lines[0].hasPrefix("chat.yaml:3:25: "), "\(lines)")
        #expect(lines.first?.contains("process 'worker' is one of ours") ?? false, "\(lines)")
    }

    // MARK: Ports

    private static func ports(_ worker: String) throws -> ClusterProcess {
        let plan = try ClusterPlannerTests.plan(Self.ours("", worker: worker, planes: "tcp"), release: nil)
        return try #require(plan.processes.first { $0.name == "worker" })
    }

    @Test func `ports have names that Kubernetes takes`() throws {
        let worker = try Self.ports(
            ", ports: {request: 5001, response: 5002, kv--events: 5003, kv-: 5004, a-name-of-16-char: 5005, good: 5006}"
        )
        let names = Dictionary(uniqueKeysWithValues: worker.ports.map { ($0.number, $0.name) })
        #expect(
            names == [
                9090: "system", 5001: "port-5001", 5002: "port-5002", 5003: "port-5003", 5004: "port-5004",
                5005: "port-5005", 5006: "good", 9345: "request", 9346: "response",
            ]
        )
        #expect(worker.ports.first { $0.name == "request" }?.purpose == .request)
    }

    @Test func `fixed ports make room for those of the manifest`() throws {
        let worker = try Self.ports(
            ", ports: {a: 9090, b: 9345, c: 9346, d: 9400, e: auto, f: auto, g: 9402}"
        )
        let numbers = Dictionary(uniqueKeysWithValues: worker.ports.map { ($0.name, $0.number) })
        #expect(
            numbers == [
                "a": 9090, "b": 9345, "c": 9346, "d": 9400, "e": 9401, "f": 9403, "g": 9402, "system": 9091,
                "request": 9347, "response": 9348,
            ]
        )
        #expect(worker.environment.contains { $0.name == "DYN_TCP_RPC_PORT" && $0.value == .text("9347") })
        #expect(worker.environment.contains { $0.name == "DYN_SYSTEM_PORT" && $0.value == .text("9091") })
    }

    @Test func `two equal ports of a process are refused`() throws {
        let lines = try Self.errors(
            Self.ours("", worker: ", ports: {a: 9345}, env: {DYN_TCP_RPC_PORT: \"9345\"}", planes: "tcp")
        )
        #expect(lines.count == 1, "\(lines)")
        #expect(lines.first?.hasPrefix("chat.yaml:7:40: ") ?? false, "\(lines)")
    }
}
