/// The name of a served function, `namespace.component.endpoint`.
public struct EndpointID: Hashable, Sendable, CustomStringConvertible {
    /// The Dynamo namespace, which keeps deployments apart.
    public var namespace: String
    /// The component inside the namespace, for example `backend`.
    public var component: String
    /// The endpoint of the component, for example `generate`.
    public var name: String

    /// Creates a name from its three parts.
    public init(namespace: String, component: String, name: String) {
        self.namespace = namespace
        self.component = component
        self.name = name
    }

    /// The dotted form.
    public var description: String { "\(self.namespace).\(self.component).\(self.name)" }
}
