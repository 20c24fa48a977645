import RequestPlane

/// Anything that a process publishes.
public enum DiscoveryRecord: Sendable, Hashable {
    /// A running copy of an endpoint.
    case instance(InstanceRecord)
    /// A model that an instance serves.
    case model(ModelRecord)

    package var key: DiscoveryKey {
        switch self {
        case .instance(let record): record.key
        case .model(let record): record.key
        }
    }

    package var json: JSONValue {
        switch self {
        case .instance(let record): record.json
        case .model(let record): record.json
        }
    }

    package var namespace: String {
        switch self {
        case .instance(let record): record.instance.endpoint.namespace
        case .model(let record): record.endpoint.namespace
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
        }
    }
}
