public import RequestPlane

/// Who publishes the KV events of one rank of a worker, and who answers what was missed of them; Dynamo 1.6.
///
/// A router of that release ignores publishers that have no such record.
///
/// Source: `discovery.md` 5.
public struct EventSourceRecord: Sendable, Hashable {
    /// The endpoint that requests are sent to.
    public var endpoint: EndpointID
    /// For example `kv-events`.
    public var topic: String
    /// The id in the envelopes of the messages.
    public var publisher: InstanceID
    /// The worker whose blocks the events name.
    public var worker: InstanceID
    /// Its data-parallel rank.
    public var rank: UInt32
    /// The endpoint that answers what was missed; nil when the publisher has none.
    public var recovery: InstanceRecord?

    /// Creates a record.
    public init(
        endpoint: EndpointID,
        topic: String,
        publisher: InstanceID,
        worker: InstanceID,
        rank: UInt32 = 0,
        recovery: InstanceRecord? = nil
    ) {
        self.endpoint = endpoint
        self.topic = topic
        self.publisher = publisher
        self.worker = worker
        self.rank = rank
        self.recovery = recovery
    }

    private var scope: EventScope { .endpoint(self.endpoint) }

    package var key: DiscoveryKey {
        DiscoveryKey(bucket: .eventSources, path: self.scope.keyPath(topic: self.topic, id: self.publisher))
    }

    package var json: JSONValue {
        var metadata: JSONFields = [
            "kv_state_endpoint": self.endpoint.scopeJSON,
            "worker": ["worker_id": JSONValue(self.worker.rawValue), "dp_rank": JSONValue(self.rank)],
            "publisher_id": JSONValue(self.publisher.rawValue),
        ]
        // The instance as in its own record, without the type.
        if var recovery = self.recovery?.json.object {
            recovery["type"] = nil
            metadata.append("recovery_target", .object(recovery))
        }
        var record = JSONFields([.init("type", "EventSource")] + self.scope.fields)
        record.append("topic", .string(self.topic))
        record.append("publisher_id", JSONValue(self.publisher.rawValue))
        record.append("metadata", .object(metadata))
        return .object(record)
    }

    /// Reads a record; unknown fields are ignored.
    ///
    /// - Throws: `DiscoveryError` that names the field which is missing or wrong.
    package init(json: JSONValue) throws(DiscoveryError) {
        let fields = try RecordFields(json, type: "EventSource")
        guard case .endpoint(let endpoint) = try EventScope(json, fields) else {
            throw fields.wrong("scope", "an endpoint with namespace, component and name")
        }
        guard let publisher = json["publisher_id"]?.uint64 else {
            throw fields.wrong("publisher_id", "a number from 0 to 2^64-1")
        }
        let metadata = json["metadata"]
        guard let worker = metadata?["worker"]?["worker_id"]?.uint64 else {
            throw fields.wrong("metadata.worker.worker_id", "a number from 0 to 2^64-1")
        }
        guard let rank = UInt32(exactly: metadata?["worker"]?["dp_rank"]?.uint64 ?? 0) else {
            throw fields.wrong("metadata.worker.dp_rank", "a number from 0 to 2^32-1")
        }
        var recovery: InstanceRecord?
        if let target = metadata?["recovery_target"], var members = target.object {
            members["type"] = "Endpoint"
            recovery = try InstanceRecord(json: .object(members))
        }
        self.init(
            endpoint: endpoint,
            topic: try fields.string("topic"),
            publisher: InstanceID(rawValue: publisher),
            worker: InstanceID(rawValue: worker),
            rank: rank,
            recovery: recovery
        )
    }
}
