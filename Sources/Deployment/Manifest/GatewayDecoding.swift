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
        self.integer(fields["bodyLimit"], "bodyLimit", in: 1...Int.max, &gateway.bodyLimit)
        self.integer(fields["headerLimit"], "headerLimit", in: 1024...(1 << 24), &gateway.headerLimit)
        self.integer(fields["connections"], "connections", in: 1...1_000_000, &gateway.connections)
        if let timeouts = fields["timeouts"] { gateway.timeouts = self.timeouts(timeouts.value) }
        if let tls = fields["tls"] { gateway.tls = self.tls(tls.value) }
        if let listeners = fields["listeners"] {
            gateway.listeners = self.listeners(listeners.value, isSecure: fields["tls"] != nil)
        }
        if let metrics = fields["metrics"] { gateway.metrics = self.metrics(metrics.value) }
        if let idle = fields["idleExit"].flatMap({ self.node.duration($0.value, "'gateway.idleExit'") }) {
            gateway.idleExit = idle
        }
        return gateway
    }

    private mutating func integer(
        _ entry: ManifestNode.Entry?,
        _ key: String,
        in range: ClosedRange<Int>,
        _ value: inout Int
    ) {
        guard let number = entry.flatMap({ self.node.integer($0.value, "'gateway.\(key)'", in: range) }) else { return }
        value = number.value
    }

    private mutating func duration(_ entry: ManifestNode.Entry?, _ key: String, _ value: inout Double) {
        guard let seconds = entry.flatMap({ self.node.duration($0.value, "'gateway.\(key)'") }) else { return }
        value = seconds
    }

    private mutating func hold(_ node: ManifestNode) -> GatewayPlan.Hold? {
        if case .scalar(let scalar) = node.content, scalar.text == "false" { return GatewayPlan.Hold(requests: 0) }
        guard let fields = self.node.fields(node, of: "'gateway.hold'", keys: ManifestKey.hold) else { return nil }
        var hold = GatewayPlan.Hold()
        self.integer(fields["requests"], "hold.requests", in: 0...1_000_000, &hold.requests)
        self.integer(fields["bytes"], "hold.bytes", in: 0...Int.max, &hold.bytes)
        self.duration(fields["time"], "hold.time", &hold.time)
        return hold
    }

    private mutating func timeouts(_ node: ManifestNode) -> GatewayPlan.Timeouts {
        var timeouts = GatewayPlan.Timeouts()
        let what = "'gateway.timeouts'"
        guard let fields = self.node.fields(node, of: what, keys: ManifestKey.gatewayTimeouts) else { return timeouts }
        self.duration(fields["header"], "timeouts.header", &timeouts.header)
        self.duration(fields["body"], "timeouts.body", &timeouts.body)
        self.duration(fields["idle"], "timeouts.idle", &timeouts.idle)
        self.duration(fields["write"], "timeouts.write", &timeouts.write)
        return timeouts
    }

    private mutating func tls(_ node: ManifestNode) -> GatewayPlan.TLS? {
        guard let fields = self.node.fields(node, of: "'gateway.tls'", keys: ManifestKey.tls) else { return nil }
        for key in ManifestKey.tls where fields[key] == nil {
            self.node.error(
                at: node.location,
                "'gateway.tls' has no '\(key)'",
                remedy: "add '\(key): FILE', a file in PEM form"
            )
        }
        guard
            let certificate = fields["certificate"].flatMap({ self.node.text($0.value, "'gateway.tls.certificate'") }),
            let key = fields["key"].flatMap({ self.node.text($0.value, "'gateway.tls.key'") })
        else { return nil }
        return GatewayPlan.TLS(certificate: certificate.value, key: key.value)
    }

    private mutating func metrics(_ node: ManifestNode) -> HTTPAddress? {
        guard let text = self.node.text(node, "'gateway.metrics'") else { return nil }
        guard let address = AddressText.listening(text.value, host: "127.0.0.1") else {
            self.node.error(
                at: text.location,
                "'gateway.metrics' is no address: '\(Spelling.excerpt(text.value))'",
                remedy: "write a port, or HOST:PORT"
            )
            return nil
        }
        self.gatewayPorts.append(GatewayPort(address: Located(address, text.location), use: "metrics"))
        return address
    }
}

// MARK: - Listeners

extension ManifestDecoder {
    private mutating func listeners(_ node: ManifestNode, isSecure: Bool) -> [GatewayPlan.Listener] {
        guard let items = self.node.items(node, "'gateway.listeners'") else { return [] }
        var listeners: [GatewayPlan.Listener] = []
        for item in items {
            guard let listener = self.listener(item, isSecure: isSecure) else { continue }
            if listeners.contains(where: { $0.isSamePlace(as: listener) }) {
                self.node.error(at: item.location, "the listener is there twice", remedy: "remove one of the two")
            }
            listeners.append(listener)
        }
        return listeners
    }

    private mutating func listener(_ node: ManifestNode, isSecure: Bool) -> GatewayPlan.Listener? {
        let what = "an item of 'gateway.listeners'"
        if case .scalar = node.content {
            guard let text = self.node.text(node, what) else { return nil }
            return text.value.hasPrefix("unix:")
                ? self.unix(Located(String(text.value.dropFirst("unix:".count)), text.location), mode: nil)
                : self.address(text, tls: isSecure)
        }
        guard let fields = self.node.fields(node, of: what, keys: ManifestKey.listener) else { return nil }
        switch (fields["address"], fields["unix"]) {
        case (let address?, nil):
            if let mode = fields["mode"] {
                self.node.error(at: mode.keyLocation, "only a Unix socket has a mode", remedy: "remove 'mode'")
            }
            var tls = isSecure
            if let wanted = fields["tls"].flatMap({ self.node.boolean($0.value, "'tls'") }) {
                tls = wanted && isSecure
                if wanted, !isSecure {
                    self.node.error(
                        at: node.location,
                        "a listener with TLS needs a certificate",
                        remedy: "add 'tls: {certificate: FILE, key: FILE}' to 'gateway'"
                    )
                }
            }
            return self.node.text(address.value, "'address'").flatMap { self.address($0, tls: tls) }
        case (nil, let path?):
            if let tls = fields["tls"] {
                self.node.error(at: tls.keyLocation, "a Unix socket is served without TLS", remedy: "remove 'tls'")
            }
            return self.node.text(path.value, "'unix'").flatMap { self.unix($0, mode: fields["mode"]?.value) }
        default:
            self.node.error(
                at: node.location,
                "a listener has either an 'address' or a 'unix' path",
                remedy: "write 'address: HOST:PORT', or 'unix: PATH'"
            )
            return nil
        }
    }

    private mutating func address(_ text: Located<String>, tls: Bool) -> GatewayPlan.Listener? {
        guard let address = AddressText.listening(text.value, host: nil) else {
            self.node.error(
                at: text.location,
                "a listener is no address: '\(Spelling.excerpt(text.value))'",
                remedy: "write HOST:PORT, such as 127.0.0.1:8001 or [::1]:8001, or unix:PATH"
            )
            return nil
        }
        self.gatewayPorts.append(GatewayPort(address: Located(address, text.location), use: "listener"))
        return .address(address, tls: tls)
    }

    private mutating func unix(_ path: Located<String>, mode: ManifestNode?) -> GatewayPlan.Listener? {
        guard path.value.contains(where: { !$0.isWhitespace }) else {
            self.node.error(at: path.location, "the socket has no path", remedy: "write unix:PATH")
            return nil
        }
        guard let mode else { return .unix(path: path.value, mode: "0660") }
        guard let text = self.node.scalar(mode, "'mode'", wanted: "a mode such as 0660") else { return nil }
        guard let match = text.value.text.wholeMatch(of: /0?([0-7]{3})/) else {
            self.node.error(
                at: text.location,
                "'mode' must be three octal digits, not '\(text.value.shown)'",
                remedy: "write 0600 for this user alone, 0660 for its group too, 0666 for everybody"
            )
            return nil
        }
        return .unix(path: path.value, mode: "0\(match.1)")
    }
}

extension GatewayPlan.Listener {
    fileprivate func isSamePlace(as other: Self) -> Bool {
        switch (self, other) {
        case (.address(let one, _), .address(let two, _)): one == two
        case (.unix(let one, _), .unix(let two, _)): one == two
        default: false
        }
    }
}

/// A port that the gateway has beside the public one.
struct GatewayPort: Sendable, Hashable {
    var address: Located<HTTPAddress>
    /// What for, in a word.
    var use: String
}

extension AddressText {
    /// Where to listen.
    ///
    /// - Parameters:
    ///   - text: HOST:PORT; an IPv6 address stands in brackets.
    ///   - host: the host of a text that is only a port; nil: there must be one.
    /// - Returns: the address, an IPv6 host without brackets; nil when the text is none.
    package static func listening(_ text: String, host: String?) -> HTTPAddress? {
        guard let parts = self.split(text) else { return nil }
        guard let port = parts.port else {
            guard let host, let number = Int(text), (1...65535).contains(number) else { return nil }
            return HTTPAddress(host: host, port: number)
        }
        let name = parts.host.hasPrefix("[") ? String(parts.host.dropFirst().dropLast()) : parts.host
        return name.isEmpty ? nil : HTTPAddress(host: name, port: port)
    }
}
