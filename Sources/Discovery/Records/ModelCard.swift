/// What a worker says about its model.
///
/// Source: `discovery.md` 6.
///
/// All fields are kept as they were read, so that a card can be passed on unchanged; the properties are views of those that
/// matter here.
public struct ModelCard: Sendable, Hashable {
    package var fields: JSONFields

    /// What kind of input the worker takes.
    public enum Input: String, Sendable, Hashable, CaseIterable {
        /// The OpenAI request itself.
        case text = "Text"
        /// Token ids.
        case tokens = "Tokens"
        /// Tensors.
        case tensor = "Tensor"
    }

    /// What a model can do; flag names joined by ` | ` in the card.
    public struct Kind: OptionSet, Sendable, Hashable {
        /// The flags as bits; not what stands in the card.
        public let rawValue: UInt8
        /// Creates a set from its bits.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Chat completions.
        public static let chat = Kind(rawValue: 1 << 0)
        /// Text completions.
        public static let completions = Kind(rawValue: 1 << 1)
        /// Embeddings.
        public static let embedding = Kind(rawValue: 1 << 2)
        /// Tensors.
        public static let tensorBased = Kind(rawValue: 1 << 3)
        /// The prefill half of a disaggregated deployment.
        public static let prefill = Kind(rawValue: 1 << 4)
        /// Images.
        public static let images = Kind(rawValue: 1 << 5)
        /// Audio.
        public static let audios = Kind(rawValue: 1 << 6)
        /// Video.
        public static let videos = Kind(rawValue: 1 << 7)

        static let names: [(String, Kind)] = [
            ("Chat", .chat), ("Completions", .completions), ("Embedding", .embedding), ("TensorBased", .tensorBased),
            ("Prefill", .prefill), ("Images", .images), ("Audios", .audios), ("Videos", .videos),
        ]

        /// As it stands in the card.
        public var text: String { Self.names.filter { self.contains($0.1) }.map(\.0).joined(separator: " | ") }

        /// Reads the names; those of later releases are ignored.
        public init(text: String) {
            let words = text.split(separator: "|").map { $0.trimmingSpaces }
            self = Self.names.reduce(into: []) { kind, name in if words.contains(name.0) { kind.insert(name.1) } }
        }
    }

    package init(fields: JSONFields) { self.fields = fields }

    /// The smallest card that every supported release accepts for a worker that takes un-tokenized requests.
    ///
    /// Without `worker_type` and `needs` Dynamo 1.6 serves it in a compatibility mode that it announces will go away.
    ///
    /// - Parameters:
    ///   - name: the name that clients use.
    ///   - kind: what the model can do.
    ///   - contextLength: the most tokens that prompt and answer may have together.
    ///   - blockSize: tokens of a block of the KV cache; only routers that go by KV events care.
    /// - Returns: the card.
    public static func text(name: String, kind: Kind, contextLength: Int, blockSize: Int = 16) -> ModelCard {
        ModelCard(
            fields: [
                "display_name": .string(name),
                "slug": .string(Self.slug(of: name)),
                "context_length": JSONValue(contextLength),
                "kv_cache_block_size": JSONValue(blockSize),
                "migration_limit": 0,
                "model_type": .string(kind.text),
                "model_input": .string(Input.text.rawValue),
                "worker_type": "aggregated",
                "needs": [],
            ]
        )
    }

    /// The display name as a key: lower case, other characters than letters, digits, `-` and `_` replaced.
    ///
    /// `/models/tiny` gives `models_tiny`.
    public static func slug(of name: String) -> String {
        let replaced = name.lowercased().unicodeScalars.map { scalar -> Character in
            switch scalar {
            case "a"..."z", "0"..."9", "-", "_": Character(scalar)
            default: "_"
            }
        }
        return String(replaced.drop { $0 == "_" })
    }

    /// The name that clients use.
    public var displayName: String? { self.fields["display_name"]?.string }
    /// The name as a key.
    public var slug: String? { self.fields["slug"]?.string }
    /// The most tokens that prompt and answer may have together.
    public var contextLength: Int? { self.fields["context_length"]?.int }
    /// Tokens in a block of the worker's KV cache.
    public var kvCacheBlockSize: Int? { self.fields["kv_cache_block_size"]?.int }
    /// How often a request may move to another worker.
    public var migrationLimit: Int? { self.fields["migration_limit"]?.int }
    /// What the model can do.
    public var kind: Kind { Kind(text: self.fields["model_type"]?.string ?? "") }
    /// What the worker takes.
    public var input: Input? { self.fields["model_input"]?.string.flatMap(Input.init(rawValue:)) }
}

extension Substring {
    fileprivate var trimmingSpaces: String {
        var rest = self
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return String(rest)
    }
}
