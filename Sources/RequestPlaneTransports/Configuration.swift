public import Logging
public import RequestPlane

/// The settings of the TCP plane and of the response stream.
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
/// | `DYN_TCP_RESPONSE_STREAM_HOST` | address as for `DYN_TCP_RPC_HOST` | network interface that workers call home to |
/// | `DYN_TCP_RESPONSE_STREAM_PORT` | assigned by the system | port that workers call home to |
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
    /// The interface that workers call home to; nil takes the first routable address.
    public var responseStreamInterface: String?
    /// The port that workers call home to; 0 is assigned by the system.
    public var responseStreamPort = 0
    /// How long an acknowledged request may take until the worker calls home.
    public var callHomeTimeout = Duration.seconds(30)
    /// How long a connection to the call-home port may take until its handshake.
    public var handshakeTimeout = Duration.seconds(10)
    /// The largest item that a caller reads.
    public var maximumItemSize = 256 * 1024 * 1024
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
        if let name = reader.text("DYN_TCP_RESPONSE_STREAM_HOST") {
            _ = try LocalAddress.ofInterface(name)
            self.responseStreamInterface = name
        }
        if let text = reader.text("DYN_TCP_RESPONSE_STREAM_PORT") {
            guard let port = UInt16(text) else {
                throw RequestPlaneError(
                    .invalidConfiguration,
                    "DYN_TCP_RESPONSE_STREAM_PORT='\(text)' is not a port; write a number from 0 to 65535, or unset it"
                )
            }
            self.responseStreamPort = Int(port)
        }
    }
}

extension NetworkManager {
    /// What the environment says about the request plane.
    public struct Configuration: Sendable, Hashable {
        /// The plane that this process serves on (`DYN_REQUEST_PLANE`, in any case; unset or invalid means tcp).
        public var mode: RequestPlaneMode
        /// The TCP plane, and the response stream of every plane.
        public var tcp: TCPConfiguration

        /// Creates a configuration in code.
        ///
        /// - Parameters:
        ///   - mode: the plane.
        ///   - tcp: its settings.
        public init(mode: RequestPlaneMode = .tcp, tcp: TCPConfiguration = TCPConfiguration()) {
            self.mode = mode
            self.tcp = tcp
        }

        /// Reads the environment, once, at the border.
        ///
        /// - Parameters:
        ///   - environment: the variables of the process.
        ///   - logger: hears of values that are replaced by a default.
        /// - Throws: `RequestPlaneError` when a value cannot be replaced by a default without surprise.
        public init(environment: [String: String], logger: Logger) throws(RequestPlaneError) {
            let reader = EnvironmentReader(environment: environment, logger: logger)
            self.mode = Self.mode(reader)
            try TransportRegistry.check(self.mode)
            self.tcp = try TCPConfiguration(reader)
        }

        private static func mode(_ reader: EnvironmentReader) -> RequestPlaneMode {
            guard let text = reader.text("DYN_REQUEST_PLANE") else { return .tcp }
            if let mode = RequestPlaneMode(rawValue: text.lowercased()) { return mode }
            reader.logger.warning("Invalid request plane mode '\(text)': valid values are tcp, http, nats; using tcp")
            return .tcp
        }
    }
}
