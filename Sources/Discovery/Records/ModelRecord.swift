public import RequestPlane

/// A model card as it stands in discovery, beside the instance that serves it.
public struct ModelRecord: Sendable, Hashable {
    /// The endpoint that serves the model.
    public var endpoint: EndpointID
    /// The instance that serves it.
    public var id: InstanceID
    /// The slug of a LoRA adapter.
    public var suffix: String?
    /// What the worker says about the model.
    public var card: ModelCard

    /// Creates a record.
    public init(endpoint: EndpointID, id: InstanceID, suffix: String? = nil, card: ModelCard) {
        self.endpoint = endpoint
        self.id = id
        self.suffix = suffix
        self.card = card
    }

    package var key: DiscoveryKey {
        let path = "\(self.endpoint.keyPath)/\(self.id.hex)"
        return DiscoveryKey(bucket: .models, path: self.suffix.map { "\(path)/\($0)" } ?? path)
    }

    package var json: JSONValue {
        var record: JSONFields = [
            "type": "Model",
            "namespace": .string(self.endpoint.namespace),
            "component": .string(self.endpoint.component),
            "endpoint": .string(self.endpoint.name),
            "instance_id": JSONValue(self.id.rawValue),
            "card_json": .object(self.card.fields),
        ]
        if let suffix = self.suffix { record.append("model_suffix", .string(suffix)) }
        return .object(record)
    }

    /// Reads a record of any supported release; unknown fields of the record are ignored, those of the card are kept.
    ///
    /// - Throws: `DiscoveryError` that names the field which is missing or wrong.
    package init(json: JSONValue) throws(DiscoveryError) {
        let fields = try RecordFields(json, type: "Model")
        guard let card = json["card_json"]?.object else { throw fields.wrong("card_json", "an object") }
        self.init(
            endpoint: try fields.endpoint,
            id: try fields.id,
            suffix: json["model_suffix"]?.string,
            card: ModelCard(fields: card)
        )
    }
}
