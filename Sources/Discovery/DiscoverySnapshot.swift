/// What discovery holds at one moment, in the order of the keys.
public struct DiscoverySnapshot: Sendable, Hashable {
    /// The running copies of endpoints.
    public var instances: [InstanceRecord]
    /// The models, each beside the instance that serves it.
    public var models: [ModelRecord]

    /// Creates a snapshot.
    public init(instances: [InstanceRecord] = [], models: [ModelRecord] = []) {
        self.instances = instances
        self.models = models
    }

    package init(_ records: some Sequence<DiscoveryRecord>, filter: NamespaceFilter = .all) {
        self.init()
        for record in records.filter({ filter.matches($0.namespace) }).sorted(by: { $0.key < $1.key }) {
            switch record {
            case .instance(let record): self.instances.append(record)
            case .model(let record): self.models.append(record)
            }
        }
    }
}
