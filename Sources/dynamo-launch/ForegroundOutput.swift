import Deployment
import Supervisor

/// What `up` shows while it runs: the lines of all processes, and what happens to them, in one stream.
struct ForegroundOutput: Sendable {
    /// The name in front of the launcher's own lines.
    static let name = "dynamo-launch"

    private let plan: Plan
    private let formatter: ConsoleFormatter

    init(plan: Plan, format: ConsoleFormatter.Format, colour: Bool) {
        self.plan = plan
        self.formatter = ConsoleFormatter(
            format: format,
            colour: colour,
            processes: [Self.name] + plan.replicas.map(\.process),
            replicas: [Self.name] + plan.replicas.map(\.name)
        )
    }

    // MARK: Lines of processes

    func show(_ line: LogLine) { Terminal.printVerbatim(self.formatter.string(for: line)) }

    // MARK: What happens

    /// Before anything is started: which manifest, which planes, and what the user should know.
    func introduce(manifest: String) {
        self.say("deployment \(self.plan.deployment), manifest: \(manifest)")
        self.say("Using request plane mode: \(self.plan.planes.request.rawValue)")
        for note in self.plan.notes { self.say("note: \(note)") }
    }

    func show(_ notice: SupervisorNotice, reached: [String: [LayerReached]]) {
        switch notice {
        case .started(let replica, let pid):
            self.say("\(replica): started, pid \(pid)")
        case .layerReached(let replica, let layer, let seconds):
            // Alive is said by `started`.
            if layer != .alive { self.say("\(replica): \(layer.rawValue) after \(Seconds.text(seconds))") }
        case .replicaState(let replica, let state, let detail):
            switch state {
            case .waiting, .stopping, .restarting, .unready, .failed, .stopped:
                self.say("\(replica): \(state.rawValue)\(detail.map { ", \($0)" } ?? "")")
            case .starting, .ready, .backingOff:
                break
            }
        case .stuck(let replica, let layer, let seconds, let reason, let lastLines):
            self.say(
                "\(replica): waiting for \(layer.rawValue) for \(Seconds.text(seconds))\(reason.map { ": \($0)" } ?? "")"
            )
            self.quote(lastLines, of: replica)
        case .exited(let replica, let exit, let lastLines):
            self.say("\(replica): \(exit)")
            self.quote(lastLines, of: replica)
        case .restarting(let replica, let reason, let delay, let restart, let maximum):
            let count = maximum.map { "\(restart) of at most \($0)" } ?? "\(restart)"
            self.say("\(replica): \(reason); restart \(count) in \(Seconds.text(delay))")
        case .firstExit(_, let code):
            // Log scrapers match this line of upstream's scripts byte for byte, so nothing stands in front of it.
            switch self.formatter.format {
            case .text: Terminal.print("A background process exited with code \(code)")
            case .json: self.say("A background process exited with code \(code)")
            }
        case .ready(let seconds, let model):
            self.announceReady(seconds, reached: reached, model: model)
        case .planChanged(let plan):
            self.say(
                "changing what runs to match \(plan.manifestPath ?? "the manifest"): \(plan.replicas.count) processes"
            )
        case .changeEnded(let failure):
            self.say(failure.map { "the change failed: \($0)" } ?? "changed")
        case .recovered:
            self.say("ready again")
        case .degraded(let replicas):
            self.say("degraded: \(replicas.joined(separator: ", ")) not ready")
        case .warning(let text):
            self.say("warning: \(text)")
        case .failed(let reason):
            self.say("failed: \(reason)")
        case .stopping(let now):
            self.say(now ? "stopping at once" : "stopping; once more (Ctrl-C) to stop at once")
        }
    }

    private func announceReady(_ seconds: Double, reached: [String: [LayerReached]], model: String?) {
        self.say("ready in \(Seconds.text(seconds))")
        guard self.formatter.format == .text else { return }
        let planes = self.plan.planes
        var lines = [
            "",
            "  plane   request \(planes.request.rawValue), events \(planes.events.rawValue), response \(planes.response.rawValue)",
            "  url     \(self.plan.publicAddress.localURL)",
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
                "", "  " + CurlExample.line(address: self.plan.publicAddress, model: model, canary: self.plan.canary),
            ]
        }
        Terminal.print((lines + [""]).joined(separator: "\n"))
    }

    private func quote(_ lines: [String], of replica: String) {
        for line in lines { self.say("\(replica):   > \(line)") }
    }

    /// A line of the launcher's own.
    func say(_ message: String) {
        for text in message.split(separator: "\n", omittingEmptySubsequences: false) {
            self.show(
                LogLine(process: Self.name, replica: Self.name, stream: .stdout, time: .now, text: String(text))
            )
        }
    }
}

/// The request that users paste first.
enum CurlExample {
    static func line(address: HTTPAddress, model: String, canary: CanaryRequest) -> String {
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
        return "curl -s \(address.localURL)\(route) -H 'content-type: application/json' -d '\(quoted)'"
    }
}
