import ArgumentParser
import FoundationEssentials
import Glibc
import Supervisor

extension ConsoleFormatter.Format: ExpressibleByArgument {}

/// `logs`: what the processes of a running deployment wrote.
struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs",
        abstract: "Show what the processes of a running deployment wrote.",
        discussion:
            "The log files of a deployment that does not run any more are under its state directory; 'dynamo-launch plan' names it."
    )

    @Argument(help: "The deployment's name; not needed when only one runs.")
    var name: String?

    @Option(help: "Only this process or replica.")
    var process: String?

    @Option(name: [.long, .short], help: ArgumentHelp("How many lines of the past.", valueName: "count"))
    var lines = 100

    @Flag(name: [.long, .short], help: "Go on with the lines that come.")
    var follow = false

    @Option(help: "How lines look: text or json.")
    var logFormat: ConsoleFormatter.Format = .text

    func validate() throws {
        if self.lines < 0 { throw ValidationError("--lines takes a number from 0") }
    }

    func run() async throws {
        signal(SIGPIPE, SIG_DFL)
        let deployment = try await RunningDeployment.find(self.name)
        let replicas = try await deployment.ask { try await $0.status() }.replicas
        let formatter = ConsoleFormatter(
            format: self.logFormat,
            colour: Terminal.colour(on: STDOUT_FILENO, environment: ProcessInfo.processInfo.environment),
            processes: replicas.map(\.process),
            replicas: replicas.map(\.name)
        )
        try await deployment.ask { client in
            try await client.logs(of: self.process, lines: self.lines, follow: self.follow) { line in
                Terminal.printVerbatim(formatter.string(for: line))
            }
        }
    }
}
