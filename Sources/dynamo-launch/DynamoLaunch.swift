import ArgumentParser
import DynamoRuntime
import Supervisor

/// The program: one subcommand a file, `up` when none is named.
@main
struct DynamoLaunch: AsyncParsableCommand {
    static let version = ProgramVersion.text

    static let configuration = CommandConfiguration(
        commandName: "dynamo-launch",
        abstract: "Starts, proves and stops an NVIDIA Dynamo deployment from one manifest.",
        discussion: """
            Without a manifest, dynamo-launch.yaml in the working directory is used, else the embedded deployment: a frontend \
            and an echo worker that need no Python, GPU or etcd, and nats-server only on the NATS plane.

            Examples:
              dynamo-launch                             start the embedded deployment
              dynamo-launch --nats launch/mocker.yaml   start a manifest on NATS
              dynamo-launch check my.yaml               print a manifest's errors
              dynamo-launch plan my.yaml --json         show what would be started
              dynamo-launch status --wait               wait until it serves
              dynamo-launch top                         watch it, and restart or stop what it runs
              dynamo-launch restart frontend            start it anew, losing no request
              dynamo-launch scale worker=3              change the number of its replicas
              dynamo-launch migrate --to nats           move it to another plane
              dynamo-launch upgrade                     let this program take over from the launcher that runs
              dynamo-launch rollback                    take that back
              dynamo-launch events --since 1h           show what happened, and why
              dynamo-launch kv --follow                 show what workers' KV caches hold
              dynamo-launch doctor                      explain what is wrong with what runs
              dynamo-launch adopt                       make a manifest of what runs already
              dynamo-launch import disagg.sh            make a manifest of a launch script
              dynamo-launch bench --all-planes          compare the request planes
              dynamo-launch generate systemd my.yaml    print a manifest's systemd service
            """,
        version: version,
        subcommands: [
            UpCommand.self, CheckCommand.self, PlanCommand.self, StatusCommand.self, TopCommand.self, ApplyCommand.self,
            RestartCommand.self, ScaleCommand.self, MigrateCommand.self, RollbackCommand.self,
            StopCommand.self, StartCommand.self, SignalCommand.self, AdoptCommand.self, ImportCommand.self,
            DoctorCommand.self,
            LogsCommand.self, EventsCommand.self, KVCommand.self, BenchCommand.self, GenerateCommand.self,
            CompletionCommand.self, UpgradeCommand.self, ServePublicPortCommand.self,
        ],
        defaultSubcommand: UpCommand.self
    )

    /// Parses and runs.
    ///
    /// Wrong usage ends with 1, as upstream's scripts end, not with the parser's own 64.
    static func main() async {
        Terminal.open()
        // Before there is a second thread.
        if let trouble = FirstProcess.leave() { Terminal.printError("warning: \(trouble)") }
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            let code = self.exitCode(for: error)
            guard code == .validationFailure else { self.exit(withError: error) }
            Terminal.printError(self.fullMessage(for: error))
            self.exit(withError: ExitCode(1))
        }
    }
}
