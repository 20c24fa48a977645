import Discovery
package import Logging
import NIOCore
import NIOHTTP1

/// The HTTP server of a worker for probes and metrics: `/health`, `/live`, `/metrics`.
///
/// Source: `request-plane.md` 6.1.
package struct SystemServer: Sendable {
    package struct Configuration: Sendable, Hashable {
        package var host: String
        /// 0 lets the system choose.
        package var port: Int
        package var healthPath = "/health"
        package var livePath = "/live"
        /// `DYN_SYSTEM_STARTING_HEALTH_STATUS`.
        package var startingStatus = HealthStatus.Starting.notready
        /// `DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS`.
        package var decidingEndpoints: [String] = []

        package init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
    }

    private typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, HTTPServerResponsePart>

    private let configuration: Configuration
    private let health: HealthStatus
    private let metrics: @Sendable () -> String
    private let logger: Logger

    /// Creates a server.
    ///
    /// - Parameters:
    ///   - configuration: where to listen.
    ///   - health: what the probes say.
    ///   - metrics: the text of `/metrics`, asked for at each request.
    ///   - logger: where the port and problems go.
    package init(
        configuration: Configuration,
        health: HealthStatus,
        metrics: @escaping @Sendable () -> String,
        logger: Logger
    ) {
        self.configuration = configuration
        self.health = health
        self.metrics = metrics
        self.logger = logger
    }

    /// Serves until cancelled.
    ///
    /// - Parameter onListening: called with the port once the server listens.
    /// - Throws: `ConfigurationError` when the address cannot be used.
    package func run(onListening: @Sendable (Int) -> Void = { _ in }) async throws {
        let listener = try await ConnectionListener(
            host: self.configuration.host,
            port: self.configuration.port,
            remedy: "set DYN_SYSTEM_HOST and DYN_SYSTEM_PORT to a free address",
            logger: self.logger
        ) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                return try Connection(wrappingChannelSynchronously: channel)
            }
        }
        self.logger.info(
            "system server listens",
            metadata: ["host": "\(self.configuration.host)", "port": "\(listener.port)"]
        )
        onListening(listener.port)
        try await listener.run { connection in
            // A client that breaks off is no concern of the server.
            do { try await self.serve(connection) } catch { self.logger.trace("system connection: \(error)") }
        }
    }

    private func serve(_ connection: Connection) async throws {
        try await connection.executeThenClose { inbound, outbound in
            var head: HTTPRequestHead?
            for try await part in inbound {
                switch part {
                case .head(let received): head = received
                case .body: break
                case .end:
                    guard let request = head else { return }
                    head = nil
                    try await outbound.write(contentsOf: self.answer(to: request))
                    if !request.isKeepAlive { return }
                }
            }
        }
    }

    private func answer(to request: HTTPRequestHead) -> [HTTPServerResponsePart] {
        let path = request.uri.split(separator: "?", maxSplits: 1).first.map(String.init) ?? ""
        let status: HTTPResponseStatus
        let type: String
        let body: String
        if request.method != .GET && request.method != .HEAD {
            (status, type, body) = (.methodNotAllowed, "text/plain", "Method not allowed")
        } else if path == self.configuration.healthPath || path == self.configuration.livePath {
            (status, type, body) = (
                self.health.isReady ? .ok : .serviceUnavailable, "application/json", self.health.json.text
            )
        } else if path == "/metrics" {
            (status, type, body) = (.ok, "text/plain; version=0.0.4; charset=utf-8", self.metrics())
        } else {
            (status, type, body) = (.notFound, "text/plain", "Route not found")
        }
        let headers: HTTPHeaders = ["content-type": type, "content-length": String(body.utf8.count)]
        let head = HTTPResponseHead(version: request.version, status: status, headers: headers)
        if request.method == .HEAD { return [.head(head), .end(nil)] }
        return [.head(head), .body(.byteBuffer(ByteBuffer(string: body))), .end(nil)]
    }
}
