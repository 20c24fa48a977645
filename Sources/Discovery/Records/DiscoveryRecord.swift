import RequestPlane

/// Anything that a process publishes.
public enum DiscoveryRecord: Sendable, Hashable {
    /// A running copy of an endpoint.
    case instance(InstanceRecord)
    /// A model that an instance serves.
    case model(ModelRecord)
    /// Where messages of the event plane are published.
    case eventChannel(EventChannelRecord)
    /// Who publishes the KV events of a worker; Dynamo 1.6.
    case eventSource(EventSourceRecord)

    package var key: DiscoveryKey {
        switch self {
        case .instance(let record): record.key
        case .model(let record): record.key
        case .eventChannel(let record): record.key
        case .eventSource(let record): record.key
        }
    }

    package var json: JSONValue {
        switch self {
        case .instance(let record): record.json
        case .model(let record): record.json
        case .eventChannel(let record): record.json
        case .eventSource(let record): record.json
        }
    }

    package var namespace: String {
        switch self {
        case .instance(let record): record.instance.endpoint.namespace
        case .model(let record): record.endpoint.namespace
        case .eventChannel(let record): record.scope.namespace
        case .eventSource(let record): record.endpoint.namespace
        }
    }

    /// Reads what stands in a bucket.
    ///
    /// - Throws: `DiscoveryError` when the bytes are not a record of that bucket.
    package init(bucket: DiscoveryBucket, bytes: some Sequence<UInt8>) throws(DiscoveryError) {
        let json: JSONValue
        do { json = try JSONValue(parsing: bytes) } catch {
            throw DiscoveryError(.invalidRecord, "not JSON", cause: error)
        }
        switch bucket {
        case .instances: self = .instance(try InstanceRecord(json: json))
        case .models: self = .model(try ModelRecord(json: json))
        case .eventChannels: self = .eventChannel(try EventChannelRecord(json: json))
        case .eventSources: self = .eventSource(try EventSourceRecord(json: json))
        }
    }
}
