import Deployment
import Glibc
import Supervisor

/// Words about migrations that several outputs share.
enum MigrationWords {
    /// `generation 1 (tcp)`.
    static func name(_ generation: MigrationStatus.Generation) -> String {
        "generation \(generation.number) (\(generation.requestPlane))"
    }

    /// `observing 2 of 3`; one stage alone is not counted.
    static func step(_ status: MigrationStatus) -> String {
        if status.isStopped, status.step.isEnd { return "ended" }
        guard let stage = status.stage, status.stages > 1 else { return status.step.rawValue }
        return "\(status.step.rawValue) \(stage) of \(status.stages)"
    }

    /// The generation that the next start is with, once a migration has ended.
    static func remaining(_ status: MigrationStatus) -> MigrationStatus.Generation {
        status.step == .done ? status.to : status.from
    }

    /// How a migration has ended, and after how long; nil: it has not.
    static func end(_ status: MigrationStatus) -> String? {
        let time = Seconds.text(status.elapsed)
        if status.isStopped, status.step.isEnd {
            return
                "ended after \(time), when the deployment was stopped; the next start is with \(self.name(self.remaining(status)))"
        }
        return switch status.step {
        case .done: "done in \(time); \(self.name(status.to)) serves"
        case .rolledBack: "rolled back after \(time); \(self.name(status.from)) serves"
        case .failed: "failed after \(time)"
        default: nil
        }
    }

    /// What is done, when the launcher has no better words.
    static func meaning(_ status: MigrationStatus) -> String {
        guard status.isStopped, status.step.isEnd else { return self.meaning(status.step) }
        return "the deployment is being stopped; the next start is with \(self.name(self.remaining(status)))"
    }

    /// What is done in a step, when the launcher has no better words.
    static func meaning(_ step: MigrationStep) -> String {
        switch step {
        case .preparing: "manifest, release, GPUs, ports and servers are looked at"
        case .emptying: "the old generation answers what it has and is stopped; new requests wait"
        case .starting: "the new generation starts"
        case .verifying: "discovery is compared with both plans"
        case .canary: "probe requests go through the new generation"
        case .confirming: "a person is asked"
        case .shifting: "requests move to the new generation"
        case .observing: "both generations' figures are compared"
        case .draining: "the old generation answers what it has"
        case .warm: "the old generation is kept running for an instant return"
        case .retiring: "the old generation is stopped"
        case .rollingBack: "the old generation is brought back, and the new one is stopped"
        case .done: "the new generation serves"
        case .rolledBack: "the old generation serves as before"
        case .failed: "neither generation could be kept"
        }
    }

    /// `next: 100 % of the requests, in 6.0 s`.
    static func next(_ status: MigrationStatus, _ hints: MigrationHints) -> String? {
        if status.step.isEnd { return nil }
        if status.isPaused { return "paused: nothing further is begun until: \(hints.command("migrate resume"))" }
        guard let next = status.next else { return nil }
        return "next: \(next)" + (status.nextIn.map { ", in \(Seconds.text(max(0, $0)))" } ?? "")
    }

    /// `41.2 ms`, `1.24 s`; `-` when nothing is known.
    static func latency(_ seconds: Double?) -> String {
        guard let seconds, seconds.isFinite, seconds >= 0 else { return "-" }
        guard seconds < 0.9995 else { return Seconds.text(seconds) }
        let tenths = Int((seconds * 10_000).rounded())
        return "\(tenths / 10).\(tenths % 10) ms"
    }

    /// `generation 2 (nats): 120 requests, 0 errors, first token 41.2 ms, between tokens 10.3 ms`.
    static func figures(_ generation: MigrationStatus.Generation) -> String {
        "\(self.name(generation)): \(self.count(generation.requests, "request")), \(self.count(generation.errors, "error")), "
            + "first token \(self.latency(generation.firstToken)), between tokens \(self.latency(generation.betweenTokens))"
    }

    /// `1 request`, `2 requests`.
    private static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

    /// For `status`: in one line.
    static func summary(_ status: MigrationStatus, _ hints: MigrationHints) -> String {
        let what = "\(self.name(status.from)) to \(self.name(status.to)), \(status.strategy.rawValue)"
        let head = status.step.isEnd ? "last migration" : "migration"
        var line = "\(head): \(status.id), \(what): \(self.step(status))"
        if !status.step.isEnd { line += " for \(Seconds.text(status.stepElapsed)), \(status.share) % shifted" }
        if let reason = status.reason { line += "; \(reason)" }
        if let next = self.next(status, hints) { line += "; \(next)" }
        return line.printable
    }

    /// `14:03:22`, in the local time.
    static func clock(_ unixTime: Int) -> String {
        var seconds = time_t(unixTime)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil else { return "?" }
        return [parts.tm_hour, parts.tm_min, parts.tm_sec].map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
    }
}

/// Commands that a person may type next, for the deployment that they were told about.
struct MigrationHints: Sendable {
    let deployment: String
    /// Whether the person had to name the deployment.
    var isNamed = false

    func command(_ words: String) -> String {
        "dynamo-launch \(words)" + (self.isNamed ? " --deployment \(self.deployment)" : "")
    }
}
