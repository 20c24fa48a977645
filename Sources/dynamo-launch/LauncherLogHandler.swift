import Logging
import Systemd

/// Sends the launcher's own log where its other lines go.
struct LauncherLogHandler: LogHandler {
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
