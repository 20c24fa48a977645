package import NIOCore

/// Where a request goes.
package enum HTTPTarget: Sendable, Hashable {
    case tcp(host: String, port: Int)
    case unix(path: String)
}

/// A request of the small HTTP client.
package struct HTTPRequest: Sendable {
    package var target: HTTPTarget
    package var method: String
    /// Path and query, percent-encoded.
    package var path: String
    package var body: [UInt8]?
    /// Prepares the connection before anything is sent, for example for TLS.
    package var prepare: (@Sendable (any Channel) throws -> Void)?

    package init(target: HTTPTarget, method: String = "GET", path: String, body: [UInt8]? = nil) {
        self.target = target
        self.method = method
        self.path = path
        self.body = body
    }

    /// A request to an `http` URL.
    ///
    /// - Parameters:
    ///   - url: an absolute URL.
    ///   - method: the HTTP method.
    ///   - body: JSON, if any.
    /// - Throws: `HTTPFailure` when the text is no such URL.
    package init(url: String, method: String = "GET", body: [UInt8]? = nil) throws(HTTPFailure) {
        guard url.hasPrefix("http://") else { throw HTTPFailure("\(url) is not an http:// URL") }
        let rest = url.dropFirst("http://".count)
        let slash = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let authority = rest[..<slash]
        var path = String(rest[slash...])
        if !path.hasPrefix("/") { path = "/" + path }
        var host = authority
        var port = 80
        if let colon = authority.lastIndex(of: ":"), !authority[colon...].contains("]") {
            guard let number = Int(authority[authority.index(after: colon)...]), (1...65535).contains(number) else {
                throw HTTPFailure("\(url) has no valid port")
            }
            host = authority[..<colon]
            port = number
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { throw HTTPFailure("\(url) has no host") }
        self.init(target: .tcp(host: String(host), port: port), method: method, path: path, body: body)
    }
}

/// The answer to a request.
package struct HTTPAnswer: Sendable {
    package var status: Int
    package var body: ByteBuffer

    package var isSuccess: Bool { (200..<300).contains(self.status) }
}

/// Why there was no answer, in words for people.
package struct HTTPFailure: Error, Sendable, Hashable, CustomStringConvertible {
    package var description: String
    /// Nobody listens there.
    package var isRefused = false
    /// The other side ended the connection without an answer.
    var isEnd: Bool { self.description.contains("closed") || self.description.contains("reset") }

    package init(_ description: String, isRefused: Bool = false) {
        self.description = description
        self.isRefused = isRefused
    }
}
