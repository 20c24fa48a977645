internal import Deployment
internal import Glibc
internal import Hummingbird
internal import Logging
internal import NIOPosix
internal import ServiceLifecycle
internal import Synchronization

/// The control interface: HTTP/1.1 and JSON on a Unix socket that only its owner can open.
final class ControlServer: Sendable {
    let plan: Plan
    let pump: LogPump
    let threads: NIOThreadPool
    private let sender: AsyncStream<SupervisorEvent>.Continuation
    private let logger: Logger
    private let group = Mutex<ServiceGroup?>(nil)

    init(
        plan: Plan,
        pump: LogPump,
        threads: NIOThreadPool,
        sender: AsyncStream<SupervisorEvent>.Continuation,
        logger: Logger
    ) {
        self.plan = plan
        self.pump = pump
        self.threads = threads
        self.sender = sender
        self.logger = logger
    }

    /// Serves until shut down.
    ///
    /// - Returns: why it could not, in words for people.
    func run() async -> String? {
        let path = self.plan.directories.controlSocket
        // Left by a launcher that was killed; the lock says that no other one runs.
        unlink(path)
        var logger = self.logger
        logger.logLevel = max(logger.logLevel, .warning)
        let application = Application(
            router: ControlRoutes(server: self).router,
            configuration: ApplicationConfiguration(address: .unixDomainSocket(path: path), serverName: nil),
            onServerRunning: { _ in chmod(path, 0o600) },
            logger: logger
        )
        var configuration = ServiceGroupConfiguration(services: [application], logger: logger)
        configuration.maximumGracefulShutdownDuration = .seconds(2)
        let group = ServiceGroup(configuration: configuration)
        self.group.withLock { $0 = group }
        defer { unlink(path) }
        do {
            try await group.run()
            return nil
        } catch {
            return "the control socket \(path) cannot be served: \(error)"
        }
    }

    func shutDown() async {
        let group = self.group.withLock { $0 }
        await group?.triggerGracefulShutdown()
    }

    // MARK: Asking the loop

    func status(_ moment: StatusQuery.Moment, limit: Duration?) async -> DeploymentStatus? {
        await withCheckedContinuation { continuation in
            let query = StatusQuery(moment: moment, limit: limit) { continuation.resume(returning: $0) }
            if case .terminated = self.sender.yield(.status(query)) { continuation.resume(returning: nil) }
        }
    }

    func stop(now: Bool) {
        self.sender.yield(.stop(now: now))
    }
}
