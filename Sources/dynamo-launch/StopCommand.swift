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
        let status = try await deployment.ask { client in
            _ = try await client.status()
            let status = try await client.stop(now: self.now)
            try await client.waitUntilReleased()
            return status
        }
        let left = status.replicas.filter { $0.pid != nil }
        guard left.isEmpty else {
            let names = left.map { "\($0.name) (pid \($0.pid ?? 0))" }.joined(separator: ", ")
            throw RunningDeployment.failure("error: deployment \(deployment.name): still running: \(names)")
        }
        Terminal.print("\(deployment.name): stopped")
    }
}
