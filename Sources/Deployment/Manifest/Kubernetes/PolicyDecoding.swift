// Who may connect to whom in a cluster.

extension ManifestDecoder {
    mutating func policies(_ fields: [String: ManifestNode.Entry], _ settings: inout KubernetesSettings) {
        if let wanted = fields["networkPolicy"].flatMap({
            self.node.boolean($0.value, "'kubernetes.networkPolicy'")
        }) {
            settings.networkPolicy = wanted
        }
        if let clients = fields["clients"], let items = self.node.items(clients.value, "'kubernetes.clients'") {
            settings.clients = items.compactMap { self.node.label($0, "an item of 'kubernetes.clients'")?.value }
        }
        if let server = fields["apiServer"] { settings.apiServer = self.apiServer(server.value) }
        guard !settings.networkPolicy else { return }
        for (key, verb) in [("clients", "are"), ("apiServer", "is")] {
            guard let entry = fields[key] else { continue }
            self.node.error(
                at: entry.keyLocation,
                "'\(key)' \(verb) admitted by a NetworkPolicy, and 'networkPolicy' is false",
                remedy: "remove one of the two"
            )
        }
    }

    private mutating func apiServer(_ node: ManifestNode) -> KubernetesSettings.APIServer {
        var server = KubernetesSettings.APIServer()
        let what = "'kubernetes.apiServer'"
        guard let fields = self.node.fields(node, of: what, keys: ManifestKey.kubernetesAPIServer) else {
            return server
        }
        for block in fields["addresses"].map({ self.node.texts($0.value, "'apiServer.addresses'") }) ?? [] {
            if KubernetesName.isBlock(block.value) {
                server.addresses.append(block.value)
            } else {
                self.node.error(
                    at: block.location,
                    "'\(Spelling.excerpt(block.value))' is no block of addresses",
                    remedy: "write ADDRESS/BITS, such as 10.0.0.1/32 or fd00::1/128"
                )
            }
        }
        if let entry = fields["ports"], let items = self.node.items(entry.value, "'apiServer.ports'") {
            server.ports = items.compactMap { self.node.port($0, "an item of 'apiServer.ports'")?.value }
            if items.isEmpty {
                self.node.error(
                    at: entry.value.location,
                    "'apiServer.ports' is empty, and pods that may not ask the API server find nobody",
                    remedy: "write its ports, or remove the key for 443 and 6443"
                )
            }
        }
        return server
    }
}

extension KubernetesName {
    /// Addresses as a NetworkPolicy writes them: `10.0.0.0/8`, `fd00::/8`.
    static func isBlock(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let bits = Int(parts[1]), String(bits) == parts[1] else { return false }
        return parts[0].contains(":")
            ? self.isIPv6(parts[0]) && (0...128).contains(bits) : self.isIPv4(parts[0]) && (0...32).contains(bits)
    }

    private static func isIPv4(_ text: Substring) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { part in UInt8(part).map { String($0) == part } ?? false }
    }

    /// Groups of up to four hexadecimal digits: eight, or fewer with `::` once.
    private static func isIPv6(_ text: Substring) -> Bool {
        func groups(_ text: Substring) -> Int? {
            guard !text.isEmpty else { return 0 }
            let groups = text.split(separator: ":", omittingEmptySubsequences: false)
            return groups.allSatisfy { $0.wholeMatch(of: /[0-9A-Fa-f]{1,4}/) != nil } ? groups.count : nil
        }
        guard let gap = text.firstRange(of: "::") else { return groups(text) == 8 }
        guard let before = groups(text[..<gap.lowerBound]), let after = groups(text[gap.upperBound...]) else {
            return false
        }
        return before + after < 8
    }
}
