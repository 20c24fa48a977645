public import Logging
public import RequestPlane

extension NetworkManager {
    /// What the environment says about the request plane.
    public struct Configuration: Sendable, Hashable {
        /// The plane that this process serves on (`DYN_REQUEST_PLANE`, in any case; unset or invalid means tcp).
        public var mode: RequestPlaneMode
        /// The TCP plane.
        public var tcp: TCPConfiguration
        /// The HTTP plane.
        public var http: HTTPConfiguration
        /// The NATS plane.
        public var nats: NATSSettings
        /// The connections on which answers come back, on every plane.
        public var responseStream: ResponseStreamConfiguration
        /// TLS on request connections of the TCP plane and on response streams of every plane.
        public var security: TransportSecurity
        /// Where handlers run; no variable sets it, since it depends on what they do.
        public var handlerExecution = HandlerExecution.concurrent

        /// Creates a configuration in code.
        ///
        /// - Parameters:
        ///   - mode: the plane.
        ///   - tcp: the settings of the TCP plane.
        ///   - http: the settings of the HTTP plane.
        ///   - nats: the settings of the NATS plane.
        ///   - responseStream: the settings of the response stream.
        ///   - security: whose certificates are shown and trusted; no TLS unless something is set.
        ///   - handlerExecution: where handlers run.
        public init(
            mode: RequestPlaneMode = .tcp,
            tcp: TCPConfiguration = TCPConfiguration(),
            http: HTTPConfiguration = HTTPConfiguration(),
            nats: NATSSettings = NATSSettings(),
            responseStream: ResponseStreamConfiguration = ResponseStreamConfiguration(),
            security: TransportSecurity = TransportSecurity(),
            handlerExecution: HandlerExecution = .concurrent
        ) {
            self.mode = mode
            self.tcp = tcp
            self.http = http
            self.nats = nats
            self.responseStream = responseStream
            self.security = security
            self.handlerExecution = handlerExecution
        }

        /// Reads the environment, once, at the border.
        ///
        /// - Parameters:
        ///   - environment: the variables of the process.
        ///   - logger: hears of values that are replaced by a default.
        /// - Throws: `RequestPlaneError` when a value cannot be replaced by a default without surprise.
        public init(environment: [String: String], logger: Logger) throws(RequestPlaneError) {
            try self.init(EnvironmentReader(environment: environment, logger: logger))
        }

        init(_ reader: EnvironmentReader) throws(RequestPlaneError) {
            self.mode = Self.mode(reader)
            self.tcp = try TCPConfiguration(reader)
            self.http = try HTTPConfiguration(reader)
            self.nats = try NATSSettings(reader, isServed: self.mode == .nats)
            self.responseStream = try ResponseStreamConfiguration(
                reader,
                host: self.mode == .http ? self.http.host : self.tcp.host
            )
            self.security = try TransportSecurity(reader)
        }

        private static func mode(_ reader: EnvironmentReader) -> RequestPlaneMode {
            guard let text = reader.text("DYN_REQUEST_PLANE", default: RequestPlaneMode.tcp.rawValue) else {
                return .tcp
            }
            if let mode = RequestPlaneMode(rawValue: text.lowercased()) { return mode }
            reader.logger.warning("Invalid request plane mode '\(text)': valid values are tcp, http, nats; using tcp")
            return .tcp
        }
    }
}
