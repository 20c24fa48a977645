import Synchronization
import Systemd

/// Lines of whoever must not wait for a terminal; a bounded number, and those beyond are counted.
final class LineQueue: Sendable {
    struct Line: Sendable {
        var text: String
        var priority: JournalEntry.Priority
    }

    private static let limit = 256

    private let lines: AsyncStream<Line>
    private let sender: AsyncStream<Line>.Continuation
    private let lost = Mutex(0)

    init() {
        (self.lines, self.sender) = AsyncStream.makeStream(of: Line.self, bufferingPolicy: .bufferingOldest(Self.limit))
    }

    /// Never waits.
    func put(_ line: Line) {
        if case .dropped = self.sender.yield(line) { self.lost.withLock { $0 += 1 } }
    }

    /// Shows lines until the task is cancelled.
    func run(_ output: ForegroundOutput) async {
        for await line in self.lines {
            output.say(line.text, as: line.priority)
            let lost = self.lost.withLock { lost in
                defer { lost = 0 }
                return lost
            }
            if lost > 0 { output.say("\(lost) more lines like this were not shown", as: line.priority) }
        }
    }
}
