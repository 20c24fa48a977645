import Discovery
import FoundationEssentials
import RequestPlane

enum FrontendFixture {
    /// Requests as real text workers received them from real frontends.
    static func requests() throws -> [JSONValue] {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures/text-worker-requests.json")
        return try JSONValue(parsing: Data(contentsOf: file))["requests"]?.array ?? []
    }

    /// An instance with its model card.
    static func worker(
        _ id: UInt64,
        model: String = "m",
        namespace: String = "n",
        component: String = "backend",
        kind: ModelCard.Kind = [.chat, .completions],
        contextLength: Int = 4096
    ) -> (instance: InstanceRecord, model: ModelRecord) {
        let endpoint = EndpointID(namespace: namespace, component: component, name: "generate")
        let instance = Instance(
            endpoint: endpoint,
            id: InstanceID(rawValue: id),
            transport: .tcp("127.0.0.1:1/\(id)/generate")
        )
        let card = ModelCard.text(name: model, kind: kind, contextLength: contextLength)
        return (InstanceRecord(instance), ModelRecord(endpoint: endpoint, id: instance.id, card: card))
    }
}
