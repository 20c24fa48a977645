import Deployment
import Supervisor

/// A migration as lines that are only added: one for each change, with the time since it began.
struct PlainProgress: Sendable {
    let hints: MigrationHints
    private var last: MigrationStatus?

    init(hints: MigrationHints) {
        self.hints = hints
    }

    /// What has changed since the last status.
    mutating func lines(_ status: MigrationStatus) -> [String] {
        defer { self.last = status }
        var lines: [String] = []
        let last = self.last
        if last == nil {
            lines.append(
                "\(self.hints.deployment): migration \(status.id), \(MigrationWords.name(status.from)) to "
                    + "\(MigrationWords.name(status.to)), \(status.strategy.rawValue)"
            )
        }
        var changes: [String] = []
        if let last, last.step == .observing, last.step != status.step || last.stage != status.stage {
            changes += [MigrationWords.figures(status.from), MigrationWords.figures(status.to)]
        }
        // Why comes before what is done about it.
        if let reason = status.reason, reason != last?.reason { changes.append("reason: \(reason)") }
        if last?.step != status.step || last?.stage != status.stage {
            changes.append("\(MigrationWords.step(status)): \(status.detail ?? MigrationWords.meaning(status))")
        } else if let detail = status.detail, Self.words(detail) != Self.words(last?.detail ?? "") {
            changes.append("\(MigrationWords.step(status)): \(detail)")
        }
        if status.to.ready != last?.to.ready ?? 0, status.to.replicas > 0 {
            changes.append("\(MigrationWords.name(status.to)): \(status.to.ready) of \(status.to.replicas) ready")
        }
        if status.share != last?.share ?? 0 {
            changes.append("\(status.share) % of the requests go to \(MigrationWords.name(status.to))")
        }
        if status.isPaused != last?.isPaused ?? false {
            changes.append(status.isPaused ? MigrationWords.next(status, self.hints) ?? "paused" : "resumed")
        }
        for note in status.notes where !(last?.notes.contains(note) ?? false) { changes.append("note: \(note)") }
        return (lines + changes.map { self.timed($0, status) }).map(\.printable)
    }

    private func timed(_ text: String, _ status: MigrationStatus) -> String {
        let time = Seconds.text(status.elapsed)
        return String(repeating: " ", count: max(0, 12 - time.count)) + time + "  " + text
    }

    /// Figures that count up or down are no change.
    private static func words(_ text: String) -> [Substring] {
        text.split { $0.isNumber || $0 == "." || $0 == " " }
    }
}
