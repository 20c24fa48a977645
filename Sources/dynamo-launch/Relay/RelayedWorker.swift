import Deployment
import Discovery
import RequestPlane

/// A worker as discovery has it, for which KV events can be published.
struct RelayedWorker: Sendable, Hashable {
    var id: InstanceID
    /// Where its requests go.
    var endpoint: EndpointID
    /// Tokens of a block, as routers hash prompts.
    var blockSize: Int
    /// What is suspicious.
    var warning: String?

    /// Finds the endpoint and the block size of a worker.
    ///
    /// - Parameters:
    ///   - id: the worker's instance.
    ///   - snapshot: what discovery has of the deployment's namespace.
    ///   - events: what the manifest says.
    /// - Returns: the worker, or what is missing.
    static func find(
        _ id: InstanceID,
        in snapshot: DiscoverySnapshot,
        _ events: KVRelayPlan
    ) -> Result<RelayedWorker, RelayTrouble> {
        func trouble(_ text: String) -> Result<RelayedWorker, RelayTrouble> {
            .failure(RelayTrouble(description: text))
        }

        let own = snapshot.instances.map(\.instance).filter { $0.id == id }.map(\.endpoint)
        if let query = own.first(where: { $0.name.hasPrefix("worker_kv_") }) {
            return trouble(
                "instance \(id) publishes KV events itself (it serves \(query)); remove 'kvEvents' from the manifest"
            )
        }
        if let source = snapshot.eventSources.first(where: { $0.worker == id }) {
            return trouble(
                "instance \(id) publishes KV events itself (as source \(source.publisher)); remove 'kvEvents' from the manifest"
            )
        }
        let cards = snapshot.models.filter { $0.id == id }
        let endpoints: Set<EndpointID>
        if let named = events.endpoint {
            endpoints = Set(own.filter { $0.component == named.component && $0.name == named.endpoint })
            guard !endpoints.isEmpty else {
                let all = own.map { "\($0.component).\($0.name)" }.sorted().joined(separator: ", ")
                return trouble("instance \(id) does not serve \(named) (it serves: \(all.isEmpty ? "nothing" : all))")
            }
        } else {
            endpoints = Set(cards.map(\.endpoint)).intersection(own)
        }
        guard let endpoint = endpoints.first else {
            return trouble("instance \(id) has no model card in discovery yet")
        }
        guard endpoints.count == 1 else {
            let all = endpoints.map { "\($0.component).\($0.name)" }.sorted().joined(separator: ", ")
            return trouble(
                "instance \(id) serves models at several endpoints (\(all)); name one of them as 'kvEvents.endpoint'"
            )
        }
        let card =
            cards.first { $0.endpoint == endpoint && $0.suffix == nil } ?? cards.first { $0.endpoint == endpoint }
        let size = card?.card.kvCacheBlockSize.flatMap { $0 > 0 ? $0 : nil }
        guard let blockSize = events.blockSize ?? size else {
            return trouble("the model card of instance \(id) has no block size; give it as 'kvEvents.blockSize'")
        }
        var warning: String?
        if let size, size != blockSize {
            warning =
                "'kvEvents.blockSize' is \(blockSize), and the model card says \(size): routers that go by the card will find nothing"
        }
        return .success(RelayedWorker(id: id, endpoint: endpoint, blockSize: blockSize, warning: warning))
    }
}
