internal import OrderedCollections

/// The NetworkPolicies: everything is closed, and each process may open and accept what the planes need.
enum PlainNetworkPolicies {
    static func ofGeneration(_ names: PlainNames, _ connections: PlaneConnections) -> [KubernetesObject] {
        guard names.plan.settings.networkPolicy else { return [] }
        let all = connections.all
        return [self.closed(names)] + names.plan.processes.map { self.open($0, all, names) }
    }

    /// A server accepts what has to do with the planes, of whatever generation, and opens nothing.
    static func ofServer(_ server: PlainServer, _ names: PlainNames) -> KubernetesObject {
        let roles: YAMLValue = ["frontend", "router", "worker"]
        let from: YAMLValue = [
            "podSelector": [
                "matchLabels": [KubernetesLabels.instance: .text(names.plan.deployment)],
                "matchExpressions": [["key": .text(KubernetesLabels.role), "operator": "In", "values": roles]],
            ]
        ]
        let ports = server.ports.filter { $0.name == "client" }.map { self.port(.init($0.number)) }.flatMap { $0 }
        let rules = [Rule(purpose: "clients of the planes", peers: [from], ports: ports)]
        return self.policy(
            names.server(server.component),
            selector: names.serverSelector(component: server.component),
            labels: names.serverLabels(component: server.component),
            ingress: rules,
            egress: [],
            names
        )
    }

    // MARK: Policies

    private struct Rule {
        var purpose: String
        /// nil: whoever it is.
        var peers: [YAMLValue]?
        var ports: [YAMLValue]
    }

    private static func closed(_ names: PlainNames) -> KubernetesObject {
        self.policy(
            "\(names.plan.name)-closed",
            selector: names.pods.generation,
            labels: names.labels,
            ingress: [],
            egress: [],
            names
        )
    }

    private static func open(
        _ process: ClusterProcess,
        _ connections: [Connection],
        _ names: PlainNames
    ) -> KubernetesObject {
        func rules(_ connections: [Connection], _ other: (Connection) -> Connection.Party) -> [Rule] {
            connections.map { connection in
                Rule(
                    purpose: connection.purpose,
                    peers: self.peers(other(connection), names),
                    ports: connection.ports.flatMap(self.port)
                )
            }
        }
        return self.policy(
            names.process(process),
            selector: names.pods.of(process),
            labels: names.labels(of: process),
            ingress: rules(connections.filter { $0.isAccepted(by: process.name) }, \.from),
            egress: rules(connections.filter { $0.isOpened(by: process.name) }, \.to),
            names
        )
    }

    private static func policy(
        _ name: String,
        selector: KeyedYAML,
        labels: KeyedYAML,
        ingress: [Rule],
        egress: [Rule],
        _ names: PlainNames
    ) -> KubernetesObject {
        var annotations: KeyedYAML = [:]
        var spec: KeyedYAML = [
            "podSelector": ["matchLabels": .keyed(selector)], "policyTypes": ["Ingress", "Egress"],
        ]
        for (direction, other, rules) in [("ingress", "from", ingress), ("egress", "to", egress)] where !rules.isEmpty {
            // YAML's comments do not reach a cluster; this does.
            annotations["dynamo-launch/\(direction)"] = .text(OrderedSet(rules.map(\.purpose)).joined(separator: ", "))
            spec[direction] = .list(
                rules.map { rule in
                    var fields: KeyedYAML = [:]
                    fields[other] = rule.peers.map(YAMLValue.list)
                    fields["ports"] = .list(rule.ports)
                    return .keyed(fields)
                }
            )
        }
        return names.object(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            name: name,
            labels: labels,
            annotations: annotations,
            ["spec": .keyed(spec)]
        )
    }

    // MARK: Parts of rules

    private static func port(_ ports: Connection.Ports) -> [YAMLValue] {
        var fields: KeyedYAML = ["protocol": ports.isUDP ? "UDP" : "TCP", "port": .number(ports.first)]
        fields["endPort"] = ports.last.map(YAMLValue.number)
        return [.keyed(fields)]
    }

    /// Who is at the other end; nil: whoever it is.
    static func peers(_ party: Connection.Party, _ names: PlainNames) -> [YAMLValue]? {
        switch party {
        case .processes(let processes):
            let components: YAMLValue = .texts(processes)
            return [
                [
                    "podSelector": [
                        "matchLabels": .keyed(names.pods.generation),
                        "matchExpressions": [
                            ["key": .text(names.pods.process), "operator": "In", "values": components]
                        ],
                    ]
                ]
            ]
        case .server(let component):
            return [["podSelector": ["matchLabels": .keyed(names.serverSelector(component: component))]]]
        case .namespaces(let namespaces, let isOwnToo):
            guard !namespaces.isEmpty else { return nil }
            let others: YAMLValue = [
                "namespaceSelector": [
                    "matchExpressions": [
                        ["key": "kubernetes.io/metadata.name", "operator": "In", "values": .texts(namespaces)]
                    ]
                ]
            ]
            return [others] + (isOwnToo ? [["podSelector": [:]]] : [])
        case .addresses(let block): return block.map { [["ipBlock": ["cidr": .text($0)]]] }
        case .names:
            // The pods of the name server, and the cache on the node that many clusters have in front of it.
            return [
                [
                    "namespaceSelector": ["matchLabels": ["kubernetes.io/metadata.name": "kube-system"]],
                    "podSelector": ["matchLabels": ["k8s-app": "kube-dns"]],
                ],
                ["ipBlock": ["cidr": "169.254.20.10/32"]],
            ]
        }
    }
}
