import ArgumentParser
import Deployment
import Supervisor

/// `scale`: more or fewer replicas of processes that run.
struct ScaleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scale",
        abstract: "Change how many replicas processes of a running deployment have; the others go on.",
        discussion: """
            The same as 'apply' with the manifest as the launcher read it and another number of replicas: what is new is started and must become \
            ready, else all is taken back; what goes is told to end and finishes its work; without any worker of a model the model is not there. A frontend behind the gateway answers first what it has. The number holds, also against \
            'apply', until another 'scale', until the deployment is stopped, or until it moves to another manifest; write it into the manifest to keep it.

            Examples:
              dynamo-launch scale worker=3
              dynamo-launch scale worker=1 frontend=2 --dry-run
            """
    )

    @Argument(
        help: ArgumentHelp("A process and its number of replicas.", valueName: "process=number"),
        completion: NameCompletion.counts
    )
    var counts: [ReplicaCount]

    @Option(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var deployment: String?

    @Flag(help: "Only say what would be done.")
    var dryRun = false

    @Flag(help: "Print JSON: the change, then one object for each step.")
    var json = false

    func validate() throws {
        let names = self.counts.map(\.process)
        if let twice = names.first(where: { name in names.filter { $0 == name }.count > 1 }) {
            throw ValidationError("'\(twice)' is given twice")
        }
    }

    func run() async throws {
        let deployment = try await RunningDeployment.find(self.deployment)
        let counts = Dictionary(uniqueKeysWithValues: self.counts.map { ($0.process, $0.count) })
        let last = try await deployment.ask { client in
            var last: RolloutProgress?
            try await client.scale(counts, dryRun: self.dryRun) { change in
                Terminal.print(self.json ? try JSONText.line(change) : ChangeRendering.text(change))
            } receive: { progress in
                last = progress
                try RolloutRendering.show(progress, json: self.json)
            }
            return last
        }
        if let last { try RolloutRendering.end(last, of: deployment, json: self.json, done: "scaled") }
    }
}

/// `worker=3`.
struct ReplicaCount: ExpressibleByArgument {
    let process: String
    let count: Int

    init?(argument: String) {
        let parts = argument.split(separator: "=", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, let count = Int(parts[1]), count >= 0 else { return nil }
        self.process = String(parts[0])
        self.count = count
    }
}
