import Deployment
import Supervisor
import Systemd

/// What `up` shows while it runs: the lines of all processes, and what happens to them, in one stream or in the journal.
struct ForegroundOutput: Sendable {
    /// The name in front of the launcher's own lines.
    static let name = "dynamo-launch"

    private let plan: Plan
    private let format: LogFormat
    private let colour: Bool
    private let formatter: ConsoleFormatter
    /// Where lines go with `LogFormat.journal`.
    private let journal: JournalOutput?
    private let events: EventLog
    /// Gets a line when the deployment serves.
    private let readiness: ReadinessLine?

    init(plan: Plan, format: LogFormat, colour: Bool, events: EventLog, readiness: ReadinessLine?) {
        self.plan = plan
        self.readiness = readiness
        self.events = events
        self.format = format
        self.colour = colour
        self.formatter = ConsoleFormatter(
            format: format == .json ? .json : .text,
            colour: colour,
            processes: [Self.name] + plan.replicas.map(\.process),
            replicas: [Self.name] + plan.replicas.map { ReplicaLabel.text($0.name, generation: plan.generation) }
        )
        self.journal = format == .journal ? JournalOutput(plan: plan) : nil
    }

    /// Whose lines they are.
    var generation: Int { self.plan.generation }

    /// The same for another generation, whose processes are called otherwise.
    func of(_ plan: Plan) -> ForegroundOutput {
        ForegroundOutput(
            plan: plan,
            format: self.format,
            colour: self.colour,
            events: self.events,
            readiness: self.readiness
        )
    }

    private var isForPeople: Bool { self.journal == nil && self.formatter.format == .text }

    // MARK: Lines of processes

    func show(_ line: LogLine) {
        var line = line
        line.generation = self.plan.generation
        guard let journal = self.journal else { return self.write(line) }
        journal.show(line)
    }

    // MARK: What happens

    /// Gets every notice before it is shown; returns at once.
    func observe(_ notice: SupervisorNotice) { self.journal?.observe(notice) }

    /// Before anything is started: which manifest, which planes, and what the user should know.
    func introduce(manifest: String) {
        self.say("deployment \(self.plan.deployment), manifest: \(manifest)")
        self.say("Using request plane mode: \(self.plan.planes.request.rawValue)")
        for note in self.plan.notes { self.say("note: \(note)", as: .notice) }
    }

    /// Why it ended, if it should not have.
    func conclude(_ outcome: SupervisorOutcome) {
        for survivor in outcome.survivors { self.complain("still running: \(survivor)") }
        if let failure = outcome.failure { self.complain("error: \(failure.message)") }
    }

    /// On standard error, or in the journal.
    func complain(_ text: String) {
        self.keep(text, .error, about: nil)
        guard let journal = self.journal else { return Terminal.printError(text) }
        for line in text.split(separator: "\n") { journal.say(String(line), as: .error) }
    }

    /// Waits, not for long, until the journal has what was said.
    func finish() async { await self.journal?.finish() }

    func show(_ notice: SupervisorNotice, reached: [String: [LayerReached]]) {
        switch notice {
        case .started(let replica, let pid):
            self.tell("\(replica): started, pid \(pid)", about: replica)
        case .adopted(let replica, let pid, let seconds):
            let since = LogTime(milliseconds: LogTime.now.milliseconds - Int64(seconds * 1000))
            self.tell("\(replica): adopted, pid \(pid), running since \(since)", about: replica)
        case .layerReached(let replica, let layer, let seconds):
            // Alive is said by `started`.
            guard layer != .alive else { return }
            self.tell("\(replica): \(layer.rawValue) after \(Seconds.text(seconds))", about: replica)
        case .replicaState(let replica, let state, let detail):
            let text = "\(replica): \(state.rawValue)\(detail.map { ", \($0)" } ?? "")"
            switch state {
            case .waiting, .stopping, .restarting, .stopped: self.tell(text, about: replica)
            case .unready: self.tell(text, as: .warning, about: replica)
            case .failed: self.tell(text, as: .error, about: replica)
            case .starting, .ready, .backingOff: break
            }
        case .stuck(let replica, let layer, let seconds, let reason, let lastLines):
            self.tell(
                "\(replica): waiting for \(layer.rawValue) for \(Seconds.text(seconds))\(reason.map { ": \($0)" } ?? "")",
                as: .notice,
                about: replica
            )
            self.quote(lastLines, of: replica)
        case .holding(let replica, let pid, let signal, let seconds, let left):
            self.tell(
                "\(replica): pid \(pid) has not ended \(Seconds.text(seconds)) after \(signal); it is killed in \(Seconds.text(left))",
                as: .notice,
                about: replica
            )
        case .signalled(let replica, let pid, let signal):
            let text = "\(replica): \(signal) sent to pid \(pid), by 'dynamo-launch signal'"
            self.tell(text, as: .notice, about: replica)
        case .said, .ended:
            // What it says is shown by `status` and where a layer is waited for; how it ended is said when its output was read.
            break
        case .exited(let replica, let exit, let lastLines):
            self.tell("\(replica): \(exit)", as: .warning, about: replica)
            self.quote(lastLines, of: replica)
        case .restarting(let replica, let reason, let delay, let restart, let maximum):
            let count = maximum.map { "\(restart) of at most \($0)" } ?? "\(restart)"
            self.tell(
                "\(replica): \(reason); restart \(count) in \(Seconds.text(delay))",
                as: .warning,
                about: replica
            )
        case .portsRenewed(let replica, let text):
            self.tell("\(replica): \(text)", as: .notice, about: replica)
        case .firstExit(_, let code):
            // Log scrapers match this line of upstream's scripts byte for byte, so nothing stands in front of it.
            let text = "A background process exited with code \(code)"
            guard self.isForPeople else { return self.tell(text, as: .warning) }
            self.keep(text, .warning, about: nil)
            Terminal.print(text)
        case .ready(let seconds, let model):
            self.announceReady(seconds, reached: reached, model: model)
            self.readiness?.write()
        case .planChanged(let plan, isWayBack: false):
            self.tell(
                "changing what runs to match \(plan.manifestPath ?? "the manifest"): \(plan.replicas.count) "
                    + (plan.replicas.count == 1 ? "process" : "processes")
            )
        case .planChanged(_, isWayBack: true), .replicaPlanned:
            // The warning that says why has said it.
            break
        case .planUnchanged:
            self.readiness?.release()
        case .changeEnded(let failure):
            self.tell(failure.map { "the change failed: \($0)" } ?? "changed")
            self.readiness?.release()
        case .recovered:
            self.tell("ready again")
        case .degraded(let replicas):
            self.tell("degraded: \(replicas.joined(separator: ", ")) not ready", as: .warning)
        case .serviceLost(let name, let url, let reason):
            self.tell(
                "\(name) at \(url) does not answer: \(reason); it runs outside the deployment, and nothing here starts it again",
                as: .warning
            )
        case .serviceBack(let name, let url, let seconds):
            self.tell("\(name) at \(url) answers again, after \(Seconds.text(seconds))")
        case .warning(let text):
            self.tell("warning: \(text)", as: .warning)
        case .failed(let reason):
            self.tell("failed: \(reason)", as: .error)
        case .stopping(let now):
            let again = self.journal == nil ? "; once more (Ctrl-C) to stop at once" : ""
            self.tell(now ? "stopping at once" : "stopping\(again)")
        }
    }

    private func announceReady(_ seconds: Double, reached: [String: [LayerReached]], model: String?) {
        self.tell("ready in \(Seconds.text(seconds))")
        // What clients should use is the same in every generation.
        guard self.isForPeople, self.plan.generation == 1 else { return }
        let planes = self.plan.planes
        var lines = [
            "",
            "  plane   request \(planes.request.rawValue), events \(planes.events.rawValue), response \(planes.response.rawValue)",
            "  url     \(self.plan.publicURL)",
        ]
        let rows = self.plan.replicas.map { replica in
            [replica.name]
                + reached[replica.name, default: []].map { "\($0.layer.rawValue) \(Seconds.text($0.seconds))" }
        }
        for (index, row) in StatusRendering.table(rows).enumerated() {
            lines.append((index == 0 ? "  times   " : "          ") + row)
        }
        if let model {
            lines += [
                "", "  " + CurlExample.line(url: self.plan.publicURL, model: model, canary: self.plan.canary),
            ]
        }
        Terminal.print((lines + [""]).joined(separator: "\n"))
    }

    /// The journal has these lines already.
    private func quote(_ lines: [String], of replica: String) {
        guard self.journal == nil else { return }
        for line in lines { self.write("\(ReplicaLabel.text(replica, generation: self.generation)):   > \(line)") }
    }

    /// A line about this generation, or about a replica of it whose name it begins with.
    private func tell(_ message: String, as priority: JournalEntry.Priority = .info, about replica: String? = nil) {
        var message = message
        if self.plan.generation > 1 {
            message =
                replica == nil
                ? "generation \(self.plan.generation): \(message)"
                : ReplicaLabel.text(message, generation: self.plan.generation)
        }
        self.say(message, as: priority, about: replica)
    }

    /// Keeps it for `dynamo-launch events`.
    private func keep(_ message: String, _ priority: JournalEntry.Priority, about replica: String?) {
        let level: LaunchEvent.Level =
            switch priority {
            case .emergency, .alert, .critical, .error: .error
            case .warning: .warning
            case .notice: .notice
            case .info, .debug: .info
            }
        let event = LaunchEvent(message, level: level, generation: self.generation, replica: replica)
        if let trouble = self.events.append(event) { self.write("warning: \(trouble)") }
    }

    private func write(_ line: LogLine) { Terminal.printVerbatim(self.formatter.string(for: line)) }

    /// A line of the launcher's own.
    func say(_ message: String, as priority: JournalEntry.Priority = .info, about replica: String? = nil) {
        self.keep(message, priority, about: replica)
        guard let journal = self.journal else { return self.write(message) }
        for text in message.split(separator: "\n", omittingEmptySubsequences: false) {
            journal.say(String(text), as: priority, about: replica)
        }
    }

    private func write(_ message: String) {
        for text in message.split(separator: "\n", omittingEmptySubsequences: false) {
            self.write(LogLine(process: Self.name, replica: Self.name, stream: .stdout, time: .now, text: String(text)))
        }
    }
}

/// The request that users paste first.
enum CurlExample {
    static func line(url: String, model: String, canary: CanaryRequest) -> String {
        let route: String
        let body: String
        let name = ConsoleFormatter.quoted(model)
        switch canary.endpoint {
        case .chat:
            route = "/v1/chat/completions"
            body = #"{"model":\#(name),"messages":[{"role":"user","content":"Hello"}],"max_tokens":16}"#
        case .completions:
            route = "/v1/completions"
            body = #"{"model":\#(name),"prompt":"Hello","max_tokens":16}"#
        }
        let quoted = body.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#)
        let server =
            if url.hasPrefix("unix:@") {
                "--abstract-unix-socket '\(url.dropFirst("unix:@".count))' http://localhost"
            } else if url.hasPrefix("unix:") {
                "--unix-socket '\(url.dropFirst("unix:".count))' http://localhost"
            } else {
                url
            }
        return "curl -s \(server)\(route) -H 'content-type: application/json' -d '\(quoted)'"
    }
}
