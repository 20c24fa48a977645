import RequestPlane

/// The settings of the response stream: the connections on which workers call home with their answers, on every plane.
///
/// `docs/environment.md` lists their variables, `DYN_TCP_RESPONSE_STREAM_*`.
public struct ResponseStreamConfiguration: Sendable, Hashable {
    /// The interface that workers call home to; nil takes `host`.
    public var interface: String?
    /// IP literal to bind and to announce when no interface is named; nil finds the first routable one.
    public var host: String?
    /// The port that workers call home to; 0 is assigned by the system.
    public var port = 0
    /// How long an acknowledged request may take until the worker calls home.
    public var callHomeTimeout = Duration.seconds(30)
    /// How long a worker's attempt to call home may take; one that found the caller's backlog full is made once more.
    ///
    /// Longer than for request connections: thousands may call one caller at once, and its patience is `callHomeTimeout`.
    public var connectTimeout = Duration.seconds(10)
    /// How long a connection to the call-home port may take until its handshake.
    public var handshakeTimeout = Duration.seconds(10)
    /// How long a request may still wait for its worker's acceptance after the worker has left discovery.
    ///
    /// An orderly worker leaves discovery first and still answers what it has taken.
    public var departureGrace = Duration.seconds(10)
    /// How long a request may still wait for its acknowledgement after its worker has left discovery.
    ///
    /// Workers acknowledge what arrives at once, so it was lost, and another one may have it: a NATS server takes messages for a worker that
    /// has stopped to read them.
    public var deliveryGrace = Duration.seconds(2)
    /// The largest item that a caller reads.
    public var maximumItemSize = 256 * 1024 * 1024

    /// The defaults.
    public init() {}

    init(_ reader: EnvironmentReader, host: String?) throws(RequestPlaneError) {
        self.host = host
        if let name = reader.text("DYN_TCP_RESPONSE_STREAM_HOST", default: "as DYN_TCP_RPC_HOST") {
            _ = try LocalAddress.ofInterface(name)
            self.interface = name
        }
        if let text = reader.text("DYN_TCP_RESPONSE_STREAM_PORT", default: String(self.port)) {
            guard let port = UInt16(text) else {
                throw RequestPlaneError(
                    .invalidConfiguration,
                    "DYN_TCP_RESPONSE_STREAM_PORT='\(text)' is not a port; write a number from 0 to 65535, or unset it"
                )
            }
            self.port = Int(port)
        }
    }
}
