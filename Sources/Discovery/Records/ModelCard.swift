/// What a worker says about its model.
///
/// Source: `discovery.md` 6.
///
/// All fields are kept as they were read, so that a card can be passed on unchanged; the properties are views of those that
/// matter here.
package struct ModelCard: Sendable, Hashable {
    package var fields: JSONFields

    /// What kind of input the worker takes.
    package enum Input: String, Sendable, Hashable, CaseIterable {
        /// The OpenAI request itself.
        case text = "Text"
        /// Token ids.
        case tokens = "Tokens"
        case tensor = "Tensor"
    }

    /// What a model can do; flag names joined by ` | ` in the card.
    package struct Kind: OptionSet, Sendable, Hashable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        package static let chat = Kind(rawValue: 1 << 0)
        package static let completions = Kind(rawValue: 1 << 1)
        package static let embedding = Kind(rawValue: 1 << 2)
        package static let tensorBased = Kind(rawValue: 1 << 3)
        package static let prefill = Kind(rawValue: 1 << 4)
        package static let images = Kind(rawValue: 1 << 5)
        package static let audios = Kind(rawValue: 1 << 6)
        package static let videos = Kind(rawValue: 1 << 7)

        static let names: [(String, Kind)] = [
            ("Chat", .chat), ("Completions", .completions), ("Embedding", .embedding), ("TensorBased", .tensorBased),
            ("Prefill", .prefill), ("Images", .images), ("Audios", .audios), ("Videos", .videos),
        ]

        package var text: String { Self.names.filter { self.contains($0.1) }.map(\.0).joined(separator: " | ") }

        /// Reads the names; those of later releases are ignored.
        package init(text: String) {
            let words = text.split(separator: "|").map { $0.trimmingSpaces }
            self = Self.names.reduce(into: []) { kind, name in if words.contains(name.0) { kind.insert(name.1) } }
        }
    }

    package init(fields: JSONFields) { self.fields = fields }

    /// The smallest card that every supported release accepts for a worker that takes un-tokenized requests.
    ///
    /// Without `worker_type` and `needs` Dynamo 1.6 serves it in a compatibility mode that it announces will go away.
    package static func text(name: String, kind: Kind, contextLength: Int) -> ModelCard {
        ModelCard(
            fields: [
                "display_name": .string(name),
                "slug": .string(Self.slug(of: name)),
                "context_length": JSONValue(contextLength),
                "kv_cache_block_size": 16,
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
    package static func slug(of name: String) -> String {
        let replaced = name.lowercased().unicodeScalars.map { scalar -> Character in
            switch scalar {
            case "a"..."z", "0"..."9", "-", "_": Character(scalar)
            default: "_"
            }
        }
        return String(replaced.drop { $0 == "_" })
    }

    /// The name that clients use.
    package var displayName: String? { self.fields["display_name"]?.string }
    package var slug: String? { self.fields["slug"]?.string }
    package var contextLength: Int? { self.fields["context_length"]?.int }
    package var kvCacheBlockSize: Int? { self.fields["kv_cache_block_size"]?.int }
    package var migrationLimit: Int? { self.fields["migration_limit"]?.int }
    package var kind: Kind { Kind(text: self.fields["model_type"]?.string ?? "") }
    package var input: Input? { self.fields["model_input"]?.string.flatMap(Input.init(rawValue:)) }
}

extension Substring {
    fileprivate var trimmingSpaces: String {
        var rest = self
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return String(rest)
    }
}
