import ArgumentParser
import Deployment
import FoundationEssentials
import Supervisor

/// Which lines or events are wanted: shared by `logs` and `events`.
struct LineFilter: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Only what is not older: 10m, 2h, 1d, or a time such as 2026-01-31T12:00:00Z.",
            valueName: "time"
        ),
        transform: Self.moment
    )
    var since: LogTime?

    @Option(
        help: ArgumentHelp(
            "Only where this regular expression matches, such as 'error|timed out'; (?i) in front ignores case.",
            valueName: "expression"
        )
    )
    var grep: String?

    func validate() throws {
        guard let grep else { return }
        do { _ = try Regex(grep) } catch {
            throw ValidationError("--grep '\(grep)' is no regular expression: \(error)")
        }
    }

    /// Tells whether a line is wanted.
    ///
    /// - Returns: the test.
    func matcher() -> (_ text: String, _ time: LogTime?) -> Bool {
        let pattern = self.grep.flatMap { try? Regex($0) }
        return { text, time in
            if let since = self.since, let time, time.milliseconds < since.milliseconds { return false }
            guard let pattern else { return true }
            return text.firstMatch(of: pattern) != nil
        }
    }

    /// Whether everything is wanted.
    var isEmpty: Bool { self.since == nil && self.grep == nil }

    private static func moment(_ text: String) throws -> LogTime {
        let seconds: Double? =
            text.hasSuffix("d") ? Double(text.dropLast()).map { $0 * 86_400 } : DurationText.seconds(text)
        if let seconds, seconds >= 0, seconds <= DurationText.limit {
            return LogTime(milliseconds: LogTime.now.milliseconds - Int64(seconds * 1000))
        }
        for style in [Date.ISO8601FormatStyle(), Date.ISO8601FormatStyle(includingFractionalSeconds: true)] {
            guard let date = try? style.parse(text) else { continue }
            return LogTime(milliseconds: Int64(date.timeIntervalSince1970 * 1000))
        }
        throw ValidationError("--since takes 90s, 10m, 2h or 1d, or a time such as 2026-01-31T12:00:00Z, not '\(text)'")
    }
}
