import Supervisor

/// What is said of a migration when its command ends.
struct MigrationEnding: Sendable, Hashable {
    /// What became of it.
    var lines: [String] = []
    /// The last line, on standard error; nil: it went well.
    var failure: String?

    /// After the last status.
    ///
    /// - Parameters:
    ///   - status: an end, or `warm`.
    ///   - request: what was asked for; nil: by somebody else.
    ///   - hints: the commands that a person may type next.
    ///   - now: seconds since 1970.
    init(_ status: MigrationStatus, of request: MigrationRequest?, hints: MigrationHints, now: Int) {
        let name = hints.deployment
        let (from, to) = (MigrationWords.name(status.from), MigrationWords.name(status.to))
        let reason = (status.reason ?? "no reason given").printable
        if let stop = Self.stop(status, hints) {
            self.failure = stop
            return
        }
        switch status.step {
        case .warm:
            self.lines = [
                "\(name): \(to) has all requests after \(Seconds.text(status.elapsed))",
                Self.window(status, hints, now),
            ]
            self.lines += Self.permanence(status, request)
        case .done:
            self.lines = ["\(name): migrated to \(to) in \(Seconds.text(status.elapsed)); \(from) is gone"]
            self.lines += Self.permanence(status, request)
        case .failed:
            self.failure =
                "error: deployment \(name): not migrated: \(reason); neither generation could be kept, and the deployment ends"
        default:
            self.failure = "error: deployment \(name): not migrated: \(reason); \(from) serves as before"
        }
    }

    /// After `rollback`, for which the way back is what was wanted.
    init(rollback status: MigrationStatus, hints: MigrationHints) {
        let name = hints.deployment
        if let stop = Self.stop(status, hints) {
            self.failure = stop
            return
        }
        switch status.step {
        case .rolledBack:
            self.lines = ["\(name): \(MigrationWords.name(status.from)) serves as before"]
        case .done:
            self.failure =
                "error: deployment \(name): not rolled back: \(MigrationWords.name(status.to)) serves, and "
                + "\(MigrationWords.name(status.from)) is gone; go back with: \(Self.wayBack(status, hints))"
        default:
            let reason = (status.reason ?? "no reason given").printable
            self.failure =
                "error: deployment \(name): not rolled back: \(reason); neither generation could be kept, and the deployment ends"
        }
    }

    /// The launcher ended before the migration did.
    ///
    /// - Parameters:
    ///   - status: where the migration was.
    ///   - hints: the deployment's name.
    ///   - goesOn: whether the processes go on without it.
    /// - Returns: the words of what the next `up` does.
    static func launcherGone(_ status: MigrationStatus?, hints: MigrationHints, goesOn: Bool = false) -> String {
        let head = "error: deployment \(hints.deployment): its launcher ended "
        guard let status else {
            return head
                + "before it said whether it migrates; 'dynamo-launch migrate history' says so after the next 'up'"
        }
        if status.step.isEnd { return head + "after the migration did (\(status.step.rawValue))" }
        let isResumed = ![.preparing, .retiring, .rollingBack].contains(status.step)
        if goesOn, isResumed {
            return head + "in mid-migration (\(MigrationWords.step(status))), and its processes go on; "
                + "the next 'dynamo-launch up' adopts them and goes on with the migration"
        }
        let isCommitted = [.draining, .warm, .retiring].contains(status.step)
        return head + "in mid-migration (\(MigrationWords.step(status))); the next 'dynamo-launch up' "
            + (isCommitted
                ? "starts \(MigrationWords.name(status.to)): the migration counts as done"
                : "starts \(MigrationWords.name(status.from)): the migration counts as taken back")
    }

    /// The whole deployment is being stopped, which ended the migration; nil: it is not.
    private static func stop(_ status: MigrationStatus, _ hints: MigrationHints) -> String? {
        guard status.isStopped, status.step.isEnd, status.step != .failed else { return nil }
        return "error: deployment \(hints.deployment): the deployment was stopped in mid-migration; "
            + "the next 'dynamo-launch up' starts \(MigrationWords.name(MigrationWords.remaining(status)))"
    }

    /// The command that migrates to what is gone.
    private static func wayBack(_ status: MigrationStatus, _ hints: MigrationHints) -> String {
        var words = "migrate"
        if status.from.requestPlane != status.to.requestPlane { words += " --to \(status.from.requestPlane)" }
        if let manifest = status.from.manifest, manifest != status.to.manifest { words += " --to-manifest \(manifest)" }
        // What `--set` has changed is not known here.
        return hints.command(words == "migrate" ? "migrate --to-manifest FILE" : words)
    }

    private static func window(_ status: MigrationStatus, _ hints: MigrationHints, _ now: Int) -> String {
        let from = MigrationWords.name(status.from)
        let end: String
        if let seconds = status.nextIn, seconds.isFinite {
            let rest = Int(max(0, min(seconds, MigrationRequest.longestTime)).rounded())
            end = "until \(MigrationWords.clock(now + rest)) (\(Seconds.text(Double(rest))))"
        } else {
            end = "until: \(hints.command(status.isPaused ? "migrate resume" : "migrate promote"))"
        }
        return "\(from) is kept running \(end); return to it with: \(hints.command("rollback"))"
    }

    /// The manifest still says something else.
    private static func permanence(_ status: MigrationStatus, _ request: MigrationRequest?) -> [String] {
        let to = MigrationWords.name(status.to)
        let old = status.from.manifest ?? "the embedded manifest"
        let file = request?.manifest ?? status.to.manifest ?? status.from.manifest
        var changes: [String] = []
        let isOtherPlane =
            request.map { $0.requestPlane != nil } ?? (status.from.requestPlane != status.to.requestPlane)
        if isOtherPlane { changes.append("planes.request: \(status.to.requestPlane)") }
        changes += request?.set ?? []
        let memory =
            "\(old) was not changed: 'dynamo-launch up' with the same manifest and flags as before starts \(to) from now on, "
            + "until one of them changes"
        guard let file else {
            let plane = isOtherPlane ? " --\(status.to.requestPlane)" : ""
            let flags = plane + (request?.set ?? []).map { " --set \($0)" }.joined()
            // What somebody else has set is not known here.
            if flags.isEmpty { return [memory] }
            let instead = isOtherPlane ? " instead of another plane's flag" : ""
            return [memory, "to make it permanent, give 'up'\(flags)\(instead), beside its other flags"]
        }
        let isOtherFile = file != status.from.manifest
        var words = isOtherFile ? "start it with: dynamo-launch up \(file)" : "change \(file)"
        if !changes.isEmpty {
            words +=
                isOtherFile ? ", with \(changes.joined(separator: ", ")) in it" : ": \(changes.joined(separator: ", "))"
        }
        if isOtherPlane || status.from.requestPlane != status.to.requestPlane {
            words +=
                ", and \(isOtherFile ? "" : "start it ")without --tcp, --http and --nats (a flag wins over the manifest)"
        }
        return [memory, "to make it permanent, \(words)"]
    }
}
