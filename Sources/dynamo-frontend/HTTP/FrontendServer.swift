import Discovery
import DynamoRuntime
import HummingbirdCore
import KVRouter
import Logging
import NIOCore
import RequestPlane
import ServiceLifecycle
import Synchronization

/// The public HTTP server with what it needs to answer.
///
/// Asked to stop, it answers `/health` with 503 and refuses new generations, lets the running ones finish and clients take their
/// answers, and returns.
final class FrontendServer: Service {
    struct Configuration: Sendable, Hashable {
        var host: String
        var port: Int
        /// A socket that listens already and that others keep open, instead of these two.
        var passed: Int32?
        var namespaces: NamespaceFilter
        var router = RouterConfiguration()
        /// The largest body of a request, in bytes.
        var bodyLimit: Int
        /// How long running generations, and clients that take their answers, may take after the request to stop.
        var drainTimeout: Duration
    }

    private let configuration: Configuration
    private let discovery: any DiscoveryClient
    private let models: ModelStore
    private let tokens: TokenServices
    private let handler: RequestRouter
    private let logger: Logger
    private let onListening: @Sendable (Int) -> Void
    /// It has stopped accepting by itself.
    private let isLeaving = Mutex(false)

    /// Creates a frontend.
    ///
    /// - Parameters:
    ///   - configuration: where to listen and whom to serve.
    ///   - discovery: tells which models there are.
    ///   - client: sends requests to workers.
    ///   - metrics: where the frontend counts.
    ///   - metricsText: the text of `/metrics`, asked for at each request.
    ///   - logger: where problems go.
    ///   - plane: connects to where workers that take tokens, and other routers, tell what happens; nil: it is predicted.
    ///   - onInstanceChange: told which instances have left discovery and which have come.
    ///   - onListening: called with the port once the server listens.
    init(
        configuration: Configuration,
        discovery: any DiscoveryClient,
        client: any RequestPlaneClient,
        metrics: MetricsRegistry,
        metricsText: @escaping @Sendable () -> String,
        logger: Logger,
        plane: @escaping TokenServices.PlaneMaker = { nil },
        onInstanceChange: @escaping @Sendable (RuntimeService.InstanceChange) -> Void = { _ in },
        onListening: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        let (sources, source) = AsyncStream.makeStream(
            of: [ModelDirectory.TokenModelSource].self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let models = ModelStore(logger: logger, onInstanceChange: onInstanceChange, onTokenModels: { source.yield($0) })
        let tokens = TokenServices(
            configuration: configuration.router,
            discovery: discovery,
            client: client,
            connect: plane,
            sources: sources,
            logger: logger,
            onChange: models.prepared
        )
        let frontendMetrics = FrontendMetrics(registry: metrics)
        self.configuration = configuration
        self.discovery = discovery
        self.models = models
        self.tokens = tokens
        self.handler = RequestRouter(
            models: models,
            generation: GenerationHandler(
                models: models,
                tokens: tokens,
                dispatcher: Dispatcher(client: client, configuration: configuration.router, logger: logger),
                metrics: frontendMetrics,
                activity: Activity(),
                bodyLimit: configuration.bodyLimit,
                logger: logger
            ),
            metrics: frontendMetrics,
            metricsText: metricsText
        )
        self.logger = logger
        self.onListening = onListening
    }

    private enum Event: Sendable {
        case serverEnded
        case drained
    }

    func run() async throws {
        let connection = WatchedConnection { [handler] request, writer, _ in
            try await handler.respond(to: request, writer)
        }
        let (host, port) = (self.configuration.host, self.configuration.port)
        let setUp = { @Sendable [logger] (channel: any Channel) in connection.setup(channel: channel, logger: logger) }
        let listener =
            if let passed = self.configuration.passed {
                try await ConnectionListener(descriptor: passed, logger: self.logger, setUp: setUp)
            } else {
                try await ConnectionListener(
                    host: host,
                    port: port,
                    remedy: "choose another address with --http-host and --http-port (DYN_HTTP_HOST, DYN_HTTP_PORT)",
                    logger: self.logger,
                    setUp: setUp
                )
            }
        self.logger.info("frontend listens", metadata: ["host": "\(host)", "port": "\(listener.port)"])
        self.onListening(listener.port)
        try await withThrowingTaskGroup(of: Event?.self) { group in
            group.addTask {
                await self.models.follow(self.discovery.watch(self.configuration.namespaces))
                return nil
            }
            group.addTask {
                await self.tokens.run()
                return nil
            }
            group.addTask {
                try await listener.run { await connection.handle(value: $0, logger: self.logger) }
                return .serverEnded
            }
            group.addTask {
                try await gracefulShutdown()
                let deadline = ContinuousClock.now + self.configuration.drainTimeout
                // New connections are for whoever takes the socket over.
                if self.configuration.passed != nil {
                    self.isLeaving.withLock { $0 = true }
                    listener.stopAccepting()
                }
                await self.handler.activity.drain(within: self.configuration.drainTimeout)
                await listener.flush(within: deadline - .now)
                return .drained
            }
            while let event = try await group.next() {
                if event == .drained { break }
                if event == .serverEnded, !self.isLeaving.withLock({ $0 }) {
                    throw ConfigurationError(["the HTTP server ended unexpectedly"])
                }
            }
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
    }
}
