import ArgumentParser
import Deployment
import Supervisor

/// `stop`: ends a running deployment, or single processes of it.
struct StopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop",
        abstract:
            "Stop a running deployment, in reverse order of its start, or single processes of it; returns when nothing of them is left.",
        discussion: """
            With --process the deployment goes on, as degraded, until 'dynamo-launch start' brings the process back; it is not restarted before, and \
            those that depend on it go on without it; while the only worker of a model is away, the model is not there. A frontend behind the gateway answers first what it has.

            Examples:
              dynamo-launch stop
              dynamo-launch stop chat --now
              dynamo-launch stop --process worker-1
            """
    )

    @Argument(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var name: String?

    @Option(
        name: .customLong("process"),
        parsing: .singleValue,
        help: "Stop only this process (all its replicas) or replica; may be repeated.",
        completion: NameCompletion.processes
    )
    var processes: [String] = []

    @Flag(help: "Kill instead of asking the processes to end.")
    var now = false

    @Flag(help: "With --process: only say what would be done, and who depends on it.")
    var dryRun = false

    @Flag(help: "With --process: print JSON: what is done, then one object for each step.")
    var json = false

    func validate() throws {
        if self.processes.isEmpty, self.dryRun || self.json {
            throw ValidationError("\(self.dryRun ? "--dry-run" : "--json") goes with --process")
        }
        if !self.processes.isEmpty, self.now {
            throw ValidationError(
                "--now ends the whole deployment; a single process is killed with: dynamo-launch signal KILL NAME"
            )
        }
    }

    func run() async throws {
        if self.processes.isEmpty, let orphan = await RunningDeployment.orphan(self.name) {
            return try await self.end(orphan)
        }
        let deployment = try await RunningDeployment.find(self.name)
        guard self.processes.isEmpty else {
            return try await deployment.order(
                .stop,
                self.processes,
                dryRun: self.dryRun,
                json: self.json,
                done: "stopped \(self.processes.joined(separator: ", "))"
            )
        }
        let survivors = try await deployment.ask { client in
            let before = Set(try await client.status().warnings)
            let end = try await StopWatch.sayingWhoHolds(client) { try await client.stop(now: self.now) }
            // Who had to be killed, for one.
            for warning in end.warnings where !before.contains(warning) { Terminal.printError("warning: \(warning)") }
            let survivors = end.survivors
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

    /// Ends what goes on without a launcher.
    private func end(_ orphan: OrphanedDeployment) async throws {
        self.keep("stopping what goes on without a launcher, by 'dynamo-launch stop'", .info, of: orphan)
        guard await orphan.end() else {
            self.keep("some of its processes have not ended", .error, of: orphan)
            throw RunningDeployment.failure("error: deployment \(orphan.name): some of its processes have not ended")
        }
        self.keep("stopped; its launcher had ended at \(orphan.launcherEndedWords)", .info, of: orphan)
        Terminal.print("\(orphan.name): stopped (its launcher had gone before)")
    }

    /// There is no launcher to write it.
    private func keep(_ text: String, _ level: LaunchEvent.Level, of orphan: OrphanedDeployment) {
        let event = LaunchEvent(text, level: level, generation: orphan.generation)
        let log = EventLog(path: KeptDeployments.directories(of: orphan.name).events)
        if let trouble = log.append(event) { Terminal.printError("warning: \(trouble)") }
    }
}
