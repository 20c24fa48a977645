import Logging
import RequestPlane

/// TLS on request connections of the TCP plane and on response streams: whose certificates are shown and whose are trusted.
///
/// Each process is a server and a client: workers take requests and connect to the caller with the answer. A server speaks TLS when it has
/// a certificate; a client does when it knows whom to trust. Set both sides on every process.
///
/// `docs/environment.md` lists their variables, `DYN_TCP_TLS_*`.
///
/// Source: Dynamo 1.6.1; earlier releases have no TLS.
public struct TransportSecurity: Sendable, Hashable {
    /// PEM file of the certificate that is shown on this process's ports.
    public var certificatePath: String?
    /// PEM file of its private key.
    public var keyPath: String?
    /// PEM file of the authorities whose clients are let in; nil lets in everybody.
    public var clientAuthorityPath: String?
    /// PEM file of the authorities that servers are trusted by; nil speaks plain TCP, unless `isInsecure`.
    public var authorityPath: String?
    /// Whether to speak TLS with a server whose certificate nobody has checked.
    public var isInsecure = false
    /// PEM file of the certificate that is shown to servers.
    public var clientCertificatePath: String?
    /// PEM file of its private key.
    public var clientKeyPath: String?
    /// The DNS name that a server's certificate must be for; nil means the address that was connected to.
    public var serverName: String?
    /// How long a TLS handshake may take.
    public var handshakeTimeout = Duration.seconds(3)

    /// No TLS.
    public init() {}

    init(_ reader: EnvironmentReader) throws(RequestPlaneError) {
        self.certificatePath = reader.text(Variable.certificate)
        self.keyPath = reader.text(Variable.key)
        self.clientAuthorityPath = reader.text(Variable.clientAuthority)
        self.authorityPath = reader.text(Variable.authority)
        self.isInsecure = reader.flag(Variable.insecure, default: self.isInsecure)
        self.clientCertificatePath = reader.text(Variable.clientCertificate)
        self.clientKeyPath = reader.text(Variable.clientKey)
        self.serverName = reader.text(Variable.serverName, default: "address of the server")
        self.handshakeTimeout = reader.seconds(Variable.handshakeTimeout, default: self.handshakeTimeout)
        // The files are read again when they are used; here only so that a mistake shows before anything runs.
        let security = ConnectionSecurity(self)
        let (server, client) = (try security.server(), try security.client())
        if server != nil, client == nil {
            reader.logger.warning(
                "this process takes TLS connections, but opens plain ones: set \(Variable.authority), which other processes that speak TLS require"
            )
        } else if client != nil, server == nil {
            reader.logger.warning(
                "this process opens TLS connections, but takes plain ones: set \(Variable.certificate) and \(Variable.key)"
            )
        }
        if client != nil, self.isInsecure {
            reader.logger.warning("\(Variable.insecure) is set: the certificates of servers are not checked")
        }
    }

    /// The variables, which errors name as well.
    enum Variable {
        static let certificate = "DYN_TCP_TLS_CERT_PATH"
        static let key = "DYN_TCP_TLS_KEY_PATH"
        static let clientAuthority = "DYN_TCP_TLS_CLIENT_CA_CERT_PATH"
        static let authority = "DYN_TCP_TLS_CA_CERT_PATH"
        static let insecure = "DYN_TCP_TLS_INSECURE"
        static let clientCertificate = "DYN_TCP_TLS_CLIENT_CERT_PATH"
        static let clientKey = "DYN_TCP_TLS_CLIENT_KEY_PATH"
        static let serverName = "DYN_TCP_TLS_SERVER_NAME"
        static let handshakeTimeout = "DYN_TCP_TLS_HANDSHAKE_TIMEOUT_SECS"
    }
}
