import Deployment
import Supervisor
import Synchronization
import Systemd

/// Writes what `up` shows to the journal, one entry a line, with fields to ask for: `journalctl DYNAMO_PROCESS=worker`.
final class JournalOutput: Sendable {
    private struct State: Sendable {
        /// The process of each replica; those that a change of the manifest adds are learned from their lines.
        var processes: [String: String]
        /// The highest layer that each replica has reached.
        var layers: [String: ReadinessLayer] = [:]
    }

    /// Of every entry.
    private let common: [JournalEntry.Field]
    private let state: Mutex<State>
    private let writer: JournalWriter

    /// How long the end waits for the journal.
    private static let patience = Duration.seconds(2)

    init(plan: Plan) {
        let common = Self.common(plan)
        let logs = plan.directories.logs
        self.common = common
        let processes = Dictionary(plan.replicas.map { ($0.name, $0.process) }) { first, _ in first }
        self.state = Mutex(State(processes: processes))
        self.writer = JournalWriter(
            lossReport: { count in
                JournalEntry(
                    "\(count) lines are missing here: the journal took them too slowly; the files in \(logs) have those of processes",
                    priority: .warning,
                    identifier: ForegroundOutput.name,
                    fields: common
                )
            },
            fallback: { entry, reason in
                if let reason {
                    Terminal.print(
                        "\(ForegroundOutput.name) | warning: the journal does not take lines (\(reason)); until it does, they come here"
                    )
                }
                Terminal.print("\(entry.identifier) | \(entry.message)")
            }
        )
    }

    private static func common(_ plan: Plan) -> [JournalEntry.Field] {
        [
            JournalEntry.Field("DYNAMO_DEPLOYMENT", plan.deployment),
            JournalEntry.Field("DYNAMO_PLANE", plan.planes.request.rawValue),
            JournalEntry.Field("DYNAMO_GENERATION", "\(plan.generation)"),
        ]
    }

    /// Follows the layers.
    func observe(_ notice: SupervisorNotice) {
        switch notice {
        case .started(let replica, _), .adopted(let replica, _, _): self.state.withLock { $0.layers[replica] = nil }
        case .layerReached(let replica, let layer, _): self.state.withLock { $0.layers[replica] = layer }
        default: break
        }
    }

    /// A line of a process.
    func show(_ line: LogLine) {
        let layer = self.state.withLock { state in
            state.processes[line.replica] = line.process
            return state.layers[line.replica]
        }
        self.writer.write(Self.entry(of: line, layer: layer, common: self.common))
    }

    /// A line of the launcher's own.
    func say(_ text: String, as priority: JournalEntry.Priority, about replica: String? = nil) {
        var fields = self.common
        if let replica, let process = self.state.withLock({ $0.processes[replica] }) {
            fields += [JournalEntry.Field("DYNAMO_PROCESS", process), JournalEntry.Field("DYNAMO_REPLICA", replica)]
        }
        self.writer.write(
            JournalEntry(
                JournalText.printable(text),
                priority: priority,
                identifier: ForegroundOutput.name,
                fields: fields
            )
        )
    }

    /// Waits, not for long, until the journal has taken everything.
    func finish() async {
        let left = await self.writer.finish(within: Self.patience)
        if left > 0 { Terminal.printError("warning: the journal has not taken the last \(left) lines") }
    }

    /// The entry of a process's line.
    ///
    /// - Parameters:
    ///   - line: the line.
    ///   - layer: what its replica has reached.
    ///   - common: the fields of every entry.
    /// - Returns: the entry.
    static func entry(
        of line: LogLine,
        layer: ReadinessLayer?,
        common: [JournalEntry.Field]
    ) -> JournalEntry {
        let (priority, text) = JournalText.priority(of: JournalText.printable(ConsoleFormatter.visible(line.text)))
        var fields = common
        fields += [
            JournalEntry.Field("DYNAMO_PROCESS", line.process), JournalEntry.Field("DYNAMO_REPLICA", line.replica),
            JournalEntry.Field("DYNAMO_STREAM", line.stream.rawValue),
        ]
        if let pid = line.pid { fields.append(JournalEntry.Field("DYNAMO_PID", "\(pid)")) }
        if let layer { fields.append(JournalEntry.Field("DYNAMO_LAYER", layer.rawValue)) }
        if line.isPartial { fields.append(JournalEntry.Field("DYNAMO_PARTIAL", "1")) }
        return JournalEntry(text, priority: priority, identifier: line.replica, fields: fields)
    }
}
