import Glibc
package import Logging

/// Writes one line for each event to standard error: time, level, target, message, fields.
package struct StandardErrorLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    package var logLevel: Logger.Level
    private let label: String
    private let isOff: Bool

    package init(label: String, filter: LogFilter) {
        self.label = label
        let level = filter.level(of: label)
        self.logLevel = level ?? .critical
        self.isOff = level == nil
    }

    /// Makes the logger of a program.
    package static func logger(_ label: String, filter: LogFilter) -> Logger {
        Logger(label: label) { StandardErrorLogHandler(label: $0, filter: filter) }
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        guard !self.isOff else { return }
        var fields = self.metadata
        if let extra = event.metadata { fields.merge(extra) { $1 } }
        var line = Self.line(
            level: event.level,
            label: self.label,
            message: event.message.description,
            metadata: fields
        )
        if let error = event.error { line += " error=\(Self.quoted("\(error)"))" }
        line += "\n"
        line.withUTF8 { bytes in
            // A full pipe or a closed one must not end the process; there is nowhere to report it.
            _ = write(STDERR_FILENO, bytes.baseAddress, bytes.count)
        }
    }

    static func line(level: Logger.Level, label: String, message: String, metadata: Logger.Metadata) -> String {
        var line = "\(Timestamp.now) \(Self.name(level)) \(label): \(Self.oneLine(message))"
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(Self.quoted("\(value)"))" }
        return line
    }

    private static func name(_ level: Logger.Level) -> String {
        switch level {
        case .trace: "TRACE"
        case .debug: "DEBUG"
        case .info, .notice: " INFO"
        case .warning: " WARN"
        case .error, .critical: "ERROR"
        }
    }

    private static func oneLine(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 }) else { return text }
        return text.unicodeScalars.reduce(into: "") { line, scalar in
            if scalar.value < 0x20 { line += scalar == "\n" ? "\\n" : " " } else { line.unicodeScalars.append(scalar) }
        }
    }

    private static func quoted(_ text: String) -> String {
        let needsQuotes = text.isEmpty || text.contains { $0 == " " || $0 == "\"" || $0 == "=" }
        return needsQuotes
            ? "\"\(Self.oneLine(text).split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\\\""))\""
            : Self.oneLine(text)
    }
}
