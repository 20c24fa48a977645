import Logging
import NIOCore
import NIOPosix
import RequestPlane
import Synchronization

/// Serves the endpoints of this process on one HTTP port, to callers that speak HTTP/1 and HTTP/2 alike.
final class HTTPServer: TransportServer {
    let mode = RequestPlaneMode.http

    private let configuration: HTTPConfiguration
    private let group: any EventLoopGroup
    private let core: ServingCore
    private let connections = ChannelSet()
    private let listener = Mutex<EventLoopFuture<any Channel>?>(nil)

    init(
        configuration: NetworkManager.Configuration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        self.configuration = configuration.http
        self.group = group
        self.core = ServingCore(
            capacity: configuration.http.maximumInFlight,
            callHome: CallHomeConnector(group: group, timeout: configuration.tcp.connectTimeout),
            refusals: .acknowledgement,
            logger: logger
        )
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
        let address = HostPort(host: self.announcedHost, port: port)
        return .http("http://\(address)\(self.configuration.rootPath)/\(PercentEncoding.encode(path))")
    }

    func unregister(_ endpoint: EndpointID) async { self.core.endpoints.remove(endpoint) }

    /// A wildcard is for binding; nobody can connect to it from elsewhere, so what is announced is the routable address.
    private var announcedHost: String {
        switch self.configuration.host {
        case nil, "0.0.0.0", "::": LocalAddress.firstRoutable()
        case let host?: host
        }
    }

    /// Listens, once; every registration waits for the same attempt.
    private func listen() async throws(RequestPlaneError) -> Int {
        let host = self.configuration.host ?? LocalAddress.firstRoutable()
        let future = self.listener.withLock { listener in
            if let listener { return listener }
            let future = self.bind(host)
            listener = future
            return future
        }
        do {
            let channel = try await future.get()
            guard let port = channel.localAddress?.port else { throw ChannelError.inappropriateOperationForState }
            return port
        } catch {
            self.listener.withLock { $0 = nil }
            let address = HostPort(host: host, port: self.configuration.port)
            throw RequestPlaneError(
                .invalidConfiguration,
                "cannot listen on \(address) for requests; check DYN_HTTP_RPC_HOST and DYN_HTTP_RPC_PORT, and give each process "
                    + "on a machine a port of its own (0: the system assigns one)",
                cause: error
            )
        }
    }

    private func bind(_ host: String) -> EventLoopFuture<any Channel> {
        let pipeline = HTTPServerPipeline(core: self.core, configuration: self.configuration)
        let future = ServerBootstrap(group: self.group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                self.connections.insert(channel)
                return channel.eventLoop.makeCompletedFuture { try pipeline.configure(channel) }
            }
            .bind(host: host, port: self.configuration.port)
        future.whenSuccess { channel in
            channel.closeFuture.whenComplete { _ in
                self.core.listenerFailed(
                    RequestPlaneError(.unavailable, "the request listener was closed by the system")
                )
            }
        }
        return future
    }

    // MARK: Lifecycle

    func run() async throws { try await self.core.run { await self.close() } }

    func drain(deadline: Duration) async {
        self.connections.quiesce()
        await self.core.drain(deadline: deadline)
    }

    private func close() async {
        if let listener = try? await self.listener.withLock({ $0 })?.get() { try? await listener.close() }
        await self.connections.closeAll()
    }
}
