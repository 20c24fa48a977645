import Testing

@testable import Deployment

/// Ports that whoever starts the launcher has chosen (`DYN_MANAGED_PORTS`).
@Suite struct ManagedPortsTests {
    private static let manifest = """
        name: demo
        http: {port: 8000}
        processes:
          frontend: {builtin: frontend}
          decode: {builtin: worker, replicas: 2, ports: {system: "{{8081 + index}}", kv: auto, other: 9000}}
          prefill: {builtin: worker}
        """

    private static func planned(_ variables: [String: String]) -> ManifestCase {
        var planned = ManifestCase(Self.manifest.replacing("other: 9000", with: "other: \"{{9000 + index}}\""))
        planned.environment.merge(variables) { $1 }
        return planned
    }

    private static let all = [
        "DYN_MANAGED_PORTS": "1", "DYN_HTTP_PORT": "7000", "DYN_SYSTEM_PORT1": "7001", "DYN_SYSTEM_PORT2": "7002",
        "DYN_SYSTEM_PORT3": "0", "DYN_VLLM_KV_EVENT_PORT1": "7011", "DYN_VLLM_KV_EVENT_PORT2": "40000",
    ]

    @Test func `every port comes from its variable, workers counted from 1`() throws {
        let plan = try Self.planned(Self.all).plan()
        #expect(plan.publicAddress.port == 7000)
        let ports = plan.replicas.map { replica in
            "\(replica.name): "
                + replica.ports.map { "\($0.name)=\($0.port)\($0.leased ? "*" : "")" }.joined(separator: " ")
        }
        #expect(
            ports == [
                "frontend: http=20000*", "decode-0: system=7001 kv=7011 other=9000",
                "decode-1: system=7002 kv=40000 other=9001", "prefill: system=20001*",
            ]
        )
        let variables = plan.replicas[1].environment.filter { $0.name == "DYN_SYSTEM_PORT" }
        #expect(variables.map(\.value) == ["7001"])
    }

    @Test func `a side channel that the manifest gives to vLLM is that of its variable`() throws {
        let text = """
            name: demo
            processes:
              w:
                role: worker
                command: [sleep, 1]
                replicas: 2
                ports: {system: auto}
                env: {VLLM_NIXL_SIDE_CHANNEL_PORT: "{{20096 + index}}"}
            """
        var planned = ManifestCase(text)
        func values() throws -> [String?] {
            try planned.plan().replicas.map { replica in
                replica.environment.first { $0.name == "VLLM_NIXL_SIDE_CHANNEL_PORT" }?.value
            }
        }
        #expect(try values() == ["20096", "20097"])
        planned.environment.merge(Self.all) { $1 }
        #expect(planned.errors.contains("DYN_VLLM_NIXL_SIDE_CHANNEL_PORT1: error: the variable is not set"))
        planned.environment["DYN_VLLM_NIXL_SIDE_CHANNEL_PORT1"] = "7021"
        planned.environment["DYN_VLLM_NIXL_SIDE_CHANNEL_PORT2"] = "7023"
        #expect(try values() == ["7021", "7023"])
        #expect(try planned.plan().replicas[1].ports.last == PortPlan(name: "nixl", port: 7023, leased: false))
    }

    @Test func `unset or empty it means nothing`() throws {
        for value in [nil, ""] {
            var variables = Self.all
            variables["DYN_MANAGED_PORTS"] = value
            let plan = try Self.planned(variables).plan()
            #expect(plan.publicAddress.port == 8000)
            #expect(plan.replicas[1].ports.first?.port == 8081)
        }
    }

    @Test(arguments: [
        ("DYN_SYSTEM_PORT2", nil, "DYN_SYSTEM_PORT2: error: the variable is not set"),
        ("DYN_SYSTEM_PORT2", "", "DYN_SYSTEM_PORT2: error: the variable is not set"),
        (
            "DYN_SYSTEM_PORT1", "32768",
            "DYN_SYSTEM_PORT1: error: the variable is '32768', which is no port for 'system' of decode-0"
        ),
        ("DYN_SYSTEM_PORT1", "+81", "DYN_SYSTEM_PORT1: error: the variable is '+81'"),
        (
            "DYN_VLLM_KV_EVENT_PORT1", "0",
            "DYN_VLLM_KV_EVENT_PORT1: error: the variable is '0', which is no port for 'kv'"
        ),
        ("DYN_HTTP_PORT", nil, "DYN_HTTP_PORT: error: the variable is not set"),
        (
            "DYN_SYSTEM_PORT2", "7001",
            "DYN_SYSTEM_PORT2: error: port 7001 is given to decode-1 (system) and to decode-0 (system), by DYN_SYSTEM_PORT1"
        ),
        (
            "DYN_SYSTEM_PORT2", "9001",
            "test.yaml:5:95: error: port 9001 of process 'decode' (other) is given to decode-1 (system)"
        ),
    ])
    func `what is missing or no port is named`(_ name: String, _ value: String?, _ error: String) {
        var variables = Self.all
        variables[name] = value
        let errors = Self.planned(variables).errors
        #expect(errors.contains(error), "\(errors)")
        #expect(errors.split(separator: "\n").count { $0.contains("error:") } == 1, "\(errors)")
    }

    @Test func `engines that count up from a port have all of them`() throws {
        let text = """
            name: demo
            planes: {request: tcp, events: zmq}
            processes:
              w:
                role: worker
                command: [sleep, 1]
                ports: {system: auto, kv: auto}
                kvEvents: {engine: "tcp://127.0.0.1:{{port.kv}}", ranks: 4}
              v: {builtin: worker}
            """
        let plan = try ManifestCase(text).plan()
        #expect(plan.replicas.map { $0.ports.map(\.port) } == [[20000, 20001], [20005]])
        let taken = text.replacing("kv: auto", with: "kv: 9000, other: 9003")
        let errors = ManifestCase(taken).errors
        #expect(errors.contains("port 9003 of process 'w' (other) is also the port of process 'w' (kv)"), "\(errors)")
    }
}
