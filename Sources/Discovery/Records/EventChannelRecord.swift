public import RequestPlane

/// Where a process publishes the messages of an event topic, as it stands in discovery.
///
/// With ZeroMQ it tells subscribers where to connect; with NATS, where every subscriber knows the subject, it only lists who publishes.
///
/// Source: `discovery.md` 5.
public struct EventChannelRecord: Sendable, Hashable {
    /// The way of the messages.
    public enum Transport: Sendable, Hashable {
        /// NATS core; the subject is the prefix, a dot and the topic.
        case nats(subjectPrefix: String)
        /// A PUB socket, for example `tcp://10.0.0.5:39337`.
        case zmq(endpoint: String)
    }

    /// Whom the messages are about.
    public var scope: EventScope
    /// For example `kv-events`.
    public var topic: String
    /// Who publishes: the process's instance id on Dynamo 1.0 to 1.2, an id of the publisher's own on 1.6.
    public var publisher: InstanceID
    /// The way of the messages.
    public var transport: Transport

    /// Creates a record.
    public init(scope: EventScope, topic: String, publisher: InstanceID, transport: Transport) {
        self.scope = scope
        self.topic = topic
        self.publisher = publisher
        self.transport = transport
    }

    package var key: DiscoveryKey {
        DiscoveryKey(bucket: .eventChannels, path: self.scope.keyPath(topic: self.topic, id: self.publisher))
    }

    package var json: JSONValue {
        var record = JSONFields([.init("type", "EventChannel")] + self.scope.fields)
        record.append("topic", .string(self.topic))
        record.append("instance_id", JSONValue(self.publisher.rawValue))
        let transport: JSONValue =
            switch self.transport {
            case .nats(let prefix): ["kind": "Nats", "config": ["subject_prefix": .string(prefix)]]
            case .zmq(let endpoint): ["kind": "Zmq", "config": ["endpoint": .string(endpoint)]]
            }
        record.append("transport", transport)
        return .object(record)
    }

    /// Reads a record of any supported release; unknown fields are ignored.
    ///
    /// - Throws: `DiscoveryError` that names the field which is missing or wrong.
    package init(json: JSONValue) throws(DiscoveryError) {
        let fields = try RecordFields(json, type: "EventChannel")
        let config = json["transport"]?["config"]
        let transport: Transport
        switch json["transport"]?["kind"]?.string {
        case "Nats":
            guard let prefix = config?["subject_prefix"]?.string else {
                throw fields.wrong("transport.config.subject_prefix", "a string")
            }
            transport = .nats(subjectPrefix: prefix)
        case "Zmq":
            guard let endpoint = config?["endpoint"]?.string else {
                throw fields.wrong("transport.config.endpoint", "a string")
            }
            transport = .zmq(endpoint: endpoint)
        default: throw fields.wrong("transport.kind", "Nats or Zmq")
        }
        self.init(
            scope: try EventScope(json, fields),
            topic: try fields.string("topic"),
            publisher: try fields.id,
            transport: transport
        )
    }
}
