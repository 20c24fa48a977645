import Discovery
import RequestPlane
import Testing

@testable import dynamo_launch

/// When a worker that was started is known to those that send requests.
@Suite struct WorkerSightingTests {
    private static func instance(_ id: UInt64, _ component: String = "backend") -> DiscoveryRecord {
        let endpoint = EndpointID(namespace: "n", component: component, name: "generate")
        return .instance(
            InstanceRecord(
                Instance(
                    endpoint: endpoint,
                    id: InstanceID(rawValue: id),
                    transport: .tcp("127.0.0.1:1/\(id)/generate")
                )
            )
        )
    }

    private static func model(_ id: UInt64, _ name: String = "m") -> DiscoveryRecord {
        let endpoint = EndpointID(namespace: "n", component: "backend", name: "generate")
        let card = ModelCard.text(name: name, kind: .chat, contextLength: 64)
        return .model(ModelRecord(endpoint: endpoint, id: InstanceID(rawValue: id), card: card))
    }

    private static func models(_ records: DiscoveryRecord...) -> [String: Int]? {
        WorkerSighting.models(of: InstanceID(rawValue: 1), in: DiscoverySnapshot(records))
    }

    @Test func `a worker is registered when its model is, where others of its component have one`() {
        #expect(Self.models() == nil)
        #expect(Self.models(Self.instance(2), Self.model(2)) == nil)
        #expect(Self.models(Self.model(1)) == nil, "a card without an instance")
        #expect(Self.models(Self.instance(1), Self.instance(2), Self.model(2)) == nil, "its card is not there yet")
        #expect(Self.models(Self.instance(1), Self.model(1), Self.instance(2), Self.model(2)) == ["m": 2])
        #expect(Self.models(Self.instance(1), Self.model(1), Self.model(2)) == ["m": 1], "2 is gone")
        #expect(Self.models(Self.instance(1), Self.model(1), Self.instance(2), Self.model(2, "other")) == ["m": 1])
        #expect(Self.models(Self.instance(1, "encoder"), Self.instance(2), Self.model(2)) == [:], "it has none")
    }

    @Test func `a frontend's workers are counted in its own namespace, of all types`() {
        let text = """
            {"model":"echo","ready":true,"namespaces":{"n":{"ready":true,"worker_types":{"prefill":{"workers":1,"needs":[]},
            "decode":{"workers":2,"needs":[]}},"present":["prefill"]},"other":{"worker_types":{"aggregated":{"workers":5}}}}}
            """
        #expect(WorkerSighting.workers(inReadiness: text, "n") == 3)
        #expect(WorkerSighting.workers(inReadiness: text, "none") == 0)
        #expect(WorkerSighting.workers(inReadiness: "{\"message\":\"Model not found\"}", "n") == nil)
        #expect(WorkerSighting.workers(inReadiness: "no such page", "n") == nil)
    }
}
