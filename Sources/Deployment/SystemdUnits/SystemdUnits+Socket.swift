/// The unit of the public port, which systemd opens itself.
extension SystemdUnits {
    /// Connections that wait to be accepted; the system may allow fewer (net.core.somaxconn).
    private static let backlog = 4096

    var socket: String {
        let lines =
            self.head + [
                "[Unit]",
                "Description=\(UnitText.plain("Public port of Dynamo deployment \(self.plan.deployment)"))",
                "",
                "[Socket]",
                "# The first connection starts the service; it waits, and so do others, until the launcher takes them.",
                "ListenStream=\(self.listenAddress ?? "")",
                "FileDescriptorName=public",
                "Backlog=\(Self.backlog)",
                "",
                "[Install]",
                "WantedBy=sockets.target",
            ]
        return lines.joined(separator: "\n") + "\n"
    }

    /// The public address as systemd writes it; nil when it is a name.
    private var listenAddress: String? {
        let address = self.plan.publicAddress
        let host = address.host.trimmingBrackets
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
        guard self.listenAddress == nil else { return [] }
        return [
            Diagnostic(
                at: place,
                "systemd listens on addresses only, and 'http.host' is the name '\(self.plan.publicAddress.host)'",
                remedy: "write its address, or 0.0.0.0 for all of this machine"
            )
        ]
    }
}

extension String {
    fileprivate var trimmingBrackets: String {
        self.hasPrefix("[") && self.hasSuffix("]") ? String(self.dropFirst().dropLast()) : self
    }
}
