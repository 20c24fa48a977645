/// Connections that the planes need: who opens them, to whom, to which ports.
///
/// Both sides of a NetworkPolicy, what one pod may open and what the other may accept, are made from it, so that they agree.
struct Connection: Sendable, Hashable {
    /// Who is at an end of it.
    enum Party: Sendable, Hashable {
        /// Processes of the generation, by name.
        case processes([String])
        /// A server that the deployment brings along.
        case server(String)
        /// Pods of some Kubernetes namespaces, and of the deployment's own; no namespaces: everybody.
        case namespaces([String], andOwn: Bool)
        /// Somewhere outside, by its addresses; nil: whatever they are.
        case addresses(String?)
        /// The cluster's name servers.
        case names

        /// Who may ask the public port and read metrics: what the manifest says, and the Gateway that leads to the deployment.
        static func clients(of plan: ClusterPlan) -> Self {
            var namespaces = plan.settings.clients
            if !namespaces.isEmpty, let gateway = plan.settings.route?.gatewayNamespace, !namespaces.contains(gateway) {
                namespaces.append(gateway)
            }
            // A Gateway without a namespace is beside the deployment, and so are its pods.
            let isGatewayBeside = plan.settings.route.map { $0.gatewayNamespace == nil } ?? false
            return .namespaces(namespaces, andOwn: isGatewayBeside)
        }
    }

    struct Ports: Sendable, Hashable {
        var first: Int
        var last: Int?
        var isUDP = false

        init(_ first: Int, through last: Int? = nil, isUDP: Bool = false) {
            self.first = first
            self.last = last
            self.isUDP = isUDP
        }
    }

    /// What it is for, in few words.
    var purpose: String
    var from: Party
    var to: Party
    var ports: [Ports]

    func isOpened(by process: String) -> Bool {
        if case .processes(let names) = self.from { names.contains(process) } else { false }
    }

    func isAccepted(by process: String) -> Bool {
        if case .processes(let names) = self.to { names.contains(process) } else { false }
    }
}
