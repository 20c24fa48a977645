extension ManifestDecoder {
    /// Whether, and how, the launcher serves the public port itself; nil when the frontend has it.
    ///
    /// When the manifest does not say, the launcher does for frontends that take their port from it; one that says its own port, or that is
    /// a program of the user, keeps what it has.
    ///
    /// - Parameters:
    ///   - node: what the manifest says.
    ///   - processes: all of them.
    ///   - shared: the environment of all processes.
    /// - Returns: how.
    mutating func gateway(
        _ node: ManifestNode?,
        processes: [ProcessManifest],
        shared: [EnvironmentEntry]
    ) -> GatewayPlan? {
        guard let node else {
            let frontends = processes.filter { $0.role == .frontend && $0.replicas > 0 }
            let takePorts = frontends.allSatisfy { frontend in
                (frontend.isBuiltin || frontend.isDynamo) && !frontend.saysItsPort(shared)
            }
            return frontends.isEmpty || !takePorts ? nil : GatewayPlan()
        }
        switch node.content {
        case .scalar(let scalar) where scalar.text == "true": return GatewayPlan()
        case .scalar(let scalar) where scalar.text == "false": return nil
        case .mapping: break
        default:
            self.node.wrongType(
                node,
                "'gateway'",
                wanted: "true, false or a mapping",
                remedy: "write 'gateway: true' for a public port that never refuses"
            )
            return nil
        }
        var gateway = GatewayPlan()
        guard let fields = self.node.fields(node, of: "'gateway'", keys: ManifestKey.gateway) else { return gateway }
        if let hold = fields["hold"] { gateway.hold = self.hold(hold.value) ?? gateway.hold }
        if let limit = fields["bodyLimit"].flatMap({
            self.node.integer($0.value, "'gateway.bodyLimit'", in: 1...Int.max)
        }) {
            gateway.bodyLimit = limit.value
        }
        if let connections = fields["connections"].flatMap({
            self.node.integer($0.value, "'gateway.connections'", in: 1...1_000_000)
        }) {
            gateway.connections = connections.value
        }
        return gateway
    }

    private mutating func hold(_ node: ManifestNode) -> GatewayPlan.Hold? {
        if case .scalar(let scalar) = node.content, scalar.text == "false" { return GatewayPlan.Hold(requests: 0) }
        guard let fields = self.node.fields(node, of: "'gateway.hold'", keys: ManifestKey.hold) else { return nil }
        var hold = GatewayPlan.Hold()
        if let requests = fields["requests"].flatMap({
            self.node.integer($0.value, "'gateway.hold.requests'", in: 0...1_000_000)
        }) {
            hold.requests = requests.value
        }
        if let bytes = fields["bytes"].flatMap({
            self.node.integer($0.value, "'gateway.hold.bytes'", in: 0...Int.max)
        }) {
            hold.bytes = bytes.value
        }
        if let time = fields["time"].flatMap({ self.node.duration($0.value, "'gateway.hold.time'") }) {
            hold.time = time
        }
        return hold
    }
}
