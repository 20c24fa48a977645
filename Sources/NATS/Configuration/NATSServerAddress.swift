/// Where a NATS server listens: `nats://host:port`, or `tls://host:port` for an encrypted connection.
package struct NATSServerAddress: Sendable, Hashable, CustomStringConvertible {
    package var host: String
    package var port: Int
    package var isEncrypted: Bool

    package init(host: String, port: Int = 4222, isEncrypted: Bool = false) {
        self.host = host
        self.port = port
        self.isEncrypted = isEncrypted
    }

    /// Reads a URL; a missing port means 4222.
    ///
    /// - Parameter text: the URL, without credentials and without a path.
    /// - Throws: `NATSError` with what is wrong about it.
    package init(url text: String) throws(NATSError) {
        let schemes = [("nats://", false), ("tls://", true)]
        guard let (scheme, isEncrypted) = schemes.first(where: { text.lowercased().hasPrefix($0.0) }) else {
            // A text without a scheme may be anything, a password included: it is not repeated.
            throw NATSError(
                .invalidConfiguration,
                "a NATS server address must start with nats:// or tls://; write for example nats://localhost:4222"
            )
        }
        let rest = text.dropFirst(scheme.count)
        guard !rest.contains("@") else {
            throw NATSError(
                .invalidConfiguration,
                "a NATS server address must not carry credentials, which would end up in logs; "
                    + "set NATS_AUTH_USERNAME and NATS_AUTH_PASSWORD, or NATS_AUTH_TOKEN"
            )
        }
        let authority = rest.hasSuffix("/") ? rest.dropLast() : rest
        guard let (host, port) = Self.split(authority) else {
            throw NATSError(
                .invalidConfiguration,
                "'\(text)' is not a NATS server address; write for example \(scheme)localhost:4222"
            )
        }
        self.init(host: host, port: port, isEncrypted: isEncrypted)
    }

    /// Host and port; an IPv6 address stands in brackets.
    private static func split(_ authority: Substring) -> (String, Int)? {
        let host: Substring
        let port: Substring?
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            host = authority[authority.index(after: authority.startIndex)..<end]
            let rest = authority[authority.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
            port = rest.isEmpty ? nil : rest.dropFirst()
        } else {
            let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count <= 2, let first = parts.first else { return nil }
            host = first
            port = parts.count == 2 ? parts[1] : nil
        }
        let allowed = host.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: ":"), UInt8(ascii: "%"):
                true
            default: false
            }
        }
        guard !host.isEmpty, allowed else { return nil }
        guard let port else { return (String(host), 4222) }
        guard let number = UInt16(port), number > 0 else { return nil }
        return (String(host), Int(number))
    }

    package var description: String {
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        return "\(self.isEncrypted ? "tls" : "nats")://\(host):\(self.port)"
    }
}
