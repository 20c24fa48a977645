import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Logging
import Supervisor
import Synchronization
import Systemd
import UnixSignals

extension ConsoleFormatter.Format: ExpressibleByArgument {}

/// `up`: starts a deployment, proves that it serves, and keeps it serving until it is stopped.
struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Start a deployment, prove that it serves, and keep it serving until it is stopped.",
        discussion: """
            Ctrl-C or SIGTERM stops the processes in reverse order, a second one at once. The exit code is 0 after a clean stop; \
            otherwise the last line names the process, its exit and its log.
            """
    )

    @OptionGroup var options: ManifestOptions

    @Option(help: "How lines look: text or json.")
    var logFormat: ConsoleFormatter.Format = .text

    @Flag(
        help: "The first process that ends, ends all; its exit code is the launcher's (the rule of upstream's scripts)."
    )
    var exitOnFirst = false

    func run() async throws {
        // A reader of our output that goes away must not take the deployment down.
        signal(SIGPIPE, SIG_IGN)
        let watchdog = try Self.takeWatchdog()
        let (preparation, ports, plan) = try await self.prepare()
        let output = ForegroundOutput(
            plan: plan,
            format: self.logFormat,
            colour: Terminal.colour(on: STDOUT_FILENO, environment: preparation.environment)
        )
        output.introduce(manifest: preparation.selection.description)

        let port = PublicPort(
            plan: plan,
            logger: Logger(label: ForegroundOutput.name) { _ in LauncherLogHandler(output: output, subject: "gateway") }
        )
        do { try await port?.bind() } catch {
            Terminal.printError("error: \(error); nothing was started")
            ServiceNotifier().failed(status: "nothing was started: \(error)", exitStatus: 1)
            throw ExitCode(1)
        }
        let outcome = await self.supervise(plan, ports, port, output, watchdog)
        for survivor in outcome.survivors { Terminal.printError("still running: \(survivor)") }
        if let failure = outcome.failure { Terminal.printError("error: \(failure.message)") }
        if outcome.exitCode != 0 { throw ExitCode(outcome.exitCode) }
    }

    /// Whether the caller wants the program to outlive its terminal (nohup).
    private static var ignoresHangup: Bool {
        let inherited = signal(SIGHUP, SIG_DFL)
        let isIgnored = unsafeBitCast(inherited, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
        if isIgnored { signal(SIGHUP, SIG_IGN) }
        return isIgnored
    }

    /// Reads the manifest and looks at the machine; a failure is said to the service manager too.
    private func prepare() async throws -> (Preparation, PortSource, Plan) {
        do {
            let preparation = try Preparation(self.options)
            let ports = preparation.ports(.held)
            return (preparation, ports, try await preparation.plan(leases: ports))
        } catch {
            ServiceNotifier().failed(
                status: "nothing was started: the journal has the manifest's errors",
                exitStatus: 1
            )
            throw error
        }
    }

    /// The plan of the manifest as it is now, on the ports that were leased before.
    private static func replan(_ options: ManifestOptions, _ ports: PortSource) async throws(ReplanFailure) -> Plan {
        do throws(Preparation.Failure) {
            return try await Preparation(reading: options).plan(ports: ports)
        } catch {
            throw ReplanFailure(description: error.lines.joined(separator: "\n"))
        }
    }

    /// What the service manager wants; before other threads look at the environment.
    private static func takeWatchdog() throws -> Watchdog? {
        do { return try Watchdog.take() } catch {
            Terminal.printError("error: \(error)")
            throw ExitCode(1)
        }
    }

    private func supervise(
        _ plan: Plan,
        _ ports: PortSource,
        _ port: PublicPort?,
        _ output: ForegroundOutput,
        _ watchdog: Watchdog?
    ) async -> SupervisorOutcome {
        let logger = Logger(label: ForegroundOutput.name) { _ in LauncherLogHandler(output: output) }
        let check = RegistrationCheck(plan: plan, logger: logger)
        let relays = KVRelays(
            plan: plan,
            makeLogger: { replica in
                Logger(label: ForegroundOutput.name) { _ in LauncherLogHandler(output: output, subject: replica) }
            },
            say: { output.say($0) }
        )
        let options = SupervisorOptions(exitOnFirst: self.exitOnFirst)
        let progress = Progress(output: output)
        let service = ServiceProgress(plan: plan, options: options, watchdog: watchdog) { output.say($0) }
        let supervisor = Supervisor(
            plan: plan,
            options: options,
            requestPlaneProbe: PlaneProbe(plan: plan, logger: logger).probe,
            onReady: { await check.mismatches(at: $0) },
            logs: { output.show($0) },
            notices: { progress.show($0) },
            observer: { notice in
                if case .stopping = notice { Terminal.hurry() }
                relays.observe(notice)
                service.observe(notice)
                port?.observe(notice)
            },
            relays: { relays.statuses },
            publicPort: port,
            heartbeat: service.heartbeat,
            replan: { [options = self.options] () throws(ReplanFailure) in try await Self.replan(options, ports) },
            logger: logger
        )
        let signals = await UnixSignalsSequence(
            trapping: Self.ignoresHangup ? [.sigint, .sigterm] : [.sigint, .sigterm, .sighup]
        )
        let outcome = await withTaskGroup(of: SupervisorOutcome?.self) { group in
            group.addTask { await supervisor.run() }
            group.addTask {
                await relays.run()
                return nil
            }
            if let port {
                group.addTask {
                    await port.run()
                    return nil
                }
            }
            group.addTask {
                await Self.obey(signals, supervisor, service, output)
                return nil
            }
            while let next = await group.next() {
                guard let outcome = next else { continue }
                group.cancelAll()
                return outcome
            }
            return SupervisorOutcome(exitCode: 1, reason: .failed)
        }
        service.ended(outcome)
        return outcome
    }

    /// Signals stop the deployment; under a service manager SIGHUP makes it match its manifest as it is now.
    private static func obey(
        _ signals: UnixSignalsSequence,
        _ supervisor: Supervisor,
        _ service: ServiceProgress,
        _ output: ForegroundOutput
    ) async {
        await withDiscardingTaskGroup { group in
            // timeout(1) and others signal a process and then its group: signals that come together are one.
            var first: ContinuousClock.Instant?
            for await signal in signals {
                if signal == .sighup, service.isManaged {
                    group.addTask { await Self.apply(supervisor, output) }
                    continue
                }
                let now = ContinuousClock.now
                if let first {
                    if now - first > .milliseconds(250) { supervisor.requestStop(now: true) }
                } else {
                    first = now
                    supervisor.requestStop(now: false)
                }
            }
        }
    }

    /// What becomes of it is told by the supervisor's notices.
    private static func apply(_ supervisor: Supervisor, _ output: ForegroundOutput) async {
        do throws(RolloutRefusal) {
            let (change, _) = try await supervisor.apply()
            output.say(ChangeRendering.text(change))
        } catch {
            output.say("SIGHUP: \(error)")
        }
    }
}

/// Follows the notices: shows them, and remembers the times for the summary.
private final class Progress: Sendable {
    private let output: ForegroundOutput
    private let reached: Mutex<[String: [LayerReached]]> = Mutex([:])

    init(output: ForegroundOutput) { self.output = output }

    func show(_ notice: SupervisorNotice) {
        let reached = self.reached.withLock { reached in
            switch notice {
            case .started(let replica, _): reached[replica] = []
            case .layerReached(let replica, let layer, let seconds):
                reached[replica, default: []].append(LayerReached(layer: layer, seconds: seconds))
            default: break
            }
            return reached
        }
        self.output.show(notice, reached: reached)
    }
}

/// Sends the launcher's own log where its other lines go.
private struct LauncherLogHandler: LogHandler {
    let output: ForegroundOutput
    /// What the log is about, in front of each line.
    var subject: String?
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .warning

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let subject = self.subject.map { "\($0): " } ?? ""
        self.output.say("\(subject)\(event.level): \(event.message)")
    }
}
