public import RequestPlane

/// A running copy of an endpoint as it stands in discovery.
///
/// Source: `discovery.md` 4.
public struct InstanceRecord: Sendable, Hashable {
    /// The instance.
    public var instance: Instance
    /// For example `cuda`; Dynamo 1.0 does not write it.
    public var deviceType: String?
    /// How the instance likes request bodies; Dynamo 1.6 only.
    ///
    /// Absent means JSON, and every release takes JSON.
    public var codec: PayloadCodec?

    /// How bodies are encoded.
    public enum PayloadCodec: String, Sendable, Hashable {
        /// JSON, which every release understands.
        case json
        /// MessagePack, from 1.6 on.
        case msgpack
    }

    /// Creates a record.
    public init(_ instance: Instance, deviceType: String? = nil, codec: PayloadCodec? = nil) {
        self.instance = instance
        self.deviceType = deviceType
        self.codec = codec
    }

    package var key: DiscoveryKey { DiscoveryKey(bucket: .instances, path: self.instance.keyPath) }

    package var json: JSONValue {
        var record: JSONFields = ["type": "Endpoint"]
        record.append(self.instance)
        if let deviceType = self.deviceType { record.append("device_type", .string(deviceType)) }
        if let codec = self.codec { record.append("request_plane_codec", .string(codec.rawValue)) }
        return .object(record)
    }

    /// Reads a record of any supported release; unknown fields are ignored.
    ///
    /// - Throws: `DiscoveryError` that names the field which is missing or wrong.
    package init(json: JSONValue) throws(DiscoveryError) {
        let fields = try RecordFields(json, type: "Endpoint")
        guard let transport = json["transport"]?.object,
            let (kind, value) = transport.members.first.map({ ($0.name, $0.value) }),
            transport.members.count == 1
        else { throw fields.wrong("transport", "an object with one member") }
        guard let address = value.string else { throw fields.wrong("transport.\(kind)", "a string") }
        let transportAddress: TransportAddress
        switch kind {
        case "tcp": transportAddress = .tcp(address)
        case "http": transportAddress = .http(address)
        case "nats_tcp": transportAddress = .nats(address)
        default: throw fields.wrong("transport", "tcp, http or nats_tcp, not \(kind)")
        }
        var codec: PayloadCodec?
        if let name = json["request_plane_codec"], !name.isNull {
            codec = name.string.flatMap(PayloadCodec.init(rawValue:))
            guard codec != nil else { throw fields.wrong("request_plane_codec", "json or msgpack") }
        }
        self.init(
            Instance(endpoint: try fields.endpoint, id: try fields.id, transport: transportAddress),
            deviceType: json["device_type"]?.string,
            codec: codec
        )
    }
}

extension JSONFields: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self.init(elements.map { Member($0.0, $0.1) })
    }

    /// Adds the fields that the instance record and `/health` share.
    package mutating func append(_ instance: Instance) {
        self.append("component", .string(instance.endpoint.component))
        self.append("endpoint", .string(instance.endpoint.name))
        self.append("namespace", .string(instance.endpoint.namespace))
        self.append("instance_id", JSONValue(instance.id.rawValue))
        let kind =
            switch instance.transport {
            case .tcp: "tcp"
            case .http: "http"
            case .nats: "nats_tcp"
            }
        self.append("transport", .object([kind: .string(instance.transport.value)]))
    }
}

extension Instance {
    var keyPath: String { "\(self.endpoint.keyPath)/\(self.id.hex)" }
}

extension EndpointID {
    var keyPath: String { "\(self.namespace)/\(self.component)/\(self.name)" }
}

/// Reads the fields that all records share, with errors that name the field.
struct RecordFields {
    private let json: JSONValue
    private let type: String

    init(_ json: JSONValue, type: String) throws(DiscoveryError) {
        self.json = json
        self.type = type
        guard json["type"]?.string == type else {
            let found = json["type"]?.string.map { "`\($0)`" } ?? json.kind
            throw DiscoveryError(.invalidRecord, "expected a record of type `\(type)`, found \(found)")
        }
    }

    var endpoint: EndpointID {
        get throws(DiscoveryError) {
            EndpointID(
                namespace: try self.string("namespace"),
                component: try self.string("component"),
                name: try self.string("endpoint")
            )
        }
    }

    var id: InstanceID {
        get throws(DiscoveryError) {
            guard let id = self.json["instance_id"]?.uint64 else {
                throw self.wrong("instance_id", "a number from 0 to 2^64-1")
            }
            return InstanceID(rawValue: id)
        }
    }

    func string(_ name: String) throws(DiscoveryError) -> String {
        guard let value = self.json[name]?.string else { throw self.wrong(name, "a string") }
        return value
    }

    func wrong(_ field: String, _ expected: String) -> DiscoveryError {
        DiscoveryError(.invalidRecord, "`\(self.type)` record: field `\(field)` must be \(expected)")
    }
}
