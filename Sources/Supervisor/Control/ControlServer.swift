internal import Deployment
internal import Glibc
internal import HummingbirdCore
internal import Logging
internal import NIOPosix
internal import ServiceLifecycle
internal import Synchronization

/// The control interface: HTTP/1.1 and JSON on a Unix socket that only its owner can open.
final class ControlServer: Sendable {
    /// What fits into a socket address.
    private static let longestPath = 107

    let host: DeploymentHost
    /// Nil: the deployment has only one generation.
    let migrations: (any MigrationControl)?
    let metrics: @Sendable (DeploymentStatus) async -> String
    private let logger: Logger
    private let state = Mutex(State.idle)

    private enum State: Sendable {
        case idle
        case serving(ServiceGroup)
        case shutDown
    }

    init(
        host: DeploymentHost,
        migrations: (any MigrationControl)?,
        metrics: @escaping @Sendable (DeploymentStatus) async -> String,
        logger: Logger
    ) {
        self.host = host
        self.migrations = migrations
        self.metrics = metrics
        self.logger = logger
    }

    /// Serves until shut down.
    ///
    /// - Parameter onServing: called when commands are answered.
    /// - Returns: why it could not, in words for people.
    func run(onServing: @escaping @Sendable () -> Void) async -> String? {
        let path = self.host.directories.controlSocket
        guard path.utf8.count <= Self.longestPath else {
            return "the control socket \(path) cannot be served: its path is longer than \(Self.longestPath) bytes; "
                + "set XDG_RUNTIME_DIR to a folder with a shorter name"
        }
        // Left by a launcher that was killed; the lock says that no other one runs.
        unlink(path)
        var logger = self.logger
        logger.logLevel = max(logger.logLevel, .warning)
        let routes = ControlRoutes(server: self)
        let connection = HTTP1Channel { request, writer, _ in try await routes.respond(to: request, writer) }
        let server = connection.server(
            configuration: ServerConfiguration(address: .unixDomainSocket(path: path)),
            onServerRunning: { _ in
                chmod(path, 0o600)
                onServing()
            },
            eventLoopGroup: .singletonMultiThreadedEventLoopGroup,
            logger: logger
        )
        var configuration = ServiceGroupConfiguration(services: [server], logger: logger)
        configuration.maximumGracefulShutdownDuration = .seconds(2)
        let group = ServiceGroup(configuration: configuration)
        let isWanted = self.state.withLock { state in
            if case .shutDown = state { return false }
            state = .serving(group)
            return true
        }
        guard isWanted else { return nil }
        defer { unlink(path) }
        do {
            try await group.run()
            return nil
        } catch {
            return "the control socket \(path) cannot be served: \(error)"
        }
    }

    func shutDown() async {
        let group = self.state.withLock { state -> ServiceGroup? in
            defer { state = .shutDown }
            if case .serving(let group) = state { return group }
            return nil
        }
        await group?.triggerGracefulShutdown()
    }
}
