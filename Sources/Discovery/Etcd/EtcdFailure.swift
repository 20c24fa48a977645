import NIOHTTP1
import NIOSSL

/// Why etcd did not do something, with what decides over another attempt.
struct EtcdFailure: Error {
    // Status codes of gRPC, which the gateway passes on.
    static let cancelled = 1
    static let invalidArgument = 3
    static let deadlineExceeded = 4
    static let notFound = 5
    static let permissionDenied = 7
    static let failedPrecondition = 9
    static let unavailable = 14
    static let unauthenticated = 16

    /// What the caller of discovery is told.
    var error: DiscoveryError
    /// etcd's status; nil when there was no answer.
    var status: Int?
    /// Whether another member may do better.
    var isUnavailable = false

    var isUnauthenticated: Bool { self.status == Self.unauthenticated }

    init(_ error: DiscoveryError) { self.error = error }

    /// A member did not answer, or not as etcd does.
    init(noAnswer cause: any Error, _ path: String, _ endpoint: String) {
        var message = "etcd at \(endpoint) does not answer \(path)"
        if cause is NIOSSLError || cause is NIOSSLExtraError || cause is BoringSSLError {
            message +=
                " over TLS; check ETCD_AUTH_CA (who signed the member's certificate), and ETCD_AUTH_CLIENT_CERT and "
                + "ETCD_AUTH_CLIENT_KEY if it asks for one"
        }
        self.error = DiscoveryError(.storeUnavailable, message, cause: cause)
        self.isUnavailable = true
    }

    /// A member said no.
    init(refused answer: JSONValue, _ path: String, _ endpoint: String, _ status: HTTPResponseStatus) {
        // Streams wrap their errors once more.
        let error = answer["error"]?.object == nil ? answer : answer["error"] ?? .null
        let text = error["message"]?.string ?? error["error"]?.string ?? answer.text
        self.error = DiscoveryError(.storeUnavailable, "etcd at \(endpoint) refused \(path): \(text)")
        self.status = error["code"]?.int ?? error["grpc_code"]?.int
        switch self.status {
        // Cancelled is what a member says that is being stopped.
        case Self.unavailable, Self.deadlineExceeded, Self.cancelled: self.isUnavailable = true
        case nil: self.isUnavailable = status.code >= 500
        default: self.isUnavailable = false
        }
    }

    /// A member answered something that cannot be used.
    init(unexpected answer: JSONValue, _ path: String, _ endpoint: String) {
        self.error = DiscoveryError(.storeUnavailable, "etcd at \(endpoint) answered \(path) with \(answer.text)")
    }
}
