/// The host and port of a URL, whatever else it has.
struct ServerAddress: Sendable, Hashable {
    /// A name or an address, IPv6 without brackets.
    var host: String
    var port: Int

    /// - Parameters:
    ///   - url: `nats://user:password@host:4222/path`, or only `host:4222`.
    ///   - port: when the URL names none.
    init?(_ url: String, port: Int) {
        var rest = Substring(url)
        if let scheme = rest.firstRange(of: "://") { rest = rest[scheme.upperBound...] }
        rest = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        if let at = rest.lastIndex(of: "@") { rest = rest[rest.index(after: at)...] }
        var number: Substring?
        if rest.hasPrefix("["), let end = rest.firstIndex(of: "]") {
            let tail = rest[rest.index(after: end)...]
            if tail.hasPrefix(":") { number = tail.dropFirst() }
            rest = rest[rest.index(after: rest.startIndex)..<end]
        } else if let colon = rest.firstIndex(of: ":"), colon == rest.lastIndex(of: ":") {
            number = rest[rest.index(after: colon)...]
            rest = rest[..<colon]
        }
        guard !rest.isEmpty else { return nil }
        self.host = String(rest)
        guard let number else {
            self.port = port
            return
        }
        guard let value = Int(number), (1...65535).contains(value) else { return nil }
        self.port = value
    }

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// The addresses as a NetworkPolicy writes them; nil for a name, whose addresses are not known here.
    var block: String? {
        if self.host.contains(":") { return "\(self.host)/128" }
        let parts = self.host.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, parts.allSatisfy({ UInt8($0) != nil }) else { return nil }
        return "\(self.host)/32"
    }

    var isLoopback: Bool { self.host.lowercased() == "localhost" || self.host == "::1" || self.host.hasPrefix("127.") }

    /// Whether a pod that is told it means itself.
    var isOfPod: Bool { self.isLoopback || ["0.0.0.0", "::", "*", ""].contains(self.host) }

    /// `host:port`.
    var text: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }
}
