/// The unit of the public port, which systemd opens itself.
extension SystemdUnits {
    /// Connections that wait to be accepted; the system may allow fewer (net.core.somaxconn).
    private static let backlog = 4096

    var socket: String {
        var lines =
            self.head + [
                "[Unit]",
                "Description=\(UnitText.plain("Public port of Dynamo deployment \(self.plan.deployment)"))",
                "",
                "[Socket]",
                "# The first connection starts the service; it waits, and so do others, until the launcher takes them.",
            ]
        lines += self.addresses.compactMap(Self.listenAddress).map { "ListenStream=\($0)" }
        for (path, mode) in self.sockets {
            lines.append("ListenStream=\(UnitText.path(path))")
            if path != self.sockets.first?.path { continue }
            // As if the launcher had opened it.
            if self.options.scope == .system { lines.append("SocketUser=\(self.options.user)") }
            lines += ["SocketMode=\(mode)", "RemoveOnStop=yes"]
        }
        lines += ["FileDescriptorName=public", "Backlog=\(Self.backlog)", "", "[Install]", "WantedBy=sockets.target"]
        return lines.joined(separator: "\n") + "\n"
    }

    /// What the gateway listens on.
    private var addresses: [HTTPAddress] {
        [self.plan.publicAddress]
            + (self.plan.gateway?.listeners ?? []).compactMap { listener in
                if case .address(let address, _) = listener { address } else { nil }
            }
    }

    private var sockets: [(path: String, mode: String)] {
        (self.plan.gateway?.listeners ?? []).compactMap { listener in
            if case .unix(let path, let mode) = listener { (path, mode) } else { nil }
        }
    }

    /// An address as systemd writes it; nil when it is a name.
    private static func listenAddress(_ address: HTTPAddress) -> String? {
        let host = address.host.filter { $0 != "[" && $0 != "]" }
        if host == "localhost" { return "127.0.0.1:\(address.port)" }
        if host.contains(":") { return "[\(host)]:\(address.port)" }
        let isNumeric = host.split(separator: ".", omittingEmptySubsequences: false).count == 4
        guard isNumeric, host.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }) else { return nil }
        return "\(host):\(address.port)"
    }

    /// What keeps systemd from having the public port.
    func impossibleSocket() -> [Diagnostic] {
        guard self.options.hasSocket else { return [] }
        let place = Location(file: self.options.manifest ?? "the command line")
        guard self.plan.gateway != nil else {
            return [
                Diagnostic(
                    at: place,
                    "systemd cannot have the public port: a frontend opens it itself ('gateway: false')",
                    remedy: "write 'gateway: true', or leave out --socket"
                )
            ]
        }
        var diagnostics = self.addresses.filter { Self.listenAddress($0) == nil }.map { address in
            Diagnostic(
                at: place,
                "systemd listens on addresses only, and '\(address.host)' is a name",
                remedy: "write its address, or 0.0.0.0 for all of this machine"
            )
        }
        if Set(self.sockets.map(\.mode)).count > 1 {
            diagnostics.append(
                Diagnostic(
                    at: place,
                    "the Unix sockets of one socket unit have one mode, and those of 'gateway.listeners' have several",
                    remedy: "give them the same 'mode', or leave out --socket"
                )
            )
        }
        return diagnostics
    }
}
