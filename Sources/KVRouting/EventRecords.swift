package import Discovery
package import KVEvents
import RequestPlane

// What discovery says about a worker's event channels, in the form of each release.

extension EventChannel {
    /// Where the messages of this channel are published.
    package var record: EventChannelRecord {
        let scope: EventScope =
            switch self.form {
            case .release12:
                self.topic == .load
                    ? .namespace(self.endpoint.namespace)
                    : .component(namespace: self.endpoint.namespace, component: self.endpoint.component)
            case .release16: .endpoint(self.endpoint)
            }
        let transport: EventChannelRecord.Transport =
            switch self.address {
            case .nats(let prefix): .nats(subjectPrefix: prefix)
            case .zmq(let endpoint): .zmq(endpoint: endpoint)
            }
        return EventChannelRecord(
            scope: scope,
            topic: self.topic.rawValue,
            publisher: InstanceID(rawValue: self.publisher),
            transport: transport
        )
    }
}

extension PublisherConfiguration {
    /// Who publishes and who answers what was missed; only 1.6 has such a record.
    ///
    /// - Parameter instances: what the worker serves.
    /// - Returns: the record, nil on 1.2.
    package func sourceRecord(_ instances: [InstanceRecord]) -> EventSourceRecord? {
        guard self.form == .release16 else { return nil }
        return EventSourceRecord(
            endpoint: self.endpoint,
            topic: KVEventTopic.events.rawValue,
            publisher: InstanceID(rawValue: self.publisher),
            worker: InstanceID(rawValue: self.worker),
            rank: self.rank,
            recovery: instances.first { $0.instance.endpoint == self.queryEndpoint }
        )
    }
}
