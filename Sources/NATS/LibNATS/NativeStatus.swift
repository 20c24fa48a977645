import CNATS

/// What a call of libnats came to.
enum NativeStatus: Sendable, Hashable {
    case ok
    case timeout
    case closed
    case disconnected
    case draining
    case noServer
    case authenticationFailed
    case tlsFailed
    /// The server does not speak TLS, but the client wants it.
    case serverWithoutTLS
    case notPermitted
    case slowConsumer
    case payloadTooLarge
    case bufferFull
    case noServerSupport
    case invalidSubscription
    case noResponders
    case other(String)

    init(_ status: natsStatus) {
        self =
            switch status {
            case NATS_OK: .ok
            case NATS_TIMEOUT: .timeout
            case NATS_CONNECTION_CLOSED: .closed
            case NATS_CONNECTION_DISCONNECTED, NATS_STALE_CONNECTION: .disconnected
            case NATS_DRAINING: .draining
            case NATS_NO_SERVER: .noServer
            case NATS_CONNECTION_AUTH_FAILED: .authenticationFailed
            case NATS_SSL_ERROR, NATS_SECURE_CONNECTION_REQUIRED: .tlsFailed
            case NATS_SECURE_CONNECTION_WANTED: .serverWithoutTLS
            case NATS_NOT_PERMITTED: .notPermitted
            case NATS_SLOW_CONSUMER: .slowConsumer
            case NATS_MAX_PAYLOAD: .payloadTooLarge
            case NATS_INSUFFICIENT_BUFFER: .bufferFull
            case NATS_NO_SERVER_SUPPORT: .noServerSupport
            case NATS_INVALID_SUBSCRIPTION: .invalidSubscription
            case NATS_NO_RESPONDERS: .noResponders
            default: .other(natsStatus_GetText(status).map { String(cString: $0) } ?? "status \(status.rawValue)")
            }
    }

    /// What libnats last complained about on this thread.
    static var lastErrorText: String {
        var status = NATS_OK
        return nats_GetLastError(&status).map { String(cString: $0) } ?? ""
    }
}
