import RequestPlane

/// The settings of the TCP plane.
///
/// `docs/environment.md` lists their variables, `DYN_TCP_*`.
public struct TCPConfiguration: Sendable, Hashable {
    /// IP literal to bind and to announce; nil finds the first routable one.
    public var host: String?
    /// Port of the request listener; 0 is assigned by the system.
    public var port = 0
    /// The largest request frame, its length fields included.
    public var maximumMessageSize = 33_554_432
    /// How long to wait for an acknowledgement, connecting included.
    public var requestTimeout = Duration.seconds(10)
    /// How long to wait for a connection.
    public var connectTimeout = Duration.seconds(3)
    /// Request connections to one host and port.
    public var poolSize = 50
    /// Unacknowledged requests on one connection.
    public var channelBuffer = 100
    /// How long a host may go without a request until the connections to it are closed.
    public var hostIdleTimeout = Duration.seconds(300)
    /// Requests that a server answers at once; more are refused as overload.
    ///
    /// Dynamo works on `DYN_TCP_WORKER_POOL_SIZE` requests and queues `DYN_TCP_WORK_QUEUE_SIZE` more. A handler of this library that
    /// waits costs no thread, so nothing is queued here, and the sum of both is the point at which Dynamo would refuse as well.
    public var maximumInFlight = 50_000
    /// How long a request frame that has begun may stop growing until its connection is closed.
    public var partialFrameTimeout = Duration.seconds(30)

    /// The defaults.
    public init() {}

    init(_ reader: EnvironmentReader) throws(RequestPlaneError) {
        if let text = reader.text("DYN_TCP_RPC_HOST", default: "first routable address") {
            guard let host = LocalAddress.literal(text) else {
                throw RequestPlaneError(
                    .invalidConfiguration,
                    "DYN_TCP_RPC_HOST='\(text)' is not an IP address; write for example 127.0.0.1, or unset it"
                )
            }
            self.host = host
        }
        self.port = reader.integer("DYN_TCP_RPC_PORT", in: 0...65_535, default: self.port)
        self.maximumMessageSize = reader.integer(
            "DYN_TCP_MAX_MESSAGE_SIZE",
            in: 1024...Int(UInt32.max),
            default: self.maximumMessageSize
        )
        self.requestTimeout = reader.seconds("DYN_TCP_REQUEST_TIMEOUT", default: self.requestTimeout)
        self.connectTimeout = reader.seconds("DYN_TCP_CONNECT_TIMEOUT", default: self.connectTimeout)
        self.poolSize = reader.integer("DYN_TCP_POOL_SIZE", in: 1...65_535, default: self.poolSize)
        self.channelBuffer = reader.integer("DYN_TCP_CHANNEL_BUFFER", in: 1...1_048_576, default: self.channelBuffer)
        self.hostIdleTimeout = reader.seconds("DYN_TCP_HOST_IDLE_TTL_SECS", default: self.hostIdleTimeout)
        let workers = reader.integer("DYN_TCP_WORKER_POOL_SIZE", in: 1...10_000_000, default: 10_000)
        let queue = reader.integer("DYN_TCP_WORK_QUEUE_SIZE", in: 0...10_000_000, default: 40_000)
        self.maximumInFlight = workers + queue
    }
}
