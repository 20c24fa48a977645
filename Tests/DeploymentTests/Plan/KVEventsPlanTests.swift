import Foundation
import Testing

@testable import Deployment

/// What the launcher is to do with the KV events of engines.
@Suite struct KVEventsPlanTests {
    private func plan(_ worker: String) throws -> Plan {
        try ManifestCase(
            """
            name: demo
            model: tiny
            planes: {request: tcp, events: nats-core}
            infrastructure: {nats: managed}
            processes:
              frontend: {module: dynamo.frontend, args: [--router-mode, kv]}
              worker:
                command: [python3, serve.py]
                role: worker
                \(worker)
            """
        ).plan()
    }

    private func relays(_ plan: Plan) -> [KVRelayPlan?] {
        plan.replicas.filter { $0.role == .worker }.map(\.kvEvents)
    }

    @Test func `an address alone is enough, and each replica has its own`() throws {
        let plan = try self.plan(
            """
            replicas: 2
                ports: {system: auto, kv: "{{5557 + index}}"}
                kvEvents: "tcp://127.0.0.1:{{port.kv}}"
            """
        )
        #expect(
            self.relays(plan) == [
                KVRelayPlan(sources: [.init(engine: "tcp://127.0.0.1:5557")]),
                KVRelayPlan(sources: [.init(engine: "tcp://127.0.0.1:5558")]),
            ]
        )
        #expect(plan.replicas.filter { $0.role != .worker }.allSatisfy { $0.kvEvents == nil })
    }

    @Test func `everything can be said, and ranks count ports up`() throws {
        let plan = try self.plan(
            """
            ports: {system: auto}
                kvEvents:
                  engine: tcp://[::1]:5557
                  replay: tcp://localhost:6557
                  topic: "kv-{{model}}"
                  blockSize: 32
                  ranks: 2
                  endpoint: backend.generate
            """
        )
        let wanted = KVRelayPlan(
            sources: [
                .init(engine: "tcp://[::1]:5557", replay: "tcp://localhost:6557"),
                .init(engine: "tcp://[::1]:5558", replay: "tcp://localhost:6558"),
            ],
            topic: "kv-tiny",
            blockSize: 32,
            endpoint: KVEndpoint(component: "backend", endpoint: "generate")
        )
        #expect(self.relays(plan) == [wanted])
        let text = plan.rendered()
        #expect(
            text.contains(
                "   kv events taken from tcp://[::1]:5557 (replay tcp://localhost:6557), "
                    + "tcp://[::1]:5558 (replay tcp://localhost:6558), topic kv-tiny, blocks of 32 tokens, for backend.generate\n"
            ),
            "\(text)"
        )
        #expect(try JSONDecoder().decode(Plan.self, from: JSONEncoder().encode(plan)) == plan)
    }

    @Test func `a socket file will do, and Dynamo's own workers when their publisher writes elsewhere`() throws {
        let plan = try self.plan(
            """
            ports: {system: auto}
                kvEvents: ipc:///run/engine
            """
        )
        #expect(self.relays(plan) == [KVRelayPlan(sources: [.init(engine: "ipc:///run/engine")])])
        let durable = try ManifestCase(
            """
            name: demo
            planes: {request: tcp, events: nats-core}
            infrastructure: {nats: managed}
            processes:
              frontend: {module: dynamo.frontend, args: [--router-mode, kv]}
              worker:
                module: dynamo.mocker
                args: [--durable-kv-events]
                ports: {kv: auto}
                kvEvents: "tcp://127.0.0.1:{{port.kv}}"
            """
        ).plan()
        #expect(durable.replicas.contains { $0.kvEvents != nil })
    }
}
