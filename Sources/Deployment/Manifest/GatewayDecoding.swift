extension ManifestDecoder {
    /// Whether, and how, the launcher serves the public port itself; nil when the frontend has it.
    mutating func gateway(_ node: ManifestNode?) -> GatewayPlan? {
        guard let node else { return nil }
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
        if let idle = fields["idleExit"].flatMap({ self.node.duration($0.value, "'gateway.idleExit'") }) {
            gateway.idleExit = idle
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
