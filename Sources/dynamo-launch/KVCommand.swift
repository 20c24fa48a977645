import ArgumentParser
import Deployment
import Discovery
import FoundationEssentials
import Glibc
import KVRouting
import Logging
import RequestPlaneTransports
import Supervisor
import UnixSignals

/// `kv`: what routers know of the workers' caches, live.
struct KVCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kv",
        abstract: "Show the KV event plane of a running deployment.",
        discussion: """
            Follows the workers' KV events as a router does, and asks the workers for what they hold. Nothing is registered, so \
            that no router takes it for another one. Reads the NATS core plane of Dynamo 1.0 to 1.2 and of dynamo-worker.

            Exit code: 0, or 1 when there is no such plane, or not every worker has told what it holds in time.

            Examples:
              dynamo-launch kv                     once, when every worker has told what it holds
              dynamo-launch kv --follow            every second, until interrupted
              dynamo-launch kv --follow --json     one object a line; docs/kv-events.md has the fields
            """
    )

    @Argument(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var name: String?

    @Flag(name: [.long, .short], help: "Go on until interrupted, or until the deployment ends.")
    var follow = false

    @Option(
        help: ArgumentHelp("Over how long rates are taken; with --follow also between two lines.", valueName: "seconds")
    )
    var interval = 1.0

    @Option(help: ArgumentHelp("How long workers may take to tell what they hold.", valueName: "seconds"))
    var timeout = 10.0

    @Flag(help: "Print JSON.")
    var json = false

    /// Between two looks at discovery and at the reader of the output.
    private static let pause = Duration.milliseconds(100)

    private enum End {
        case seen(isComplete: Bool)
        case interrupted
        case networkEnded
    }

    func validate() throws {
        for (name, value) in [("--interval", self.interval), ("--timeout", self.timeout)] {
            guard value >= 0.1, value <= 86_400 else {
                throw ValidationError("\(name) takes seconds, from 0.1 to 86400")
            }
        }
    }

    func run() async throws {
        // A closed pipe is looked for instead: the connections of this command must not end it either.
        signal(SIGPIPE, SIG_IGN)
        let deployment = try await RunningDeployment.find(self.name)
        let plan = try await deployment.ask { try await $0.plan() }
        let logger = Logger(label: "kv") { _ in SwiftLogNoOpLogHandler() }
        let check = RegistrationCheck(plan: plan, logger: logger)
        guard let discovery = check.client else {
            throw self.failure(plan, "it has discovery in memory: its workers cannot be found from outside")
        }
        let network: NetworkManager
        let plane: RoutingPlane
        do {
            let access = try KVPlaneAccess(plan, caller: ProcessInfo.processInfo.environment)
            let configuration = try NetworkManager.Configuration(environment: access.environment, logger: logger)
            switch access.plane {
            case .nats: plane = try await .connect(try configuration.nats.connection.get(), logger: logger)
            // Nothing is published here, so that nobody is told an address.
            case .zmq: plane = try .zmq(announcing: "127.0.0.1", logger: logger)
            }
            network = NetworkManager(configuration: configuration, logger: logger)
        } catch {
            throw self.failure(plan, "\(error)")
        }
        let watch = KVWatch(
            plan: plan,
            discovery: discovery,
            plane: plane,
            client: network.client,
            logger: logger,
            owners: await check.owners()
        )
        let end = await self.run(watch, network, deployment)
        await plane.close()
        if case .seen(false) = try end.get() { throw ExitCode(1) }
    }

    private func run(
        _ watch: KVWatch,
        _ network: NetworkManager,
        _ deployment: RunningDeployment
    ) async -> Result<End, any Error> {
        let signals = await UnixSignalsSequence(trapping: [.sigint, .sigterm])
        do {
            let end = try await withThrowingTaskGroup(of: End.self) { group in
                group.addTask {
                    try await network.run()
                    return .networkEnded
                }
                group.addTask {
                    for await _ in signals { break }
                    return .interrupted
                }
                group.addTask { .seen(isComplete: try await self.show(watch, deployment)) }
                defer { group.cancelAll() }
                return try await group.next() ?? .interrupted
            }
            return .success(end)
        } catch let error as ExitCode {
            return .failure(error)
        } catch {
            return .failure(self.failure(watch.plan, "\(error)"))
        }
    }

    /// Prints until there is nothing more to print.
    ///
    /// - Returns: whether what was printed last was complete.
    private func show(_ watch: KVWatch, _ deployment: RunningDeployment) async throws -> Bool {
        let start = ContinuousClock.now
        var shown: KVReport?
        var isComplete = true
        try await watch.run(every: Self.pause) { sight in
            if Terminal.isReaderGone { return false }
            let isLate = .now - start >= .seconds(self.timeout)
            switch sight {
            case .nobody(let reason):
                if self.follow {
                    guard await deployment.isRunning else { return false }
                    return true
                }
                guard !isLate else { throw self.failure(watch.plan, reason) }
                return true
            case .plane(var report):
                guard let earlier = shown else {
                    // The first one is only the base of the rates.
                    if report.isCaughtUp || isLate { shown = report }
                    return true
                }
                guard report.time - earlier.time >= self.interval else { return true }
                report.rate(since: earlier)
                shown = report
                isComplete = report.isCaughtUp
                try self.print(report)
                guard self.follow else { return false }
                guard await deployment.isRunning else {
                    Terminal.printError("deployment \(deployment.name) has ended")
                    return false
                }
                return true
            }
        }
        return self.follow || isComplete
    }

    private func print(_ report: KVReport) throws {
        if self.json { return Terminal.print(self.follow ? try JSONText.line(report) : try JSONText.pretty(report)) }
        guard self.follow else { return Terminal.print(KVRendering.text(report)) }
        // On a terminal in place, elsewhere one after the other.
        let isTerminal = isatty(STDOUT_FILENO) == 1
        Terminal.printVerbatim(
            (isTerminal ? "\u{1B}[H\u{1B}[J" : "") + KVRendering.text(report) + "\n" + (isTerminal ? "" : "\n")
        )
    }

    private func failure(_ plan: Plan, _ reason: String) -> ExitCode {
        RunningDeployment.failure("error: deployment \(plan.deployment): \(reason)")
    }
}
