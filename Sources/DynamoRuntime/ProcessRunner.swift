import Glibc
public import Logging
public import ServiceLifecycle
import UnixSignals

/// Runs a service as the whole process.
public enum ProcessRunner {
    /// Runs until the service ends.
    ///
    /// SIGTERM and SIGINT ask it to stop; the second of them ends the process at once.
    ///
    /// - Parameters:
    ///   - service: the process.
    ///   - logger: where signals are reported.
    /// - Throws: what the service throws.
    public static func run(_ service: any Service, logger: Logger) async throws {
        self.raiseDescriptorLimit()
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)],
                logger: Logger(label: "ServiceLifecycle") { _ in SwiftLogNoOpLogHandler() }
            )
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            tasks.addTask {
                var isStopping = false
                for await signal in signals {
                    if isStopping {
                        logger.warning("second signal: exiting at once", metadata: ["signal": "\(signal)"])
                        exit(signal == .sigint ? 130 : 143)
                    }
                    isStopping = true
                    logger.info("stopping", metadata: ["signal": "\(signal)"])
                    await group.triggerGracefulShutdown()
                }
            }
            defer { tasks.cancelAll() }
            try await tasks.next()
        }
    }

    /// A request takes two descriptors in a frontend, and the usual soft limit of 1024 would be reached at 500 of them.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = max(limit.rlim_cur, min(limit.rlim_max, 65536))
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
