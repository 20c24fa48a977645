/// What discovery holds at one moment, in the order of the keys.
public struct DiscoverySnapshot: Sendable, Hashable {
    /// The running copies of endpoints.
    public var instances: [InstanceRecord]
    /// The models, each beside the instance that serves it.
    public var models: [ModelRecord]
    /// Where messages of the event plane are published.
    public var eventChannels: [EventChannelRecord]
    /// Who publishes the KV events of workers; Dynamo 1.6.
    public var eventSources: [EventSourceRecord]

    /// Creates a snapshot.
    public init(
        instances: [InstanceRecord] = [],
        models: [ModelRecord] = [],
        eventChannels: [EventChannelRecord] = [],
        eventSources: [EventSourceRecord] = []
    ) {
        self.instances = instances
        self.models = models
        self.eventChannels = eventChannels
        self.eventSources = eventSources
    }

    package init(_ records: some Sequence<DiscoveryRecord>, filter: NamespaceFilter = .all) {
        self.init()
        for record in records.filter({ filter.matches($0.namespace) }).sorted(by: { $0.key < $1.key }) {
            switch record {
            case .instance(let record): self.instances.append(record)
            case .model(let record): self.models.append(record)
            case .eventChannel(let record): self.eventChannels.append(record)
            case .eventSource(let record): self.eventSources.append(record)
            }
        }
    }
}
