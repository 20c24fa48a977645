/// A manifest as a tree whose every node knows where it stands.
struct ManifestNode: Sendable, Hashable {
    enum Content: Sendable, Hashable {
        /// Nothing was written, or `null`.
        case null
        case scalar(Scalar)
        case sequence([ManifestNode])
        case mapping([Entry])
        /// Has been complained about; whoever meets it keeps silent.
        case invalid
    }

    struct Scalar: Sendable, Hashable {
        var text: String
        /// Whether a part of the text came from a variable whose name sounds like a secret.
        var isSecret = false
        /// Whether the text is a variable that may be missing, and is empty then.
        var isOptional = false
        /// The text before its variables were filled in; nil: it has none.
        var written: String?

        /// The text for messages.
        var shown: String { self.isSecret ? "***" : Spelling.excerpt(self.text) }
    }

    struct Entry: Sendable, Hashable {
        var key: String
        var keyLocation: Location
        var value: ManifestNode
    }

    var location: Location
    var content: Content

    /// What this is, for messages about a wrong type.
    var kind: String {
        switch self.content {
        case .null: "nothing"
        case .scalar(let scalar): "'\(scalar.shown)'"
        case .sequence: "a list"
        case .mapping: "a mapping"
        case .invalid: "an invalid value"
        }
    }
}
