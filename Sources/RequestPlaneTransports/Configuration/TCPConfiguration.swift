import RequestPlane

/// The settings of the TCP plane.
///
/// | variable | default | meaning |
/// |---|---|---|
/// | `DYN_TCP_RPC_HOST` | first IPv4 address that is not loopback | IP literal to bind and to announce |
/// | `DYN_TCP_RPC_PORT` | assigned by the system | port of the request listener |
/// | `DYN_TCP_MAX_MESSAGE_SIZE` | 33554432 | largest request frame, in bytes |
/// | `DYN_TCP_REQUEST_TIMEOUT` | 10 | seconds until the acknowledgement |
/// | `DYN_TCP_POOL_SIZE` | 50 | request connections for each instance's host and port |
/// | `DYN_TCP_CONNECT_TIMEOUT` | 3 | seconds to connect |
/// | `DYN_TCP_CHANNEL_BUFFER` | 100 | unacknowledged requests for each connection |
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
    /// Requests that a server answers at once; more are refused as overload.
    public var maximumInFlight = 50_000

    /// The defaults.
    public init() {}

    init(_ reader: EnvironmentReader) throws(RequestPlaneError) {
        if let text = reader.text("DYN_TCP_RPC_HOST") {
            guard let host = LocalAddress.literal(text) else {
                throw RequestPlaneError(
                    .invalidConfiguration,
                    "DYN_TCP_RPC_HOST='\(text)' is not an IP address; write for example 127.0.0.1, or unset it"
                )
            }
            self.host = host
        }
        self.port = reader.integer("DYN_TCP_RPC_PORT", in: 0...65_535, default: 0)
        self.maximumMessageSize = reader.integer(
            "DYN_TCP_MAX_MESSAGE_SIZE",
            in: 1024...Int(UInt32.max),
            default: self.maximumMessageSize
        )
        self.requestTimeout = reader.seconds("DYN_TCP_REQUEST_TIMEOUT", default: 10)
        self.connectTimeout = reader.seconds("DYN_TCP_CONNECT_TIMEOUT", default: 3)
        self.poolSize = reader.integer("DYN_TCP_POOL_SIZE", in: 1...65_535, default: self.poolSize)
        self.channelBuffer = reader.integer("DYN_TCP_CHANNEL_BUFFER", in: 1...1_048_576, default: self.channelBuffer)
    }
}
