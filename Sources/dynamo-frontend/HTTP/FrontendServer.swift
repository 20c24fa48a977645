import Discovery
import DynamoRuntime
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// The public HTTP server with what it needs to answer.
///
/// Asked to stop, it answers `/health` with 503 and refuses new generations, lets the running ones finish, and returns.
final class FrontendServer: Service {
    struct Configuration: Sendable, Hashable {
        var host: String
        var port: Int
        var namespaces: NamespaceFilter
        /// The largest body of a request, in bytes.
        var bodyLimit: Int
        /// How long running generations may take after the request to stop.
        var drainTimeout: Duration
    }

    private let configuration: Configuration
    private let discovery: any DiscoveryClient
    private let models: ModelStore
    private let handler: RequestRouter
    private let logger: Logger

    init(
        configuration: Configuration,
        discovery: any DiscoveryClient,
        models: ModelStore,
        handler: RequestRouter,
        logger: Logger
    ) {
        self.configuration = configuration
        self.discovery = discovery
        self.models = models
        self.handler = handler
        self.logger = logger
    }

    private enum Event: Sendable {
        case serverEnded
        case drained
    }

    func run() async throws {
        let connection = WatchedConnection { [handler] request, writer, _ in
            try await handler.respond(to: request, writer)
        }
        let server = try await self.listen(connection)
        self.logger.info(
            "frontend listens",
            metadata: ["host": "\(self.configuration.host)", "port": "\(server.channel.localAddress?.port ?? 0)"]
        )
        try await withThrowingTaskGroup(of: Event?.self) { group in
            group.addTask {
                await self.models.follow(self.discovery.watch(self.configuration.namespaces))
                return nil
            }
            group.addTask {
                try await self.serve(server, connection)
                return .serverEnded
            }
            group.addTask {
                try await gracefulShutdown()
                await self.handler.activity.drain(within: self.configuration.drainTimeout)
                return .drained
            }
            while let event = try await group.next() {
                if event == .drained { break }
                if event == .serverEnded { throw ConfigurationError(["the HTTP server ended unexpectedly"]) }
            }
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
    }

    private func listen(_ connection: WatchedConnection) async throws -> NIOAsyncChannel<WatchedConnection.Value, Never>
    {
        let (host, port) = (self.configuration.host, self.configuration.port)
        do {
            return try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .serverChannelOption(.backlog, value: 1024)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .bind(host: host, port: port) { [logger] channel in connection.setup(channel: channel, logger: logger) }
        } catch {
            throw ConfigurationError([
                "cannot listen on \(host):\(port): \(error); choose another address with --http-host and --http-port "
                    + "(DYN_HTTP_HOST, DYN_HTTP_PORT)"
            ])
        }
    }

    private func serve(
        _ server: NIOAsyncChannel<WatchedConnection.Value, Never>,
        _ connection: WatchedConnection
    ) async throws {
        try await server.executeThenClose { clients in
            try await withThrowingDiscardingTaskGroup { group in
                for try await client in clients {
                    group.addTask { [logger] in await connection.handle(value: client, logger: logger) }
                }
            }
        }
    }
}
