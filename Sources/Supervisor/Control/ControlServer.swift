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

    let plan: SharedPlan
    private let replan: Supervisor.Replan?
    let pump: LogPump
    let threads: NIOThreadPool
    private let sender: AsyncStream<SupervisorEvent>.Continuation
    let metrics: @Sendable (DeploymentStatus) -> String
    private let logger: Logger
    private let state = Mutex(State.idle)

    private enum State: Sendable {
        case idle
        case serving(ServiceGroup)
        case shutDown
    }

    init(
        plan: SharedPlan,
        replan: Supervisor.Replan?,
        pump: LogPump,
        threads: NIOThreadPool,
        sender: AsyncStream<SupervisorEvent>.Continuation,
        metrics: @escaping @Sendable (DeploymentStatus) -> String,
        logger: Logger
    ) {
        self.plan = plan
        self.replan = replan
        self.pump = pump
        self.threads = threads
        self.sender = sender
        self.metrics = metrics
        self.logger = logger
    }

    /// Serves until shut down.
    ///
    /// - Returns: why it could not, in words for people.
    func run() async -> String? {
        let path = self.plan.active.directories.controlSocket
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
            onServerRunning: { _ in chmod(path, 0o600) },
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

    // MARK: Asking the loop

    func status(_ moment: StatusQuery.Moment, limit: Duration?) async -> DeploymentStatus? {
        await StatusQuery.ask(self.sender, moment, limit: limit)
    }

    /// What is said of it, or why it was not begun; nil when the deployment has ended.
    func restart(_ names: [String]) async -> Result<AsyncStream<RolloutProgress>, RolloutRefusal>? {
        await withCheckedContinuation { continuation in
            let request = RestartRequest(names: names) { continuation.resume(returning: $0) }
            if case .terminated = self.sender.yield(.restart(request)) { continuation.resume(returning: nil) }
        }
    }

    /// What is changed to match the manifest as it is now.
    func apply(isDryRun: Bool) async throws(RolloutRefusal) -> (PlanChange, AsyncStream<RolloutProgress>?) {
        try await Supervisor.apply(self.replan, isDryRun: isDryRun, self.sender)
    }

    func stop(now: Bool) {
        self.sender.yield(.stop(now: now))
    }
}
