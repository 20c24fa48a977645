import Logging
import Synchronization

/// Keeps what is logged.
final class RecordedLog: Sendable {
    private let lines = Mutex<[(level: Logger.Level, text: String)]>([])

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(log: self) }
        logger.logLevel = .debug
        return logger
    }

    /// How many lines contain a text.
    func count(_ text: String) -> Int { self.lines.withLock { $0.count { $0.text.contains(text) } } }

    /// What was worth a warning.
    var problems: [String] { self.lines.withLock { $0.filter { $0.level >= .warning }.map(\.text) } }

    private struct Handler: LogHandler {
        let log: RecordedLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.debug

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let text = "\(event.message) \(event.metadata ?? [:])"
            self.log.lines.withLock { $0.append((event.level, text)) }
        }
    }
}
