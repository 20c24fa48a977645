/// How to reach NATS, and the limits of one connection.
package struct NATSConfiguration: Sendable, Hashable {
    /// The servers of one cluster; the first that answers is used.
    package var servers: [NATSServerAddress]
    package var credentials: NATSCredentials
    /// Settings of encrypted connections; nil takes the system's certificate authorities.
    package var tls: TLS?
    /// How the server's monitoring names this client.
    package var name: String

    /// How long one server may take to connect and to accept the credentials.
    package var connectTimeout = Duration.seconds(5)
    /// The wait before the second attempt to reconnect; it doubles with each one.
    ///
    /// The first comes at once.
    package var reconnectDelay = Duration.milliseconds(100)
    /// The longest wait between two attempts to reconnect, which never end.
    package var maximumReconnectDelay = Duration.seconds(5)
    /// How often a silent server is asked for a sign of life; without an answer in the same time it is given up.
    package var pingInterval = Duration.seconds(20)
    /// Bytes that may wait to be sent, also while there is no connection.
    ///
    /// More are refused.
    package var maximumQueuedBytes = 256 * 1024 * 1024
    /// How long a graceful shutdown waits for running requests and unsent messages.
    package var drainTimeout = Duration.seconds(30)

    /// Settings of encrypted connections.
    package struct TLS: Sendable, Hashable {
        /// A PEM file with the certificate authorities to trust, beside the system's.
        package var authorityFile: String?
        /// A PEM file with the client's certificate chain, for servers that ask for one.
        package var certificateFile: String?
        /// A PEM file with the key of the client's certificate.
        package var keyFile: String?
        /// The name that the server's certificate must have; nil takes the host of the address.
        package var serverName: String?
        /// Accepts any certificate.
        ///
        /// The connection is then open to anyone who sits between.
        package var skipsVerification = false

        package init(
            authorityFile: String? = nil,
            certificateFile: String? = nil,
            keyFile: String? = nil,
            serverName: String? = nil,
            skipsVerification: Bool = false
        ) {
            self.authorityFile = authorityFile
            self.certificateFile = certificateFile
            self.keyFile = keyFile
            self.serverName = serverName
            self.skipsVerification = skipsVerification
        }
    }

    package init(
        servers: [NATSServerAddress] = [NATSServerAddress(host: "localhost")],
        credentials: NATSCredentials = .none,
        tls: TLS? = nil,
        name: String = ""
    ) {
        self.servers = servers
        self.credentials = credentials
        self.tls = tls
        self.name = name
    }

    /// The servers in words, for messages.
    package var serverList: String { self.servers.map(\.description).joined(separator: ", ") }

    /// Whether the client insists on encryption; a server that insists gets it in any case.
    var isEncrypted: Bool { self.servers.contains(where: \.isEncrypted) }

    /// Checks what can be checked without a server.
    ///
    /// - Throws: `NATSError` with what is wrong and what to write instead.
    func validate() throws(NATSError) {
        guard !self.servers.isEmpty else {
            throw NATSError(.invalidConfiguration, "no NATS server is named; set NATS_SERVER=nats://localhost:4222")
        }
        let encrypted = self.servers.count(where: \.isEncrypted)
        guard encrypted == 0 || encrypted == self.servers.count else {
            throw NATSError(
                .invalidConfiguration,
                "the NATS servers \(self.serverList) mix nats:// and tls://; use one of them for all"
            )
        }
        if let tls {
            guard encrypted > 0 else {
                throw NATSError(
                    .invalidConfiguration,
                    "TLS is configured for NATS but the server address \(self.serverList) does not start with tls://; "
                        + "write tls://, or unset the NATS_TLS_* variables"
                )
            }
            guard (tls.certificateFile == nil) == (tls.keyFile == nil) else {
                throw NATSError(
                    .invalidConfiguration,
                    "a client certificate for NATS needs a certificate and a key; "
                        + "set both NATS_TLS_CLIENT_CERT_PATH and NATS_TLS_CLIENT_KEY_PATH, or neither"
                )
            }
            try ReadableFile.check(tls.authorityFile, "certificate authorities (NATS_TLS_CA_CERT_PATH)")
            try ReadableFile.check(tls.certificateFile, "client certificate (NATS_TLS_CLIENT_CERT_PATH)")
            try ReadableFile.check(tls.keyFile, "client key (NATS_TLS_CLIENT_KEY_PATH)")
        }
        _ = try UserIdentity(self.credentials)
    }

    static let credentialsPurpose = "NATS credentials (NATS_AUTH_CREDENTIALS_FILE)"
}
