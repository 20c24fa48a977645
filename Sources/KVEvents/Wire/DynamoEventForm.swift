package import RequestPlane

/// What differs on the event plane between releases of Dynamo (contract `kv-events.md`, sections 2, 3 and 6).
package enum DynamoEventForm: Sendable, Hashable, CaseIterable {
    /// Dynamo 1.1 and 1.2; 1.0 reads and writes the same but for fields that it leaves out.
    case release12
    /// Dynamo 1.6.
    case release16

    /// Where messages of a topic are published.
    ///
    /// - Parameters:
    ///   - topic: what they are about.
    ///   - endpoint: the endpoint that requests are sent to, for example `dynamo.backend.generate`.
    /// - Returns: a subject of NATS core.
    package func subject(_ topic: KVEventTopic, of endpoint: EndpointID) -> String {
        "\(self.subjectPrefix(topic, of: endpoint)).\(topic.rawValue)"
    }

    /// What stands in the event-channel record of a topic.
    package func subjectPrefix(_ topic: KVEventTopic, of endpoint: EndpointID) -> String {
        let namespace = "namespace.\(endpoint.namespace)"
        let component = "\(namespace).component.\(endpoint.component)"
        switch self {
        // The load of workers is the only topic that has no component there.
        case .release12: return topic == .load ? namespace : component
        case .release16: return "\(component).endpoint.\(endpoint.name)"
        }
    }

    /// The name of the endpoint that answers what a router has missed.
    ///
    /// - Parameters:
    ///   - rank: the data-parallel rank.
    ///   - publisher: the id of the publisher.
    /// - Returns: a name in the component of the worker.
    package func queryEndpoint(rank: UInt32, publisher: UInt64) -> String {
        switch self {
        case .release12: "worker_kv_indexer_query_dp\(rank)"
        case .release16: "worker_kv_query_source_\(String(publisher, radix: 16))"
        }
    }

    /// Whether one message may carry several events.
    package var takesBatches: Bool { self == .release16 }
}
