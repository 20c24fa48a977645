import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Logging
import Supervisor
import Synchronization
import Systemd
import UnixSignals

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

    @Option(
        help: """
            How lines look: text, json, or journal (entries with fields, sent to the journal). Default: journal when standard \
            output leads there, else text.
            """
    )
    var logFormat: LogFormat?

    @Flag(
        help: "The first process that ends, ends all; its exit code is the launcher's (the rule of upstream's scripts)."
    )
    var exitOnFirst = false

    func run() async throws {
        // A reader of our output that goes away must not take the deployment down.
        signal(SIGPIPE, SIG_IGN)
        let watchdog = try Self.takeWatchdog()
        let format = try LogFormat.chosen(self.logFormat)
        let (preparation, plan) = try await self.prepare()
        let output = ForegroundOutput(
            plan: plan,
            format: format,
            colour: Terminal.colour(on: STDOUT_FILENO, environment: preparation.environment)
        )
        output.introduce(manifest: preparation.selection.description)

        let port = PublicPort(
            plan: plan,
            logger: Logger(label: ForegroundOutput.name) { _ in LauncherLogHandler(output: output, subject: "gateway") }
        )
        do { try await port?.bind() } catch {
            output.complain("error: \(error); nothing was started")
            ServiceNotifier().failed(status: "nothing was started: \(error)", exitStatus: 1)
            await output.finish()
            throw ExitCode(1)
        }
        let outcome = await self.supervise(plan, port, output, watchdog)
        output.conclude(outcome)
        await output.finish()
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
    private func prepare() async throws -> (Preparation, Plan) {
        do {
            let preparation = try Preparation(self.options)
            return (preparation, try await preparation.plan(leases: .held))
        } catch {
            ServiceNotifier().failed(
                status: "nothing was started: the journal has the manifest's errors",
                exitStatus: 1
            )
            throw error
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
        let service = ServiceProgress(plan: plan, options: options, watchdog: watchdog) { output.say($0, as: .warning) }
        let supervisor = Supervisor(
            plan: plan,
            options: options,
            requestPlaneProbe: PlaneProbe(plan: plan, logger: logger).probe,
            onReady: { await check.mismatches(at: $0) },
            logs: { output.show($0) },
            notices: { progress.show($0) },
            observer: { notice in
                if case .stopping = notice { Terminal.hurry() }
                output.observe(notice)
                relays.observe(notice)
                service.observe(notice)
                port?.observe(notice)
            },
            relays: { relays.statuses },
            publicPort: port,
            heartbeat: service.heartbeat,
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
                // timeout(1) and others signal a process and then its group: signals that come together are one.
                var first: ContinuousClock.Instant?
                for await _ in signals {
                    let now = ContinuousClock.now
                    if let first {
                        if now - first > .milliseconds(250) { supervisor.requestStop(now: true) }
                    } else {
                        first = now
                        supervisor.requestStop(now: false)
                    }
                }
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
        self.output.say("\(subject)\(event.level): \(event.message)", as: Self.priority(of: event.level))
    }

    private static func priority(of level: Logger.Level) -> JournalEntry.Priority {
        switch level {
        case .trace, .debug: .debug
        case .info: .info
        case .notice: .notice
        case .warning: .warning
        case .error: .error
        case .critical: .critical
        }
    }
}
