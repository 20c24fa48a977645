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
        let watchdog = try Self.takeFromEnvironment { try Watchdog.take() }
        let passed = try Self.takeFromEnvironment { try PassedSockets.take() }
        let format = try LogFormat.chosen(self.logFormat)
        let (preparation, ports, plan, listeners) = try await self.prepare(passed)
        let output = ForegroundOutput(
            plan: plan,
            format: format,
            colour: Terminal.colour(on: STDOUT_FILENO, environment: preparation.environment)
        )
        output.introduce(manifest: preparation.selection.description)

        // A terminal that is held up must not hold up the public port.
        let queue = LineQueue()
        let port = PublicPort(
            plan: plan,
            listeners: listeners,
            logger: Logger(label: ForegroundOutput.name) { _ in
                LauncherLogHandler(output: output, subject: "gateway", queue: queue)
            }
        )
        do { try listeners.discardUnused() } catch { output.complain("warning: \(error)") }
        do { try await port?.bind() } catch {
            await output.finish()
            throw Self.nothingWasStarted("\(error)", errno: (error as? PublicPort.Unavailable)?.errno)
        }
        do { try await port?.leaveWithServiceManager() } catch {
            output.complain("warning: a restart of the launcher may lose connections: \(error)")
        }
        let outcome = await self.supervise(plan, ports, port, listeners, output, queue, watchdog)
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
    private func prepare(_ passed: PassedSockets) async throws -> (Preparation, PortSource, Plan, PublicListeners) {
        let preparation: Preparation
        let ports: PortSource
        var plan: Plan
        do {
            preparation = try Preparation(self.options)
            ports = preparation.ports(.held)
            plan = try await preparation.plan(leases: ports)
        } catch {
            ServiceNotifier().failed(
                status: "nothing was started: the journal has the manifest's errors",
                exitStatus: 1
            )
            throw error
        }
        do {
            let listeners = try PublicListeners(passed, plan: plan)
            plan.publicAddress = listeners.address ?? plan.publicAddress
            plan.notes += listeners.notes
            return (preparation, ports, plan, listeners)
        } catch { throw Self.nothingWasStarted("\(error)") }
    }

    /// The plan of the manifest as it is now, on the ports that were leased before, at the address that is served.
    private static func replan(
        _ options: ManifestOptions,
        _ ports: PortSource,
        _ listeners: PublicListeners
    ) async throws(ReplanFailure) -> Plan {
        do throws(Preparation.Failure) {
            var plan = try await Preparation(reading: options).plan(ports: ports)
            plan.publicAddress = listeners.address ?? plan.publicAddress
            return plan
        } catch {
            throw ReplanFailure(description: error.lines.joined(separator: "\n"))
        }
    }

    /// Says so here and to the service manager.
    private static func nothingWasStarted(_ reason: String, errno: Int32? = nil) -> ExitCode {
        Terminal.printError("error: \(reason); nothing was started")
        ServiceNotifier().failed(status: "nothing was started: \(reason)", errno: errno, exitStatus: 1)
        return ExitCode(1)
    }

    /// What the service manager wants and gives; before other threads look at the environment.
    private static func takeFromEnvironment<Value>(_ take: () throws -> Value) throws -> Value {
        do { return try take() } catch { throw self.nothingWasStarted("\(error)") }
    }

    private func supervise(
        _ plan: Plan,
        _ ports: PortSource,
        _ port: PublicPort?,
        _ listeners: PublicListeners,
        _ output: ForegroundOutput,
        _ queue: LineQueue,
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
        var options = SupervisorOptions(exitOnFirst: self.exitOnFirst)
        // After the comparison with discovery the public port is asked.
        options.verificationTimeout += port?.proofTime ?? 0
        let progress = Progress(output: output)
        let service = ServiceProgress(plan: plan, options: options, watchdog: watchdog) { output.say($0, as: .warning) }
        let supervisor = Supervisor(
            plan: plan,
            options: options,
            requestPlaneProbe: PlaneProbe(plan: plan, logger: logger).probe,
            onReady: { stage in
                let mismatches = await check.mismatches(at: stage)
                return mismatches.isEmpty ? await port?.troubles(at: stage) ?? [] : mismatches
            },
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
            metrics: { LauncherMetrics.text($0, port?.status) },
            heartbeat: service.heartbeat,
            replan: { [options = self.options] () throws(ReplanFailure) in
                try await Self.replan(options, ports, listeners)
            },
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
            group.addTask {
                await queue.run(output)
                return nil
            }
            if let port {
                group.addTask {
                    await port.run { await supervisor.metricsText() }
                    return nil
                }
            }
            if let port, let idle = plan.gateway?.idleExit, listeners.isActivated {
                group.addTask {
                    guard await port.pauseWhenIdle(for: .seconds(idle)) else { return nil }
                    let reason = "no request for \(plan.gateway?.idleExitText ?? "")"
                    output.say(
                        "\(reason): stopping; who holds the public socket starts it again with the next connection"
                    )
                    service.stops(because: reason)
                    supervisor.requestStop(now: false)
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
    /// Where lines wait that must not be waited for.
    var queue: LineQueue?
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .warning

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let subject = self.subject.map { "\($0): " } ?? ""
        let details = self.metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        let text =
            "\(subject)\(event.level): \(event.message)"
            + (details.isEmpty ? "" : " (\(details.map { "\($0.key): \($0.value)" }.joined(separator: ", ")))")
        let line = LineQueue.Line(text: text, priority: Self.priority(of: event.level))
        if let queue { queue.put(line) } else { self.output.say(line.text, as: line.priority) }
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
