import ArgumentParser
import Deployment
import Glibc
import Supervisor

/// `apply`: makes a running deployment match its manifest as it is now.
struct ApplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract: "Make a running deployment match its manifest as it is now; processes that did not change go on.",
        discussion: """
            The launcher reads the manifest that it was started with again, with the same --set and environment. Changed processes get a new \
            process one replica after another, each ready before the next (see 'restart'); then what was removed is stopped and what was added is \
            started. When one of them cannot become ready, all that was done is taken back, and the exit code is 1. Planes, namespace, \
            discovery, the public address and the gateway stay as they are while a deployment runs: a manifest that changes them is refused.

            On a terminal the change is shown first, and made when you say so. Under systemd 'systemctl reload' does the same without a question, \
            and so does SIGHUP.
            """
    )

    @Option(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var deployment: String?

    @Flag(help: "Only say what would be done.")
    var dryRun = false

    @Flag(help: "Do not ask before it is done.")
    var yes = false

    @Flag(help: "Print JSON: the change, then one object for each step.")
    var json = false

    func run() async throws {
        let deployment = try await RunningDeployment.find(self.deployment)
        guard try await self.mayBegin(deployment) else { return Terminal.print("nothing was changed") }
        let last = try await deployment.ask { client in
            var last: RolloutProgress?
            try await client.apply(dryRun: self.dryRun) { change in
                Terminal.print(self.json ? try JSONText.line(change) : ChangeRendering.text(change))
            } receive: { progress in
                last = progress
                try RolloutRendering.show(progress, json: self.json)
            }
            return last
        }
        // Without a step there was nothing to do, or nothing was to be done.
        if let last { try RolloutRendering.end(last, of: deployment, json: self.json, done: "applied") }
    }
}

extension ApplyCommand {
    /// Shows a person the change and asks; a program, or somebody who has said so before, is not asked.
    private func mayBegin(_ deployment: RunningDeployment) async throws -> Bool {
        guard !self.dryRun, !self.yes, !self.json, ChangeQuestion.hasPerson else { return true }
        guard let change = try await deployment.ask({ try await $0.change() }) else { return true }
        Terminal.print(ChangeRendering.text(change))
        // Its manifest may be another one by then; the change that is made is shown again.
        return !change.isEmpty && ChangeQuestion.isAgreedTo
    }
}

/// Whether a person wants a change that was shown.
enum ChangeQuestion {
    /// Whether there is one who could be asked.
    static var hasPerson: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 }

    static var isAgreedTo: Bool {
        Terminal.printVerbatim("change it? [y/N] ")
        return ["y", "yes"].contains(readLine()?.lowercased() ?? "")
    }
}

extension ControlClient {
    /// What `apply` would change; nil when the launcher did not say.
    ///
    /// - Throws: `Failure` when no launcher answers, or the manifest cannot be applied.
    func change() async throws -> PlanChange? {
        var found: PlanChange?
        try await self.apply(dryRun: true) {
            found = $0
        } receive: { _ in
        }
        return found
    }
}

/// A change of what runs, for people.
enum ChangeRendering {
    static func text(_ change: PlanChange) -> String {
        var lines = change.changed.map { "change  \($0.name): \($0.differences.joined(separator: "; "))" }
        lines += change.removed.map { "remove  \($0.name)" }
        lines += change.added.map { "add     \($0.name)" }
        lines += change.reordered.map { "keep    \($0); dependsOn counts from its next start on" }
        let kept = change.unchanged.count
        if change.isEmpty {
            lines.append("nothing to change: \(kept) \(kept == 1 ? "process runs" : "processes run") as they should")
        } else if kept > 0 || change.reordered.isEmpty {
            lines.append("keep    \(kept == 0 ? "nothing" : change.unchanged.joined(separator: ", "))")
        }
        lines += change.notes.map { "note    \($0)" }
        return lines.joined(separator: "\n")
    }
}

/// What `restart` and `apply` print.
enum RolloutRendering {
    static func show(_ progress: RolloutProgress, json: Bool) throws {
        if json { return Terminal.print(try JSONText.line(progress)) }
        if let replica = progress.replica { return Terminal.print("\(replica): \(progress.phase.rawValue)") }
        if progress.phase == .reverting {
            Terminal.printError("\(progress.reason ?? ""); taking back what was changed")
            self.quote(progress)
        }
    }

    /// What the process at fault wrote last.
    private static func quote(_ progress: RolloutProgress) {
        guard let cause = progress.cause else { return }
        for line in progress.lastLines ?? [] { Terminal.printError("\(cause):   > \(line)") }
        if let file = progress.logFile { Terminal.printError("\(cause): its log: \(file)") }
    }

    /// The last step.
    ///
    /// - Throws: an exit code unless it was done.
    static func end(_ last: RolloutProgress?, of deployment: RunningDeployment, json: Bool, done: String) throws {
        switch last?.phase {
        case .done:
            if !json { Terminal.print("\(deployment.name): \(done)") }
        case .failed:
            if !json, let last { self.quote(last) }
            throw RunningDeployment.failure(
                "error: deployment \(deployment.name): not \(done): \(last?.reason ?? "no reason given")"
            )
        default:
            throw RunningDeployment.failure(
                "error: deployment \(deployment.name): its launcher ended before it was \(done)"
            )
        }
    }
}
