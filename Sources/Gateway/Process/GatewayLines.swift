package import Logging
import Synchronization

/// The log of a gateway in a process of its own, as it waits for a launcher that shows it.
///
/// A bounded number of lines is kept while there is none; of those beyond only the number.
package final class GatewayLines: Sendable {
    private static let limit = 256

    private struct State {
        var lines: [GatewayLogLine] = []
        var lost = 0
        /// Wakes whoever takes them.
        var bell: AsyncStream<Void>.Continuation?
    }

    private let state = Mutex(State())

    package init() {}

    /// Adds a line; never waits.
    package func put(_ line: GatewayLogLine) {
        self.state.withLock { state in
            if state.lines.count < Self.limit { state.lines.append(line) } else { state.lost += 1 }
            state.bell?.yield()
        }
    }

    /// Rings when there may be lines, and at once; only the last one that was asked for rings.
    func bell() -> AsyncStream<Void> {
        let (stream, bell) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        bell.yield()
        self.state.withLock { $0.bell = bell }
        return stream
    }

    /// The lines since the last time.
    func take() -> [GatewayLogLine] {
        self.state.withLock { state in
            defer { (state.lines, state.lost) = ([], 0) }
            guard state.lost > 0 else { return state.lines }
            return state.lines + [GatewayLogLine(.warning, "\(state.lost) more lines like this were lost")]
        }
    }

    /// A logger whose lines come here.
    package func logger(_ level: Logger.Level = .warning) -> Logger {
        var logger = Logger(label: "gateway") { _ in Handler(lines: self) }
        logger.logLevel = level
        return logger
    }

    private struct Handler: LogHandler {
        let lines: GatewayLines
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .warning

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let metadata = self.metadata.merging(event.metadata ?? [:]) { $1 }.mapValues { "\($0)" }
            self.lines.put(GatewayLogLine(event.level, "\(event.message)", metadata))
        }
    }
}
