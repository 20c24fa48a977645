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
            """
            The log files of a deployment that does not run any more are under its state directory; 'dynamo-launch plan' names it. What the launcher \
            itself said is shown by 'events'.

            Examples:
              dynamo-launch logs --process worker --follow
              dynamo-launch logs --since 10m --grep '(?i)error|out of memory'
            """
    )

    @Argument(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var name: String?

    @Option(help: "Only this process or replica.", completion: NameCompletion.processes)
    var process: String?

    @OptionGroup var filter: LineFilter

    @Option(
        name: [.long, .short],
        help: ArgumentHelp(
            "How many lines of the past; default: 100, with --since all that the last 100000 lines have.",
            valueName: "count"
        )
    )
    var lines: Int?

    @Flag(name: [.long, .short], help: "Go on with the lines that come.")
    var follow = false

    @Option(help: "How lines look: text or json.")
    var logFormat: ConsoleFormatter.Format = .text

    /// So many lines a launcher gives at most.
    private static let most = 100_000

    func validate() throws {
        if let lines, lines < 0 { throw ValidationError("--lines takes a number from 0") }
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
        let isWanted = self.filter.matcher()
        let count = self.lines ?? (self.filter.since == nil ? 100 : Self.most)
        // The last lines of those that are wanted may be far back.
        let asked = self.filter.isEmpty ? count : Self.most
        try await deployment.ask { client in
            var past: [LogLine] = []
            var isPast = !self.filter.isEmpty
            func showPast() {
                for line in past.suffix(count) { Terminal.printVerbatim(formatter.string(for: line)) }
                (past, isPast) = ([], false)
            }
            try await client.logs(of: self.process, lines: asked, follow: self.follow, caughtUp: showPast) { line in
                guard isWanted(line.text, line.time) else { return }
                if isPast { past.append(line) } else { Terminal.printVerbatim(formatter.string(for: line)) }
            }
            showPast()
        }
    }
}
