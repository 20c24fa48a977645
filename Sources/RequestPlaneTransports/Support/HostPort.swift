import NIOCore
import RequestPlane

/// `host:port` as it stands in addresses: an IPv6 host may be in brackets or bare.
struct HostPort: Hashable, Sendable, CustomStringConvertible {
    var host: String
    var port: Int

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads the text; nil when there is no port or it is out of range.
    init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty, !host.contains("/") else { return nil }
        self.init(host: String(host), port: Int(port))
    }

    /// The text, an IPv6 host in brackets.
    var description: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }
}

/// The address of a TCP instance: `IP:PORT/<endpoint path>`.
struct TCPInstanceAddress: Hashable, Sendable {
    var target: HostPort
    var path: String

    /// Reads the address of an instance record.
    ///
    /// - Parameter text: the value in the record, used verbatim.
    /// - Throws: `RequestPlaneError` when it has no port or no path.
    init(_ text: String) throws(RequestPlaneError) {
        guard let slash = text.firstIndex(of: "/"), let target = HostPort(text[..<slash]) else {
            throw RequestPlaneError(
                .connectFailed,
                "instance address '\(text)' is not IP:PORT/<endpoint path>; the instance's discovery record is wrong"
            )
        }
        self.target = target
        self.path = String(text[text.index(after: slash)...])
    }
}
