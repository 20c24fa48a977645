import RequestPlane

/// The address of an HTTP instance: `http://HOST:PORT/<path>`.
struct HTTPInstanceURL: Hashable, Sendable {
    var target: HostPort
    /// Path and query, as they stand in a request.
    var path: String

    /// What the request says it is for; without the port when that is the scheme's own.
    var authority: String {
        guard self.target.port == 80 else { return self.target.description }
        return self.target.host.contains(":") ? "[\(self.target.host)]" : self.target.host
    }

    /// Reads the address of an instance record.
    ///
    /// - Parameter text: the value in the record, used verbatim.
    /// - Throws: `RequestPlaneError` when it is no `http` URL.
    init(_ text: String) throws(RequestPlaneError) {
        let scheme = "http://"
        guard text.lowercased().hasPrefix(scheme) else {
            throw Self.error(text, "it does not begin with http://")
        }
        var rest = text.dropFirst(scheme.count)
        if let fragment = rest.firstIndex(of: "#") { rest = rest[..<fragment] }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let authority = rest[..<end]
        // A colon within brackets belongs to an IPv6 address.
        let hasPort = authority.split(separator: "]", omittingEmptySubsequences: false).last?.contains(":") ?? false
        guard !authority.contains("@"), let target = HostPort(hasPort ? String(authority) : "\(authority):80") else {
            throw Self.error(text, "'\(authority)' is not HOST:PORT")
        }
        self.target = target
        let path = PercentEncoding.encodeUnprintable(rest[end...])
        self.path = path.hasPrefix("/") ? path : "/\(path)"
    }

    private static func error(_ text: String, _ reason: String) -> RequestPlaneError {
        RequestPlaneError(
            .connectFailed,
            "instance address '\(text)' is not http://HOST:PORT/<path>: \(reason); the instance's discovery record is wrong"
        )
    }
}
