public import RequestPlane

/// Whom the messages of an event topic are about.
///
/// Source: `discovery.md` 5.
public enum EventScope: Sendable, Hashable {
    /// All workers of a namespace; Dynamo 1.0 to 1.2.
    case namespace(String)
    /// The workers of a component; Dynamo 1.0 to 1.2.
    case component(namespace: String, component: String)
    /// The workers that serve an endpoint; Dynamo 1.6.
    case endpoint(EndpointID)

    /// The deployment's namespace.
    public var namespace: String {
        switch self {
        case .namespace(let namespace), .component(let namespace, _): namespace
        case .endpoint(let endpoint): endpoint.namespace
        }
    }

    /// Whether this scope covers the workers of an endpoint.
    public func covers(_ endpoint: EndpointID) -> Bool {
        switch self {
        case .namespace(let namespace): namespace == endpoint.namespace
        case .component(let namespace, let component):
            namespace == endpoint.namespace && component == endpoint.component
        case .endpoint(let own): own == endpoint
        }
    }

    /// The path of a record of this scope.
    func keyPath(topic: String, id: InstanceID) -> String {
        switch self {
        // Two slashes meet: the component is empty.
        case .namespace(let namespace): "\(namespace)//\(topic)/\(id.hex)"
        case .component(let namespace, let component): "\(namespace)/\(component)/\(topic)/\(id.hex)"
        case .endpoint(let endpoint):
            "namespace/\(endpoint.namespace)/component/\(endpoint.component)/endpoint/\(endpoint.name)"
                + "/topic/\(topic)/\(id.hex)"
        }
    }

    /// The fields that say it.
    var fields: [JSONFields.Member] {
        switch self {
        case .namespace(let namespace):
            [.init("namespace", .string(namespace)), .init("component", "")]
        case .component(let namespace, let component):
            [.init("namespace", .string(namespace)), .init("component", .string(component))]
        case .endpoint(let endpoint):
            [.init("scope", ["kind": "endpoint", "endpoint": endpoint.scopeJSON])]
        }
    }

    /// Reads what stands in a record of any supported release.
    ///
    /// - Throws: `DiscoveryError` when it is none of the known kinds.
    init(_ json: JSONValue, _ fields: RecordFields) throws(DiscoveryError) {
        guard let scope = json["scope"] else {
            let namespace = try fields.string("namespace")
            let component = try fields.string("component")
            self =
                component.isEmpty
                ? .namespace(namespace) : .component(namespace: namespace, component: component)
            return
        }
        guard scope["kind"]?.string == "endpoint", let endpoint = scope["endpoint"].flatMap(EndpointID.init(scope:))
        else { throw fields.wrong("scope", "an endpoint with namespace, component and name") }
        self = .endpoint(endpoint)
    }
}

extension EndpointID {
    /// As 1.6 writes an endpoint in the records of the event plane.
    var scopeJSON: JSONValue {
        [
            "namespace": .string(self.namespace), "component": .string(self.component), "name": .string(self.name),
        ]
    }

    init?(scope json: JSONValue) {
        guard let namespace = json["namespace"]?.string, let component = json["component"]?.string,
            let name = json["name"]?.string
        else { return nil }
        self.init(namespace: namespace, component: component, name: name)
    }
}
