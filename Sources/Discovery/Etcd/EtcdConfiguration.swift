/// How an etcd cluster is reached.
public struct EtcdConfiguration: Sendable, Hashable {
    /// Who this process is to a cluster that has authentication switched on.
    public struct User: Sendable, Hashable {
        /// `ETCD_AUTH_USERNAME`.
        public var name: String
        /// `ETCD_AUTH_PASSWORD`.
        public var password: String

        /// Creates a user.
        public init(name: String, password: String) {
            self.name = name
            self.password = password
        }
    }

    /// A certificate that this process shows, and the key that belongs to it; both PEM files.
    public struct Identity: Sendable, Hashable {
        /// `ETCD_AUTH_CLIENT_CERT`, the path of the certificate with its chain.
        public var certificate: String
        /// `ETCD_AUTH_CLIENT_KEY`, the path of the private key.
        public var key: String

        /// Creates an identity.
        public init(certificate: String, key: String) {
            self.certificate = certificate
            self.key = key
        }
    }

    /// How long things may take.
    package struct Timing: Sendable, Hashable {
        /// Of the lease, in seconds; as Dynamo 1.2.
        package var timeToLive = 10
        /// How often the lease is renewed: three times in its life.
        package var renewal: Duration = .milliseconds(3300)
        /// How long to wait after a failure.
        package var retry: Duration = .seconds(1)
        /// How long one member may take to answer.
        package var call: Duration = .seconds(3)
        /// How long a watch may be silent before everything is listed again.
        ///
        /// A connection that silently leads nowhere and a member that is cut off from the others look like a quiet cluster.
        package var watch: Duration = .seconds(30)

        package init() {}
    }

    /// URLs of the members, `ETCD_ENDPOINTS`.
    public var endpoints: [String]
    /// Who this process is; nil for a cluster without authentication.
    public var user: User?
    /// `ETCD_AUTH_CA`, the path of a PEM file with the authorities that sign the members' certificates; nil means the system's.
    public var authority: String?
    /// What this process shows to members that ask for a certificate.
    public var identity: Identity?
    package var timing = Timing()

    /// Creates a configuration without credentials.
    public init(endpoints: [String]) { self.endpoints = endpoints }
}
