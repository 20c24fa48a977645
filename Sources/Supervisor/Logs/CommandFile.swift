internal import Deployment
internal import FoundationEssentials

/// What exactly was started, as JSON beside the log: `worker.command.json`.
struct CommandFile: Encodable {
    var process: String
    var replica: String
    var run: Int
    var startedAt: String
    var argv: [String]
    var workingDirectory: String
    /// Values that must not be shown are masked.
    var environment: [String: String]
    var unset: [String]

    static func make(for replica: ReplicaPlan, run: Int, in plan: Plan) -> (path: String, content: [UInt8])? {
        let shown = replica.masked
        var environment = Dictionary(shown.environment.map { ($0.name, $0.value) }) { _, last in last }
        environment[StrayFinder.marker] = "\(plan.markerPrefix)\(replica.name)"
        let file = CommandFile(
            process: replica.process,
            replica: replica.name,
            run: run,
            startedAt: LogTime.now.description,
            argv: [shown.executable] + shown.arguments,
            workingDirectory: replica.workingDirectory,
            environment: environment,
            unset: replica.unset.map(\.name)
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(file) else { return nil }
        return ("\(plan.directories.logs)/\(replica.name).command.json", Array(data) + [UInt8(ascii: "\n")])
    }
}
