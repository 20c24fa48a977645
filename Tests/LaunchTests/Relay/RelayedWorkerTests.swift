import Deployment
import Discovery
import RequestPlane
import Testing

@testable import dynamo_launch

/// For whom and with which blocks KV events are published, by what discovery has of a worker.
@Suite struct RelayedWorkerTests {
    private static let id = InstanceID(rawValue: 0xabc)
    private let plan = KVRelayPlan(sources: [KVRelayPlan.Source(engine: "tcp://127.0.0.1:5557")])

    private func endpoint(_ name: String, component: String = "backend") -> EndpointID {
        EndpointID(namespace: "chat", component: component, name: name)
    }

    private func instance(_ endpoint: EndpointID, _ id: InstanceID = Self.id) -> InstanceRecord {
        InstanceRecord(Instance(endpoint: endpoint, id: id, transport: .tcp("127.0.0.1:1/\(id)/\(endpoint.name)")))
    }

    private func model(_ endpoint: EndpointID, _ id: InstanceID = Self.id, blockSize: Int = 16) -> ModelRecord {
        let card = ModelCard.text(name: "m", kind: .chat, contextLength: 64, blockSize: blockSize)
        return ModelRecord(endpoint: endpoint, id: id, card: card)
    }

    private func facts(
        _ snapshot: DiscoverySnapshot,
        _ plan: KVRelayPlan? = nil
    ) -> Result<RelayedWorker, RelayTrouble> {
        RelayedWorker.find(Self.id, in: snapshot, plan ?? self.plan)
    }

    private func trouble(_ snapshot: DiscoverySnapshot, _ plan: KVRelayPlan? = nil) -> String {
        if case .failure(let trouble) = self.facts(snapshot, plan) { trouble.description } else { "" }
    }

    @Test func `the model card says endpoint and block size; other workers do not matter`() {
        let (mine, other) = (self.endpoint("generate"), self.endpoint("serve", component: "other"))
        let snapshot = DiscoverySnapshot(
            instances: [
                self.instance(mine), self.instance(self.endpoint("load")),
                self.instance(other, InstanceID(rawValue: 1)),
            ],
            models: [self.model(other, InstanceID(rawValue: 1), blockSize: 64), self.model(mine, blockSize: 32)]
        )
        #expect(self.facts(snapshot) == .success(RelayedWorker(id: Self.id, endpoint: mine, blockSize: 32)))
    }

    @Test func `what is missing yet is said`() {
        #expect(self.trouble(DiscoverySnapshot()).contains("no model card in discovery yet"))
        let noInstance = DiscoverySnapshot(models: [self.model(self.endpoint("generate"))])
        #expect(self.trouble(noInstance).contains("no model card in discovery yet"))
        let noSize = DiscoverySnapshot(
            instances: [self.instance(self.endpoint("generate"))],
            models: [self.model(self.endpoint("generate"), blockSize: 0)]
        )
        #expect(self.trouble(noSize).contains("'kvEvents.blockSize'"))
    }

    @Test func `a worker that publishes itself is left alone`() {
        let endpoint = self.endpoint("generate")
        let snapshot = DiscoverySnapshot(
            instances: [self.instance(endpoint), self.instance(self.endpoint("worker_kv_indexer_query_dp0"))],
            models: [self.model(endpoint)]
        )
        #expect(self.trouble(snapshot).contains("publishes KV events itself"))
    }

    @Test func `the manifest decides between endpoints, and over the block size`() {
        let (one, two) = (self.endpoint("generate"), self.endpoint("generate", component: "prefill"))
        let snapshot = DiscoverySnapshot(
            instances: [self.instance(one), self.instance(two)],
            models: [self.model(one), self.model(two)]
        )
        #expect(self.trouble(snapshot).contains("backend.generate, prefill.generate"))
        var plan = self.plan
        plan.endpoint = KVEndpoint(component: "prefill", endpoint: "generate")
        #expect(self.facts(snapshot, plan) == .success(RelayedWorker(id: Self.id, endpoint: two, blockSize: 16)))
        plan.endpoint = KVEndpoint(component: "prefil", endpoint: "generate")
        #expect(self.trouble(snapshot, plan).contains("does not serve prefil.generate"))
        plan.endpoint = KVEndpoint(component: "backend", endpoint: "generate")
        plan.blockSize = 4
        let facts = try? self.facts(snapshot, plan).get()
        #expect(facts?.blockSize == 4)
        #expect(facts?.warning?.contains("the model card says 16") == true)
    }
}
