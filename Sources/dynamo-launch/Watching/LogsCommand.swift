import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Supervisor

extension ConsoleFormatter.Format: ExpressibleByArgument {}

/// `logs`: what the processes of a running deployment wrote.
struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs",
        abstract: "Show what the processes of a deployment wrote.",
        discussion:
            """
            Of a deployment that does not run any more its log files are shown. What the launcher itself said, and why a deployment ended, is shown by \
            'events'.

            Examples:
              dynamo-launch logs --process worker --follow
              dynamo-launch logs --since 10m --grep '(?i)error|out of memory'
            """
    )

    @Argument(
        help: "The deployment's name; not needed when only one runs, or was ever started.",
        completion: NameCompletion.known
    )
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
        if let name = self.ended { return try self.showFiles(of: name) }
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

    /// The deployment that is meant, when it has no launcher and has left log files.
    private var ended: String? {
        let running = RunningDeployment.names
        let known = KeptDeployments.names
        guard let name = self.name else { return running.isEmpty && known.count == 1 ? known[0] : nil }
        return !running.contains(name) && known.contains(name) ? name : nil
    }

    /// What was written while the deployment had a launcher.
    private func showFiles(of name: String) throws {
        let all = KeptDeployments.logs(of: name)
        let sources = all.filter { source in
            self.process.map { $0 == source.process || $0 == source.replica } ?? true
        }
        let state = RunningDeployment.orphans(name).isEmpty ? "does not run" : "has no launcher"
        let folder = KeptDeployments.directories(of: name).logs
        guard !all.isEmpty else {
            throw RunningDeployment.failure(
                "error: deployment \(name) \(state), and has left no log files under \(folder)"
            )
        }
        if let process = self.process, sources.isEmpty {
            let known = Set(all.map(\.process)).sorted()
            let hint =
                Spelling.nearest(to: process, among: known + all.map(\.replica)).map { "did you mean '\($0)'?" }
                ?? "there are some of: \(known.joined(separator: ", "))"
            throw RunningDeployment.failure(
                "error: deployment \(name) \(state), and has left no log file of a process '\(process)'; \(hint)"
            )
        }
        if self.follow {
            throw RunningDeployment.failure(
                "error: deployment \(name) \(state): there is nothing to follow; without --follow its log files are shown"
            )
        }
        Terminal.printError("\(name) \(state); from its log files under \(folder):")
        let formatter = ConsoleFormatter(
            format: self.logFormat,
            colour: Terminal.colour(on: STDOUT_FILENO, environment: ProcessInfo.processInfo.environment),
            processes: sources.map(\.process),
            replicas: sources.map { ReplicaLabel.text($0.replica, generation: $0.generation) }
        )
        let isWanted = self.filter.matcher()
        let count = self.lines ?? (self.filter.since == nil ? 100 : Self.most)
        let lines = LogTail.lines(of: sources, count: self.filter.isEmpty ? count : Self.most)
        for line in lines.filter({ isWanted($0.text, $0.time) }).suffix(count) {
            Terminal.printVerbatim(formatter.string(for: line))
        }
    }
}
