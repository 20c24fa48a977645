import Deployment
import Testing

/// What each replica finds in its environment.
@Suite struct EnvironmentPlanTests {
    private static let mocker = """
        name: demo
        infrastructure: {nats: managed}
        processes:
          frontend: {module: dynamo.frontend}
          worker: {module: dynamo.mocker, args: [--model-path, /m]}
          helper: {role: infrastructure, command: [sleep, 1]}

        """

    private func plan(
        _ text: String = Self.mocker,
        plane: String? = nil,
        release: String = "1.2.1",
        shell environment: [String: String] = [:]
    ) throws -> Plan {
        var planned = ManifestCase(text)
        planned.overrides.requestPlane = plane
        planned.release = DynamoRelease(release)
        planned.environment.merge(environment) { _, new in new }
        return try planned.plan()
    }

    private func value(_ name: String, of replica: String, in plan: Plan) throws -> String? {
        let replica = try #require(plan.replicas.first { $0.name == replica })
        return replica.environment.first { $0.name == name }?.value
    }

    @Test(arguments: [
        ("tcp", "1.2.1", "zmq", false), ("http", "1.2.1", "zmq", false), ("nats", "1.2.1", "zmq", true),
        ("tcp", "1.0.2", "nats", true),
        ("tcp", "1.6.1", "zmq", false), ("nats", "1.6.1", "zmq", true),
    ])
    func planesOfEveryProcess(_ plane: String, _ release: String, _ events: String, _ usesNATS: Bool) throws {
        let shell = [
            "NATS_SERVER": "nats://elsewhere:4222", "DYN_REQUEST_PLANE": "quic", "DYN_EVENT_PLANE": "x",
            "DYN_NAMESPACE": "y",
        ]
        let plan = try self.plan(plane: plane, release: release, shell: shell)
        #expect(plan.planes.usesNATS == usesNATS)
        #expect(plan.replicas.contains { $0.name == "nats" } == usesNATS)
        for replica in ["frontend", "worker"] {
            #expect(try self.value("DYN_REQUEST_PLANE", of: replica, in: plan) == plane)
            #expect(try self.value("DYN_EVENT_PLANE", of: replica, in: plan) == events)
            #expect(try self.value("DYN_NAMESPACE", of: replica, in: plan) == "demo")
            #expect(try self.value("DYN_DISCOVERY_BACKEND", of: replica, in: plan) == "file")
            #expect(
                try self.value("DYN_FILE_KV", of: replica, in: plan)
                    == "/run/user/1000/dynamo-launch/demo/discovery"
            )
            #expect(try self.value("NATS_SERVER", of: replica, in: plan) == (usesNATS ? "nats://127.0.0.1:20000" : nil))
            #expect(try self.value("DYN_RESPONSE_PLANE", of: replica, in: plan) == (release == "1.6.1" ? "tcp" : nil))
            #expect(try self.value("DYN_STORE_KV", of: replica, in: plan) == nil)
        }
        for name in ["DYN_REQUEST_PLANE", "DYN_NAMESPACE", "NATS_SERVER"] {
            #expect(try self.value(name, of: "helper", in: plan) == nil)
        }
    }

    @Test(arguments: ["nats-core", "jetstream", "zmq"])
    func durableEventsAreForBothSides(_ events: String) throws {
        let names = ["DYN_DURABLE_KV_EVENTS", "DYN_ROUTER_DURABLE_KV_EVENTS"]
        let shell = Dictionary(uniqueKeysWithValues: names.map { ($0, "true") })
        let plan = try self.plan("planes: {events: \(events)}\n" + Self.mocker, shell: shell)
        for name in names {
            for replica in ["frontend", "worker"] {
                #expect(try self.value(name, of: replica, in: plan) == (events == "jetstream" ? "true" : nil))
            }
            #expect(try self.value(name, of: "helper", in: plan) == nil)
        }
        let nats = plan.replicas.first { $0.name == "nats" }
        #expect(nats?.arguments.contains("-js") == (events == "zmq" ? nil : events == "jetstream"))
    }

    @Test func portsGoToThoseWhoOwnThem() throws {
        let plan = try self.plan(
            "name: demo\ngateway: false\nprocesses:\n  frontend: {builtin: frontend}\n  worker: {builtin: worker}\n",
            shell: ["DYN_SYSTEM_PORT": "9090", "DYN_HTTP_PORT": "8123"]
        )
        #expect(plan.publicAddress.port == 8123)
        #expect(try self.value("DYN_HTTP_PORT", of: "frontend", in: plan) == "8123")
        #expect(try self.value("DYN_SYSTEM_PORT", of: "frontend", in: plan) == nil)
        #expect(try self.value("DYN_HTTP_PORT", of: "worker", in: plan) == nil)
        #expect(try self.value("DYN_SYSTEM_PORT", of: "worker", in: plan) == "20000")
        let frontend = try #require(plan.replicas.first { $0.name == "frontend" })
        #expect(
            frontend.unset == [
                UnsetVariable(name: "DYN_SYSTEM_PORT", reason: "a frontend must not take a worker's system port")
            ]
        )
    }

    @Test func theShellIsOverriddenWithANote() throws {
        let plan = try self.plan(shell: [
            "DYN_REQUEST_PLANE": "nats", "NATS_SERVER": "nats://ada:hunter2@host:4222", "DYN_DISCOVERY_BACKEND": "file",
        ])
        #expect(
            plan.notes == [
                "DYN_REQUEST_PLANE=nats in your shell is overridden: 'planes.request' of this deployment is 'tcp'",
                "NATS_SERVER=nats://***@host:4222 in your shell is not passed on: no plane is NATS",
            ]
        )
    }

    /// A variable that the manifest asks for is followed, so there is nothing to note.
    @Test func whatTheManifestUsesIsNotNoted() throws {
        let text =
            "name: demo\nplanes: ${DYN_REQUEST_PLANE:-tcp}\ninfrastructure: {nats: \"${NATS_SERVER:-nats://localhost:4222}\"}\n"
            + "processes:\n  f: {module: dynamo.frontend}\n"
        let plan = try self.plan(text, shell: ["DYN_REQUEST_PLANE": "nats", "NATS_SERVER": "nats://host:4222"])
        #expect(plan.notes.isEmpty)
        #expect(plan.planes.request == .nats)
        #expect(try self.value("NATS_SERVER", of: "f", in: plan) == "nats://host:4222")
        #expect(
            plan.externalServices == [
                ExternalService(name: "nats", url: "nats://host:4222", probe: .natsPing(url: "nats://host:4222"))
            ]
        )
    }

    @Test func layersOfTheEnvironment() throws {
        let text = """
            name: demo
            env: {A: top, B: top, C: top}
            unset: [SHELL_ONE]
            processes:
              f: {builtin: frontend, env: {B: "own {{index}}"}, unset: [C, SHELL_TWO]}

            """
        let plan = try self.plan(text, shell: ["A": "shell", "SHELL_ONE": "1", "SHELL_TWO": "2", "SHELL_THREE": "3"])
        let replica = try #require(plan.replicas.first)
        let mine = replica.environment.filter { $0.name.count == 1 || $0.name.hasPrefix("SHELL") }
        #expect(
            mine == [
                EnvironmentVariable(name: "A", value: "top", source: .manifest),
                EnvironmentVariable(name: "B", value: "own 0", source: .manifest),
                EnvironmentVariable(name: "SHELL_THREE", value: "3", source: .inherited),
            ]
        )
        #expect(replica.unset.map(\.name) == ["SHELL_ONE", "SHELL_TWO"])
        #expect(replica.environment == replica.environment.sorted { $0.name < $1.name })
    }

    @Test func inheritancePolicies() throws {
        func names(_ policy: String) throws -> [String] {
            let plan = try self.plan(
                "name: demo\ninherit: \(policy)\nprocesses:\n  f: {builtin: frontend}\n",
                shell: ["HF_HOME": "/hf", "HF_TOKEN": "t"]
            )
            return try #require(plan.replicas.first).environment.filter { $0.source == .inherited }.map(\.name)
        }
        #expect(try names("all") == ["HF_HOME", "HF_TOKEN", "HOME", "PATH", "XDG_RUNTIME_DIR"])
        #expect(try names("none") == [])
        #expect(try names("[PATH, \"HF_*\"]") == ["HF_HOME", "HF_TOKEN", "PATH"])
    }

    @Test func aManifestMayRepeatWhatThePlanDecides() throws {
        let text =
            "name: demo\nprocesses:\n  f: {module: dynamo.frontend, env: {DYN_REQUEST_PLANE: tcp, DYN_HTTP_PORT: 8000, DYN_EVENT_PLANE: zmq}, args: [--http-port, 8000, --namespace=demo]}\n"
        let plan = try self.plan(text)
        let variable = try #require(plan.replicas[0].environment.first { $0.name == "DYN_REQUEST_PLANE" })
        #expect(variable.source == .derived)
    }

    @Test func secretsAreNotShown() throws {
        let text =
            "name: demo\nprocesses:\n  w: {role: worker, command: [sleep, \"--key=${MY_TOKEN}\"], env: {OTHER: \"x${MY_TOKEN}\"}}\n"
        let plan = try self.plan(text, shell: ["MY_TOKEN": "hunter2"])
        #expect(plan.replicas[0].arguments == ["--key=hunter2"])
        #expect(!plan.rendered(showsInherited: true).contains("hunter2"))
        #expect(plan.masked.replicas[0].arguments == ["--key=***"])
        #expect(plan.rendered(showsInherited: true).contains("MY_TOKEN='***'"))
    }

    @Test func secretsAreKnownByTheirLooks() throws {
        let text = """
            name: demo
            processes:
              w:
                role: worker
                command: [sleep, "1", --password, hunter2, "--db=redis://u:hunter2@h"]
                env: {HEADERS: "Authorization=Bearer hunter2", DB: "redis://u:hunter2@h", X_TOKEN: "1024"}
                probes: {live: {exec: [ask, "--api-key=hunter2"]}}

            """
        let plan = try self.plan(text, shell: ["LINE": "a,x-api-key=hunter2"])
        let shown = plan.rendered(showsInherited: true)
        #expect(!shown.contains("hunter2"))
        #expect(plan.masked.replicas[0].arguments == ["1", "--password", "***", "--db=redis://***@h"])
        for words in ["HEADERS='***'", "DB='redis://***@h'", "LINE='***'", "X_TOKEN=1024"] {
            #expect(shown.contains(words), "\(words)")
        }
    }

    @Test func etcdIsForEtcdOnly() throws {
        let text =
            "name: demo\ndiscovery: {backend: etcd, endpoints: [\"http://a:2379\", \"http://b:2379/\"]}\nprocesses:\n  f: {builtin: frontend}\n"
        let plan = try self.plan(text, shell: ["DYN_FILE_KV": "/x"])
        #expect(try self.value("ETCD_ENDPOINTS", of: "f", in: plan) == "http://a:2379,http://b:2379/")
        #expect(try self.value("DYN_FILE_KV", of: "f", in: plan) == nil)
        #expect(plan.externalServices.map(\.name) == ["etcd-0", "etcd-1"])
        #expect(
            plan.externalServices.last?.probe
                == .http(url: "http://b:2379/health", statuses: [200], bodyContains: "true")
        )
        #expect(plan.discovery == .etcd(endpoints: ["http://a:2379", "http://b:2379/"]))
    }
}
