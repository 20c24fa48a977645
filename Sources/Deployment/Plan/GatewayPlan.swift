/// How the launcher serves the public port itself, in front of the frontends.
package struct GatewayPlan: Sendable, Hashable, Codable {
    /// What it is called beside the processes.
    package static let name = "gateway"

    /// What may wait while no frontend is ready.
    package struct Hold: Sendable, Hashable, Codable {
        /// How many requests; 0 refuses at once.
        package var requests: Int
        /// How many bytes of their bodies.
        package var bytes: Int
        /// How long, in seconds.
        package var time: Double

        package init(requests: Int = 1024, bytes: Int = 64 << 20, time: Double = 60) {
            self.requests = requests
            self.bytes = bytes
            self.time = time
        }
    }

    /// Files in PEM form, read again whenever they change.
    package struct TLS: Sendable, Hashable, Codable {
        /// The certificate with its issuers; in a plan an absolute path.
        package var certificate: String
        /// The private key; in a plan an absolute path.
        package var key: String

        package init(certificate: String, key: String) {
            self.certificate = certificate
            self.key = key
        }
    }

    /// Where clients connect beside the public address.
    package enum Listener: Sendable, Hashable, Codable {
        case address(HTTPAddress, tls: Bool)
        /// In a plan the path is absolute; the mode is octal, as for chmod.
        case unix(path: String, mode: String)
    }

    /// How long clients may let the gateway wait, in seconds.
    package struct Timeouts: Sendable, Hashable, Codable {
        /// For a request's head, from its first byte on.
        package var header: Double
        /// A pause in a request's body.
        package var body: Double
        /// Between two requests.
        package var idle: Double
        /// While a client takes nothing of its answer.
        package var write: Double

        package init(header: Double = 20, body: Double = 60, idle: Double = 75, write: Double = 60) {
            self.header = header
            self.body = body
            self.idle = idle
            self.write = write
        }
    }

    package var hold: Hold
    /// The longest body of a request, in bytes.
    package var bodyLimit: Int
    /// The longest head of a request, in bytes.
    package var headerLimit: Int
    /// How many connections clients may have.
    package var connections: Int
    package var timeouts: Timeouts
    /// nil: the public address speaks plain HTTP.
    package var tls: TLS?
    package var listeners: [Listener]
    /// Where the launcher's own metrics are served; nil: on the control socket only.
    package var metrics: HTTPAddress?
    /// Everything is stopped when no request was there for so long, in seconds, and a service manager holds the public socket;
    /// nil: never.
    package var idleExit: Double?

    package init(
        hold: Hold = Hold(),
        bodyLimit: Int = 64 << 20,
        headerLimit: Int = 64 << 10,
        connections: Int = 16384,
        timeouts: Timeouts = Timeouts(),
        tls: TLS? = nil,
        listeners: [Listener] = [],
        metrics: HTTPAddress? = nil,
        idleExit: Double? = nil
    ) {
        self.hold = hold
        self.bodyLimit = bodyLimit
        self.headerLimit = headerLimit
        self.connections = connections
        self.timeouts = timeouts
        self.tls = tls
        self.listeners = listeners
        self.metrics = metrics
        self.idleExit = idleExit
    }

    /// The same with files where they are, for a manifest in a folder.
    func resolved(against directory: String) -> GatewayPlan {
        var plan = self
        if let tls = self.tls {
            plan.tls = TLS(
                certificate: FilePathText.resolve(tls.certificate, against: directory),
                key: FilePathText.resolve(tls.key, against: directory)
            )
        }
        plan.listeners = self.listeners.map { listener in
            guard case .unix(let path, let mode) = listener else { return listener }
            return .unix(path: FilePathText.resolve(path, against: directory), mode: mode)
        }
        return plan
    }
}

extension Plan {
    /// The URL of the public address that a client on this machine uses.
    package var publicURL: String {
        let url = self.publicAddress.localURL
        return self.gateway?.tls == nil || self.publicAddress.socketPath != nil
            ? url : "https://" + url.dropFirst("http://".count)
    }
}
