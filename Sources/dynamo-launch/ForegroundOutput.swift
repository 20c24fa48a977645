import Deployment
import Supervisor
import Systemd

/// What `up` shows while it runs: the lines of all processes, and what happens to them, in one stream or in the journal.
struct ForegroundOutput: Sendable {
    /// The name in front of the launcher's own lines.
    static let name = "dynamo-launch"

    private let plan: Plan
    private let formatter: ConsoleFormatter
    /// Where lines go with `LogFormat.journal`.
    private let journal: JournalOutput?

    init(plan: Plan, format: LogFormat, colour: Bool) {
        self.plan = plan
        self.formatter = ConsoleFormatter(
            format: format == .json ? .json : .text,
            colour: colour,
            processes: [Self.name] + plan.replicas.map(\.process),
            replicas: [Self.name] + plan.replicas.map(\.name)
        )
        self.journal = format == .journal ? JournalOutput(plan: plan) : nil
    }

    private var isForPeople: Bool { self.journal == nil && self.formatter.format == .text }

    // MARK: Lines of processes

    func show(_ line: LogLine) {
        guard let journal = self.journal else { return Terminal.printVerbatim(self.formatter.string(for: line)) }
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
        guard let journal = self.journal else { return Terminal.printError(text) }
        for line in text.split(separator: "\n") { journal.say(String(line), as: .error) }
    }

    /// Waits, not for long, until the journal has what was said.
    func finish() async { await self.journal?.finish() }

    func show(_ notice: SupervisorNotice, reached: [String: [LayerReached]]) {
        switch notice {
        case .started(let replica, let pid):
            self.say("\(replica): started, pid \(pid)", about: replica)
        case .layerReached(let replica, let layer, let seconds):
            // Alive is said by `started`.
            guard layer != .alive else { return }
            self.say("\(replica): \(layer.rawValue) after \(Seconds.text(seconds))", about: replica)
        case .replicaState(let replica, let state, let detail):
            let text = "\(replica): \(state.rawValue)\(detail.map { ", \($0)" } ?? "")"
            switch state {
            case .waiting, .stopping, .restarting, .stopped: self.say(text, about: replica)
            case .unready: self.say(text, as: .warning, about: replica)
            case .failed: self.say(text, as: .error, about: replica)
            case .starting, .ready, .backingOff: break
            }
        case .stuck(let replica, let layer, let seconds, let reason, let lastLines):
            self.say(
                "\(replica): waiting for \(layer.rawValue) for \(Seconds.text(seconds))\(reason.map { ": \($0)" } ?? "")",
                as: .notice,
                about: replica
            )
            self.quote(lastLines, of: replica)
        case .said:
            // Shown by `status`, and where a layer is waited for.
            break
        case .exited(let replica, let exit, let lastLines):
            self.say("\(replica): \(exit)", as: .warning, about: replica)
            self.quote(lastLines, of: replica)
        case .restarting(let replica, let reason, let delay, let restart, let maximum):
            let count = maximum.map { "\(restart) of at most \($0)" } ?? "\(restart)"
            self.say(
                "\(replica): \(reason); restart \(count) in \(Seconds.text(delay))",
                as: .warning,
                about: replica
            )
        case .firstExit(_, let code):
            // Log scrapers match this line of upstream's scripts byte for byte, so nothing stands in front of it.
            let text = "A background process exited with code \(code)"
            if self.isForPeople { Terminal.print(text) } else { self.say(text, as: .warning) }
        case .ready(let seconds, let model):
            self.announceReady(seconds, reached: reached, model: model)
        case .planChanged(let plan, isWayBack: false):
            self.say(
                "changing what runs to match \(plan.manifestPath ?? "the manifest"): \(plan.replicas.count) processes"
            )
        case .planChanged(_, isWayBack: true), .replicaPlanned:
            // The warning that says why has said it.
            break
        case .changeEnded(let failure):
            self.say(failure.map { "the change failed: \($0)" } ?? "changed")
        case .recovered:
            self.say("ready again")
        case .degraded(let replicas):
            self.say("degraded: \(replicas.joined(separator: ", ")) not ready", as: .warning)
        case .warning(let text):
            self.say("warning: \(text)", as: .warning)
        case .failed(let reason):
            self.say("failed: \(reason)", as: .error)
        case .stopping(let now):
            let again = self.journal == nil ? "; once more (Ctrl-C) to stop at once" : ""
            self.say(now ? "stopping at once" : "stopping\(again)")
        }
    }

    private func announceReady(_ seconds: Double, reached: [String: [LayerReached]], model: String?) {
        self.say("ready in \(Seconds.text(seconds))")
        guard self.isForPeople else { return }
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
        for line in lines { self.say("\(replica):   > \(line)") }
    }

    /// A line of the launcher's own.
    func say(_ message: String, as priority: JournalEntry.Priority = .info, about replica: String? = nil) {
        for text in message.split(separator: "\n", omittingEmptySubsequences: false) {
            guard let journal = self.journal else {
                self.show(
                    LogLine(process: Self.name, replica: Self.name, stream: .stdout, time: .now, text: String(text))
                )
                continue
            }
            journal.say(String(text), as: priority, about: replica)
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
