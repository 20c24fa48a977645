/// What a gateway listens on, and what it allows.
package struct GatewayConfiguration: Sendable, Hashable, Codable {
    package var listeners: [GatewayListener]
    package var limits: GatewayLimits
    package var hold: HoldPolicy
    package var upstream: UpstreamPolicy
    /// Event loops.
    ///
    /// One carries some ten thousand requests a second.
    package var threads: Int
    /// Whether `X-Forwarded-*` and `Forwarded` of clients are believed and extended (another proxy stands in front), or replaced.
    package var trustsForwarded: Bool

    package init(
        listeners: [GatewayListener],
        limits: GatewayLimits = GatewayLimits(),
        hold: HoldPolicy = HoldPolicy(),
        upstream: UpstreamPolicy = UpstreamPolicy(),
        threads: Int = 1,
        trustsForwarded: Bool = false
    ) {
        self.listeners = listeners
        self.limits = limits
        self.hold = hold
        self.upstream = upstream
        self.threads = threads
        self.trustsForwarded = trustsForwarded
    }
}

/// Where clients connect.
package enum GatewayListener: Sendable, Hashable, Codable {
    /// Port 0 is assigned by the system.
    case tcp(host: String, port: Int, tls: GatewayTLS? = nil)
    /// The mode is the file's, as for chmod; nil: what the umask leaves.
    case unix(path: String, mode: UInt32? = nil, tls: GatewayTLS? = nil)
    /// A socket that is bound already; the gateway owns the descriptor from then on, and closes it.
    case inherited(descriptor: Int32, name: String, tls: GatewayTLS? = nil)

    /// The certificate that clients are shown, if any.
    package var tls: GatewayTLS? {
        switch self {
        case .tcp(_, _, let tls), .unix(_, _, let tls), .inherited(_, _, let tls): tls
        }
    }
}

/// Files in PEM form.
package struct GatewayTLS: Sendable, Hashable, Codable {
    /// The certificate with its issuers.
    package var certificatePath: String
    /// The private key, without a pass phrase.
    package var keyPath: String

    package init(certificatePath: String, keyPath: String) {
        self.certificatePath = certificatePath
        self.keyPath = keyPath
    }
}

/// What one client, or all of them, may use.
package struct GatewayLimits: Sendable, Hashable, Codable {
    /// Bytes of a request's head; more is answered 431.
    ///
    /// Also the limit for heads of backends.
    package var maximumHeaderBytes = 64 * 1024
    /// Bytes of a request line; more is answered 414.
    package var maximumTargetBytes = 16 * 1024
    /// Bytes of a request's content; more is answered 413.
    package var maximumBodyBytes = 64 * 1024 * 1024
    /// Requests at backends at one time; more are answered 503.
    package var maximumRequests = 10_000
    /// Open connections of clients; more are answered 503 and closed.
    package var maximumConnections = 20_000
    /// How long a connection may be idle between two requests.
    package var idleTimeout = Duration.seconds(75)
    /// How long a request's head may take from its first byte on; longer is answered 408.
    package var headerTimeout = Duration.seconds(20)
    /// How long a request's body may pause while somebody wants it; longer is answered 408.
    package var bodyTimeout = Duration.seconds(60)
    /// How long a client may take nothing at all while there is something for it; then its connection is reset, and its request ended
    /// at the backend.
    ///
    /// The buffers in between hold megabytes, more than most answers: who meets this limit has left all that unread.
    package var writeTimeout = Duration.seconds(60)

    package init() {}
}

/// How many requests wait while no backend is ready, and how long.
package struct HoldPolicy: Sendable, Hashable, Codable {
    /// Zero refuses at once.
    package var maximumRequests: Int
    /// Bytes that the waiting requests have sent, all together.
    package var maximumBytes: Int
    /// How long each waits before it is answered 503.
    package var patience: Duration

    package init(
        maximumRequests: Int = 1024,
        maximumBytes: Int = 64 * 1024 * 1024,
        patience: Duration = .seconds(60)
    ) {
        self.maximumRequests = maximumRequests
        self.maximumBytes = maximumBytes
        self.patience = patience
    }
}

/// How backends are treated.
package struct UpstreamPolicy: Sendable, Hashable, Codable {
    package var connectTimeout = Duration.seconds(2)
    /// How long an idle connection is kept: shorter than backends keep theirs (uvicorn: 5 seconds), so that they seldom close first.
    package var idleLifetime = Duration.seconds(4)
    /// Idle connections to one backend, for each event loop.
    package var maximumIdleConnections = 256
    /// Requests in a row that may fail on new connections before a backend is ejected; one refused connection ejects it at once.
    package var failuresToEject = 3
    /// How long an ejected backend is left alone the first time, until it is asked whether it is well; twice as long each further
    /// time.
    package var ejection = Duration.milliseconds(200)
    package var longestEjection = Duration.seconds(5)
    /// How long the answer to that question may take, its connection included.
    package var probeTimeout = Duration.seconds(3)

    package init() {}
}

/// A process that answers requests.
package struct Backend: Sendable, Hashable, Codable, CustomStringConvertible {
    /// The process and its replica, "frontend-0".
    package var id: String
    package var generation: Int
    package var host: String
    package var port: Int

    package init(id: String, generation: Int, host: String, port: Int) {
        self.id = id
        self.generation = generation
        self.host = host
        self.port = port
    }

    package var description: String { "\(self.id) (generation \(self.generation), \(self.host):\(self.port))" }
}

/// Why a gateway cannot open a port.
package struct GatewayError: Error, Hashable, CustomStringConvertible {
    /// The listener in words.
    package var address: String
    /// Why.
    package var reason: String
    /// What to do.
    package var remedy: String
    /// The system's number for the reason; nil when it is another.
    package var errno: Int32?

    package var description: String { "cannot listen on \(self.address): \(self.reason); \(self.remedy)" }
}
