/// Words for the ways in which connecting fails.
enum ConnectFailure {
    static func error(_ status: NativeStatus, _ text: String, _ configuration: NATSConfiguration) -> NATSError {
        let what = "cannot connect to NATS at \(configuration.serverList)"
        let detail = text.isEmpty ? "" : ": \(Printable.text(text))"
        switch status {
        case .noServer:
            return NATSError(
                .connectFailed,
                "\(what): no server accepts connections there; start nats-server or correct NATS_SERVER"
            )
        case .timeout:
            return NATSError(
                .connectFailed,
                "\(what): no answer within \(configuration.connectTimeout); check that it is a NATS server that is not "
                    + "stuck, or correct NATS_SERVER"
            )
        case .authenticationFailed:
            return NATSError(
                .authenticationFailed,
                "\(what): the server refused \(configuration.credentials)\(detail); set NATS_AUTH_USERNAME and "
                    + "NATS_AUTH_PASSWORD, NATS_AUTH_TOKEN, NATS_AUTH_NKEY or NATS_AUTH_CREDENTIALS_FILE"
            )
        case .tlsFailed:
            return NATSError(
                .tlsFailed,
                "\(what): TLS failed\(detail); check NATS_TLS_CA_CERT_PATH, the client certificate and the server's name"
            )
        case .serverWithoutTLS:
            return NATSError(
                .tlsFailed,
                "\(what): the server does not offer TLS; write nats:// instead of tls://, or configure the server's tls block"
            )
        default:
            return NATSError(.connectFailed, "\(what)\(detail); check the server's log and NATS_SERVER")
        }
    }
}
