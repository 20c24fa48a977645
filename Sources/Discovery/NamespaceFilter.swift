/// Which namespaces a reader looks at.
///
/// Source: `discovery.md` 6, "Namespaces".
public enum NamespaceFilter: Sendable, Hashable {
    /// Every namespace.
    case all
    /// This one.
    case exact(String)
    /// Those whose name begins so.
    case prefix(String)

    /// The rule of Dynamo's frontend: a prefix wins; no name, an empty one or `dynamo` means every namespace.
    public init(namespace: String?, prefix: String? = nil) {
        if let prefix, !prefix.isEmpty {
            self = .prefix(prefix)
        } else if let namespace, !namespace.isEmpty, namespace != "dynamo" {
            self = .exact(namespace)
        } else {
            self = .all
        }
    }

    /// Whether a namespace is one of them.
    public func matches(_ namespace: String) -> Bool {
        switch self {
        case .all: true
        case .exact(let name): namespace == name
        case .prefix(let prefix): namespace.hasPrefix(prefix)
        }
    }
}
