import ArgumentParser
import Supervisor

/// `restart`: new processes in the place of those that run, while the deployment serves.
struct RestartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart",
        abstract:
            "Start processes of a running deployment anew, one replica after another, each ready before the next.",
        discussion: """
            A frontend behind the gateway gets no new requests and answers those that it has before it is told to end; while there is \
            no other one, new requests wait. Other processes are told to end at once and finish their work by themselves; while the only worker of a model is away, the model is not there. Processes \
            that depend on a restarted one go on. A process that does not become ready is handled as after a crash, by its restart policy.

            Examples:
              dynamo-launch restart frontend
              dynamo-launch restart worker-0 worker-1 --deployment chat
            """
    )

    @Argument(help: "Processes (all their replicas) or single replicas.")
    var processes: [String]

    @Option(help: "The deployment's name; not needed when only one runs.")
    var deployment: String?

    @Flag(help: "Print JSON, one object for each step.")
    var json = false

    func run() async throws {
        let deployment = try await RunningDeployment.find(self.deployment)
        let last = try await deployment.ask { client in
            var last: RolloutProgress?
            try await client.restart(self.processes) { progress in
                last = progress
                try RolloutRendering.show(progress, json: self.json)
            }
            return last
        }
        try RolloutRendering.end(last, of: deployment, json: self.json, done: "restarted")
    }
}
