import RequestPlane

/// The settings of the HTTP plane.
///
/// `docs/environment.md` lists their variables, `DYN_HTTP_*` and `DYN_HTTP2_*`.
public struct HTTPConfiguration: Sendable, Hashable {
    /// IP literal to bind and to announce; nil finds the first routable one.
    public var host: String?
    /// Port of the request listener; 0 is assigned by the system.
    public var port = 8888
    /// What every endpoint's path begins with; no trailing slash, empty for none.
    public var rootPath = "/v1/rpc"
    /// How long to wait for an acknowledgement, connecting included.
    public var requestTimeout = Duration.seconds(5)
    /// How long to wait for a connection, and for the peer's first HTTP/2 frame on it.
    public var connectTimeout = Duration.seconds(3)
    /// The largest frame that either side accepts from its peer.
    public var maximumFrameSize = 1_048_576
    /// Requests at once on one connection.
    public var maximumConcurrentStreams = 1000
    /// Unused connections that a caller keeps to one host and port.
    public var poolMaximumIdle = 100
    /// How long a caller keeps an unused connection.
    public var poolIdleTimeout = Duration.seconds(90)
    /// Connections to one host and port, in use or not.
    public var poolSize = 256
    /// The time between a caller's pings on one connection.
    public var keepAliveInterval = Duration.seconds(30)
    /// How long a ping may stay unanswered before the connection is given up.
    public var keepAliveTimeout = Duration.seconds(10)
    /// Whether flow-control windows have the size of the largest body, so that no sender waits for window updates; otherwise they
    /// have the 65,535 bytes of the HTTP/2 standard.
    ///
    /// Bodies are read as they arrive in both cases: the window bounds what is on its way, not what a server holds.
    public var adaptiveWindow = true
    /// The largest request body that a server accepts; real servers of Dynamo 1.2 take 2 MiB.
    public var maximumBodySize = 33_554_432
    /// The bytes that a server holds of bodies which have not arrived whole, over all its connections; never less than one body.
    ///
    /// What comes beyond is passed over, and its request answered with 503.
    public var maximumReceivingSize = 536_870_912
    /// How long the head of a connection's first request may take, and how long a body may pause.
    public var stallTimeout = Duration.seconds(30)
    /// How long a connection may be without a request; longer than real callers keep unused connections.
    public var idleTimeout = Duration.seconds(180)
    /// Requests that a server answers at once; more are refused as overload.
    public var maximumInFlight = 50_000

    /// The defaults.
    public init() {}

    init(_ reader: EnvironmentReader) throws(RequestPlaneError) {
        if let text = reader.text("DYN_HTTP_RPC_HOST", default: "first routable address") {
            guard let host = LocalAddress.literal(text) else {
                throw RequestPlaneError(
                    .invalidConfiguration,
                    "DYN_HTTP_RPC_HOST='\(text)' is not an IP address; write for example 127.0.0.1, or unset it"
                )
            }
            self.host = host
        }
        self.port = reader.integer("DYN_HTTP_RPC_PORT", in: 0...65_535, default: self.port)
        if let text = reader.text("DYN_HTTP_RPC_ROOT_PATH", default: self.rootPath) {
            self.rootPath = try Self.rootPath(text)
        }
        self.requestTimeout = reader.seconds("DYN_HTTP_REQUEST_TIMEOUT", default: 5)
        self.maximumFrameSize = reader.integer(
            "DYN_HTTP2_MAX_FRAME_SIZE",
            in: 16_384...16_777_215,
            default: self.maximumFrameSize
        )
        self.maximumConcurrentStreams = reader.integer(
            "DYN_HTTP2_MAX_CONCURRENT_STREAMS",
            in: 1...1_048_576,
            default: self.maximumConcurrentStreams
        )
        self.poolMaximumIdle = reader.integer(
            "DYN_HTTP2_POOL_MAX_IDLE_PER_HOST",
            in: 0...65_535,
            default: self.poolMaximumIdle
        )
        self.poolIdleTimeout = reader.seconds("DYN_HTTP2_POOL_IDLE_TIMEOUT_SECS", default: 90)
        self.keepAliveInterval = reader.seconds("DYN_HTTP2_KEEP_ALIVE_INTERVAL_SECS", default: 30)
        self.keepAliveTimeout = reader.seconds("DYN_HTTP2_KEEP_ALIVE_TIMEOUT_SECS", default: 10)
        self.adaptiveWindow = reader.flag("DYN_HTTP2_ADAPTIVE_WINDOW", default: self.adaptiveWindow)
    }

    /// Checks a root path and cuts its trailing slashes, which Dynamo would double in every endpoint's URL.
    private static func rootPath(_ text: String) throws(RequestPlaneError) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "/-._~".utf8.contains(byte)
            }
        }
        guard text.hasPrefix("/"), isPlain else {
            throw RequestPlaneError(
                .invalidConfiguration,
                "DYN_HTTP_RPC_ROOT_PATH='\(text)' is not a path: it begins with '/' and consists of letters, digits and /-._~; "
                    + "write for example /v1/rpc, or unset it"
            )
        }
        var path = text[...]
        while path.hasSuffix("/") { path.removeLast() }
        return String(path)
    }
}
