import ArgumentParser
import Deployment
import Gateway
import Glibc
import Logging
import Rollout
import Supervisor
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

    @Option(
        help: ArgumentHelp(
            "Answer under /live, /ready and /metrics at this port, or HOST:PORT, for a kubelet or another watcher.",
            discussion:
                "/ready is 200 while the deployment serves, else 503 with the reason. A port alone is one of 127.0.0.1.",
            valueName: "address"
        ),
        transform: { try HTTPAddress(watched: $0) }
    )
    var health: HTTPAddress?

    @Flag(
        name: [.customShort("d"), .long],
        help: ArgumentHelp(
            "Return when the deployment serves, and leave it running.",
            discussion: "'dynamo-launch logs' and 'events' show what it says then, and 'stop' ends it."
        )
    )
    var detach = false

    @Option(
        help: ArgumentHelp(
            "Write a line to this descriptor, and close it, when the deployment serves (as s6 and dinit wait for it).",
            valueName: "number"
        )
    )
    var readyFd: Int32?

    /// Readiness is said when a changed manifest was applied to what was adopted.
    @Flag(help: .hidden)
    var readyWhenChanged = false

    func validate() throws {
        if self.detach, self.readyFd != nil { throw ValidationError("--detach and --ready-fd exclude each other") }
        if let readyFd, readyFd < 3 { throw ValidationError("--ready-fd takes a number from 3") }
    }

    func run() async throws {
        if self.detach { return try await Self.detach() }
        // A reader of our output that goes away must not take the deployment down.
        signal(SIGPIPE, SIG_IGN)
        // A journal or log that may not grow is an error to be said, not an end.
        signal(SIGXFSZ, SIG_IGN)
        Supervisor.raiseDescriptorLimit()
        let watchdog = try Self.takeFromEnvironment { try Watchdog.take() }
        let passed = try Self.takeFromEnvironment { try PassedSockets.take() }
        let format = try LogFormat.chosen(self.logFormat)
        let readiness = self.readyFd.flatMap(ReadinessLine.init)
        if let readyFd, readiness == nil {
            throw Self.nothingWasStarted("--ready-fd \(readyFd) is not open for writing")
        }
        let start = try await DeploymentStart.prepare(self.options, passed) { Self.nothingWasStarted($0) }
        defer { start.host.close() }
        let (plan, listeners) = (start.plan, start.listeners)
        let output = ForegroundOutput(
            plan: plan,
            format: format,
            colour: Terminal.colour(on: STDOUT_FILENO, environment: start.preparation.environment),
            events: EventLog(path: start.host.directories.events),
            readiness: readiness
        )
        if start.isOutdated, self.readyWhenChanged { readiness?.hold() }
        if let words = start.host.lostLauncherWords { output.say(words, as: .warning) }
        output.introduce(manifest: start.preparation.description)
        for note in start.notes { output.say("note: \(note)", as: .notice) }

        // A terminal that is held up must not hold up the public port.
        let queue = LineQueue()
        let port = PublicPort(
            plan: plan,
            listeners: listeners,
            host: start.host,
            logger: Logger(label: ForegroundOutput.name) { _ in
                LauncherLogHandler(output: output, subject: "gateway", queue: queue)
            }
        )
        do { try listeners.discardUnused() } catch { output.complain("warning: \(error)") }
        do { try await port?.bind() } catch {
            await output.finish()
            throw Self.nothingWasStarted("\(error)", errno: (error as? PublicPort.Unavailable)?.errno)
        }
        let watch = WatchPorts(metrics: plan.gateway?.metrics, health: self.health)
        do { try await watch.bind() } catch {
            await port?.release()
            await output.finish()
            throw Self.nothingWasStarted(error.description, errno: error.errno)
        }
        do { try await port?.leaveWithServiceManager() } catch {
            output.complain("warning: a restart of the launcher may lose connections: \(error)")
        }
        let outcome = await self.supervise(start, port, watch, output, readiness, queue, watchdog)
        output.conclude(outcome)
        await output.finish()
        if outcome.reason == .completed {
            // All work is done, which is as much as being ready.
            readiness?.release()
            readiness?.write()
        }
        if outcome.exitCode != 0 { throw ExitCode(outcome.exitCode) }
    }

    /// The same command line without the flag, in a session of its own.
    private static func detach() async throws {
        let launch = DetachedLaunch(arguments: Array(CommandLine.arguments.dropFirst()))
        let code: Int32
        do { code = try await launch.run() } catch { throw self.nothingWasStarted("\(error)") }
        if code != 0 { throw ExitCode(code) }
    }

    /// What `ignoresHangup` was at the start: what traps signals changes what they do.
    static let ignoredHangup = Self.ignoresHangup

    /// Whether the caller wants the program to outlive its terminal (nohup).
    static var ignoresHangup: Bool {
        let inherited = signal(SIGHUP, SIG_DFL)
        let isIgnored = unsafeBitCast(inherited, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
        if isIgnored { signal(SIGHUP, SIG_IGN) }
        return isIgnored
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
        _ start: DeploymentStart,
        _ port: PublicPort?,
        _ watch: WatchPorts,
        _ output: ForegroundOutput,
        _ readiness: ReadinessLine?,
        _ queue: LineQueue,
        _ watchdog: Watchdog?
    ) async -> SupervisorOutcome {
        let plan = start.plan
        let logger = Logger(label: ForegroundOutput.name) { _ in LauncherLogHandler(output: output) }
        var options = SupervisorOptions(
            exitOnFirst: self.exitOnFirst,
            deploymentStart: .now,
            gpuTool: GPUTool(environment: start.preparation.environment)
        )
        // After the comparison with discovery the public port is asked.
        options.verificationTimeout += port?.proofTime ?? 0
        let service = ServiceProgress(plan: plan, options: options, watchdog: watchdog) { output.say($0, as: .warning) }
        let fleet = GenerationFleet(start, port: port, service: service, output: output, options: options)
        let runner = MigrationRunner(fleet, journal: start.journal)
        if let second = start.second { runner.takeUp(second.migration) }
        start.host.onUpgrade { binary in await LauncherUpgrade(start: start, fleet: fleet, output: output).run(binary) }
        let signals = await UnixSignalsSequence(
            trapping: Self.ignoredHangup ? [.sigint, .sigterm] : [.sigint, .sigterm, .sighup]
        )
        let outcome = await start.host.serving(
            migrations: runner,
            metrics: { LauncherMetrics.text($0, await port?.status) },
            logger: logger,
            warn: { output.say("warning: \($0)", as: .warning) },
            {
                await withTaskGroup(of: SupervisorOutcome?.self) { group in
                    group.addTask { await fleet.run(plan, adopting: start.orphans, beside: start.second, runner) }
                    if !start.others.isEmpty {
                        group.addTask {
                            await Self.end(start.others, fleet, port)
                            return nil
                        }
                    }
                    if start.isOutdated {
                        group.addTask {
                            // Else the line that says how it ended lets go.
                            if await !Self.catchUp(fleet, output) { readiness?.release() }
                            return nil
                        }
                    }
                    group.addTask {
                        await queue.run(output)
                        return nil
                    }
                    if let port {
                        group.addTask {
                            if let trouble = await port.run() { fleet.fail(trouble) }
                            return nil
                        }
                    }
                    group.addTask {
                        await watch.run { await Self.answer($0, fleet, port) }
                        return nil
                    }
                    if let port, let idle = plan.gateway?.idleExit, start.listeners.isActivated {
                        group.addTask {
                            guard await port.pauseWhenIdle(for: .seconds(idle), unless: { fleet.isMigrating }) else {
                                return nil
                            }
                            let reason = "no request for \(plan.gateway?.idleExitText ?? "")"
                            output.say(
                                "\(reason): stopping; who holds the public socket starts it again with the next connection"
                            )
                            service.stops(because: reason)
                            fleet.requestStop(now: false)
                            return nil
                        }
                    }
                    group.addTask {
                        await Self.obey(signals, fleet, service, output)
                        return nil
                    }
                    while let next = await group.next() {
                        guard let outcome = next else { continue }
                        group.cancelAll()
                        return outcome
                    }
                    return SupervisorOutcome(exitCode: 1, reason: .failed)
                }
            }
        )
        service.ended(outcome)
        return outcome
    }

    /// A page for those who watch; nil when there is nothing to say any more.
    private static func answer(_ page: WatchPage, _ fleet: GenerationFleet, _ port: PublicPort?) async -> WatchAnswer? {
        let status = await fleet.supervisor?.status()
        switch page {
        case .metrics:
            guard let status else { return nil }
            return .metrics(LauncherMetrics.text(status, await port?.status))
        case .live: return LauncherHealth.live(status)
        case .ready: return LauncherHealth.ready(status, isStopping: fleet.isStopping)
        }
    }

    /// Signals stop the deployment; under a service manager SIGHUP makes it match its manifest as it is now.
    private static func obey(
        _ signals: UnixSignalsSequence,
        _ fleet: GenerationFleet,
        _ service: ServiceProgress,
        _ output: ForegroundOutput
    ) async {
        await withDiscardingTaskGroup { group in
            // timeout(1) and others signal a process and then its group: signals that come together are one.
            var first: ContinuousClock.Instant?
            for await signal in signals {
                if signal == .sighup, service.isManaged {
                    group.addTask { await Self.apply(fleet, output) }
                    continue
                }
                let now = ContinuousClock.now
                if let first {
                    if now - first > .milliseconds(250) { fleet.requestStop(now: true) }
                } else {
                    first = now
                    fleet.requestStop(now: false)
                }
            }
        }
    }

    /// Ends generations of an earlier launcher that are not to go on, once they have answered what they have.
    private static func end(_ others: [Orphans], _ fleet: GenerationFleet, _ port: PublicPort?) async {
        // It is begun by another task, and takes its own requests first.
        while fleet.supervisor == nil, !Task.isCancelled { try? await Task.sleep(for: .milliseconds(10)) }
        await port?.forgetInherited()
        for other in others { await other.end() }
    }

    /// What an earlier launcher has started is changed to what the manifest says now, once it is known how it is.
    ///
    /// - Returns: whether it was begun, and a notice tells how it ended.
    private static func catchUp(_ fleet: GenerationFleet, _ output: ForegroundOutput) async -> Bool {
        // It is begun by another task.
        while fleet.supervisor == nil, !Task.isCancelled { try? await Task.sleep(for: .milliseconds(10)) }
        await fleet.supervisor?.waitUntilSettled(atMost: .seconds(86_400))
        while !Task.isCancelled, fleet.isMigrating || fleet.supervisor?.isChanging ?? false {
            try? await Task.sleep(for: .milliseconds(200))
        }
        return await Self.apply(fleet, output, because: "adopted")
    }

    /// What becomes of it is told by the supervisor's notices.
    ///
    /// - Returns: whether it was begun.
    @discardableResult
    private static func apply(
        _ fleet: GenerationFleet,
        _ output: ForegroundOutput,
        because reason: String = "SIGHUP"
    ) async -> Bool {
        do throws(RolloutRefusal) {
            guard let supervisor = fleet.supervisor else { throw .stopping }
            if fleet.isMigrating { throw .migrating }
            let (change, _) = try await supervisor.apply()
            output.say(ChangeRendering.text(change))
            return true
        } catch {
            output.say("\(reason): \(error)")
            return false
        }
    }
}
