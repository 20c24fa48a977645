import NIOCore
package import RequestPlane

/// Finds the address that other processes can reach this one at.
package enum LocalAddress {
    /// The first IPv4 address that is not loopback, or `127.0.0.1` when there is none.
    package static func firstRoutable() -> String {
        let devices = (try? System.enumerateDevices()) ?? []
        for device in devices {
            guard let address = device.address, case .v4 = address, let text = address.ipAddress else { continue }
            if !text.hasPrefix("127."), !text.hasPrefix("169.254."), text != "0.0.0.0" { return text }
        }
        return "127.0.0.1"
    }

    /// The address that others are told.
    ///
    /// A wildcard is for binding; nobody can connect to it from elsewhere, so what is announced is the routable address.
    ///
    /// - Parameter host: what is configured to be bound.
    /// - Returns: an IP literal.
    static func announced(for host: String?) -> String {
        switch host {
        case nil, "0.0.0.0", "::": self.firstRoutable()
        case let host?: host
        }
    }

    /// The address that a variable says others are told: a literal, an interface's, or the routable one when it is not set.
    ///
    /// - Parameters:
    ///   - text: the variable's value.
    ///   - variable: its name, for errors.
    /// - Returns: an IP literal.
    /// - Throws: `RequestPlaneError` when nobody could connect to it.
    package static func announced(_ text: String?, in variable: String) throws(RequestPlaneError) -> String {
        guard let text else { return self.firstRoutable() }
        guard let literal = self.literal(text) else { return try self.ofInterface(text, in: variable) }
        guard literal != "0.0.0.0", literal != "::" else {
            throw RequestPlaneError(
                .invalidConfiguration,
                "\(variable) is '\(text)', which is no address that others can connect to; write one of this machine, or unset it"
            )
        }
        return literal
    }

    /// The address of a network interface, IPv4 first.
    ///
    /// - Parameters:
    ///   - name: the interface, for example `lo`.
    ///   - variable: where the name stands, for errors.
    /// - Returns: an IP literal.
    /// - Throws: `RequestPlaneError` when there is no such interface or it has no address.
    package static func ofInterface(
        _ name: String,
        in variable: String = "DYN_TCP_RESPONSE_STREAM_HOST"
    ) throws(RequestPlaneError) -> String {
        let devices: [NIONetworkDevice]
        do { devices = try System.enumerateDevices() } catch {
            throw RequestPlaneError(.invalidConfiguration, "cannot list the network interfaces", cause: error)
        }
        var fallback: String?
        for device in devices where device.name == name {
            guard let address = device.address, let text = address.ipAddress else { continue }
            if case .v4 = address { return text }
            fallback = fallback ?? text
        }
        if let fallback { return fallback }
        let names = Set(devices.map(\.name)).sorted().joined(separator: ", ")
        throw RequestPlaneError(
            .invalidConfiguration,
            "Interface not found: '\(name)' in \(variable) has no address; this machine has \(names)"
        )
    }

    /// Whether the text is an IP literal; an IPv6 one may be in brackets.
    package static func literal(_ text: String) -> String? {
        var host = text
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        return (try? SocketAddress(ipAddress: host, port: 0)) == nil ? nil : host
    }
}
