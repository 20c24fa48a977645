import ArgumentParser
import Supervisor

/// `stop`: ends a running deployment.
struct StopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop",
        abstract: "Stop a running deployment, in reverse order of its start; returns when nothing of it is left."
    )

    @Argument(help: "The deployment's name; not needed when only one runs.")
    var name: String?

    @Flag(help: "Kill instead of asking the processes to end.")
    var now = false

    func run() async throws {
        let deployment = try await RunningDeployment.find(self.name)
        let survivors = try await deployment.ask { client in
            let survivors = try await client.stop(now: self.now).survivors
            // With some that cannot be killed the launcher goes on trying for a while; there is no use in waiting for that.
            if survivors.isEmpty { try await client.waitUntilReleased() }
            return survivors
        }
        guard survivors.isEmpty else {
            let names = survivors.map(\.description).joined(separator: ", ")
            throw RunningDeployment.failure(
                "error: deployment \(deployment.name): still running, not even SIGKILL ended it: \(names)"
            )
        }
        Terminal.print("\(deployment.name): stopped")
    }
}
