import Logging
import NIOCore
import NIOPosix
import RequestPlane

/// Serves the endpoints of this process on one TCP port.
final class TCPServer: TransportServer {
    let mode = RequestPlaneMode.tcp

    private let configuration: TCPConfiguration
    private let core: ServingCore
    private let listener: Listener

    init(
        configuration: NetworkManager.Configuration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        let tcp = configuration.tcp
        let security = ConnectionSecurity(configuration.security)
        let core = ServingCore(
            capacity: tcp.maximumInFlight,
            callHome: CallHomeConnector(
                group: group,
                timeout: configuration.responseStream.connectTimeout,
                security: security
            ),
            execution: configuration.handlerExecution,
            refusals: .acknowledgementOfNewCallers,
            logger: logger
        )
        self.configuration = tcp
        self.core = core
        self.listener = Listener(
            group: group,
            liveness: .requestConnection,
            security: security,
            remedy: "for requests; check DYN_TCP_RPC_HOST and DYN_TCP_RPC_PORT",
            logger: logger
        ) { channel in
            let machine = TCPServerConnection(maximumMessageSize: tcp.maximumMessageSize)
            try channel.pipeline.syncOperations.addHandler(
                TCPServerHandler(machine, core: core, stallLimit: tcp.partialFrameTimeout)
            )
        }
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
        let host = LocalAddress.announced(for: self.configuration.host)
        let path = try self.core.endpoints.add(
            ServedEndpoint(id: endpoint, instance: id, handler: handler),
            paths: [
                "\(id.hex)/\(endpoint.name)",
                "\(id.hex)/\(endpoint.namespace)/\(endpoint.component)/\(endpoint.name)",
            ]
        )
        return .tcp("\(HostPort(host: host, port: port))/\(path)")
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

    func drain(deadline: Duration) async { await self.core.drain(deadline: deadline) }
}
