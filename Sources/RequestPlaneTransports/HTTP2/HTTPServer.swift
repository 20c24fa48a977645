import Logging
import NIOCore
import NIOPosix
import RequestPlane

/// Serves the endpoints of this process on one HTTP port, to callers that speak HTTP/1 and HTTP/2 alike.
final class HTTPServer: TransportServer {
    let mode = RequestPlaneMode.http

    private let configuration: HTTPConfiguration
    private let core: ServingCore
    private let listener: Listener

    init(
        configuration: NetworkManager.Configuration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        let core = ServingCore(
            capacity: configuration.http.maximumInFlight,
            callHome: CallHomeConnector(
                group: group,
                timeout: configuration.responseStream.connectTimeout,
                security: ConnectionSecurity(configuration.security)
            ),
            execution: configuration.handlerExecution,
            refusals: .acknowledgement,
            logger: logger
        )
        let pipeline = HTTPServerPipeline(core: core, configuration: configuration.http)
        self.configuration = configuration.http
        self.core = core
        self.listener = Listener(
            group: group,
            liveness: .requestConnection,
            // The guide's plane is clear text; only answers can be encrypted.
            security: ConnectionSecurity(TransportSecurity()),
            remedy:
                "for requests; check DYN_HTTP_RPC_HOST and DYN_HTTP_RPC_PORT, and give each process on a machine a port of its own "
                + "(0: the system assigns one)",
            logger: logger
        ) { try pipeline.configure($0) }
    }

    var inFlight: Int { self.core.inFlight }

    var statistics: [EndpointStatistics] { self.core.endpoints.statistics }

    // MARK: Endpoints

    func register(
        _ endpoint: EndpointID,
        id: InstanceID,
        handler: @escaping RequestHandler
    ) async throws(RequestPlaneError) -> TransportAddress {
        guard !self.core.isClosed else {
            throw RequestPlaneError(.unavailable, "cannot register \(endpoint): this server is shutting down")
        }
        let port = try await self.listen()
        // Dynamo publishes the endpoint's name alone; a second endpoint of that name gets a path of its own.
        let path = try self.core.endpoints.add(
            ServedEndpoint(id: endpoint, instance: id, handler: handler),
            paths: [
                endpoint.name,
                "\(id.hex)/\(endpoint.namespace)/\(endpoint.component)/\(endpoint.name)",
            ]
        )
        let address = HostPort(host: LocalAddress.announced(for: self.configuration.host), port: port)
        return .http("http://\(address)\(self.configuration.rootPath)/\(PercentEncoding.encode(path))")
    }

    func unregister(_ endpoint: EndpointID) async { self.core.endpoints.remove(endpoint) }

    private func listen() async throws(RequestPlaneError) -> Int {
        let core = self.core
        return try await self.listener.start(
            host: self.configuration.host ?? LocalAddress.firstRoutable(),
            port: self.configuration.port
        ) {
            core.listenerFailed(RequestPlaneError(.unavailable, "the request listener was closed by the system"))
        }
    }

    // MARK: Lifecycle

    func run() async throws { try await self.core.run { await self.listener.close() } }

    func drain(deadline: Duration) async {
        self.listener.quiesce()
        await self.core.drain(deadline: deadline)
    }
}
