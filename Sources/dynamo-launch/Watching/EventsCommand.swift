import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Supervisor

extension LaunchEvent.Level: ExpressibleByArgument {}

/// `events`: what happened to a deployment, and why.
struct EventsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract:
            "Show what happened to a deployment, and why: starts, exits, restarts, changes, migrations, warnings.",
        discussion: """
            What the launcher said is kept in the deployment's state folder, also when the launcher has ended or was killed, and from one start to \
            the next. What processes wrote is shown by 'logs'.

            Examples:
              dynamo-launch events --since 1h
              dynamo-launch events chat --process worker-1 --level warning
              dynamo-launch events --follow --json
            """
    )

    @Argument(
        help: "The deployment's name; not needed when there was only one, or only one runs.",
        completion: NameCompletion.known
    )
    var name: String?

    @OptionGroup var filter: LineFilter

    @Option(help: "Only what is about this process or replica.", completion: NameCompletion.processes)
    var process: String?

    @Option(help: "Only this level and above.")
    var level: LaunchEvent.Level = .info

    @Option(
        name: [.long, .short],
        help: ArgumentHelp("How many events of the past; default: 100, with --since all.", valueName: "count")
    )
    var lines: Int?

    @Flag(name: [.long, .short], help: "Go on with what happens.")
    var follow = false

    @Flag(help: "Print JSON, one object a line.")
    var json = false

    private static let pause = Duration.milliseconds(200)

    func validate() throws {
        if let lines, lines < 0 { throw ValidationError("--lines takes a number from 0") }
    }

    func run() async throws {
        signal(SIGPIPE, SIG_DFL)
        let name = try KeptDeployments.find(self.name)
        let path = KeptDeployments.directories(of: name).events
        let isWanted = self.matcher()
        let count = self.lines ?? (self.filter.since == nil ? 100 : .max)
        var (past, reader) = EventLog.events(in: path, last: count, where: isWanted)
        if past.isEmpty, !self.follow { try self.refuseUnknownProcess(path) }
        for event in past { try self.show(event) }
        if let pid = RunningDeployment.lostLauncher(of: name) {
            // It could not say so itself.
            Terminal.printError("\(name): its launcher (pid \(pid)) is gone: it was killed, or crashed")
        }
        while self.follow {
            try await Task.sleep(for: Self.pause)
            for event in reader.next() where isWanted(event) { try self.show(event) }
        }
    }

    private func matcher() -> (LaunchEvent) -> Bool {
        let matches = self.filter.matcher()
        return { event in
            guard event.level >= self.level, matches(event.message, LogTime(event.time)) else { return false }
            guard let process = self.process else { return true }
            return event.replica.map {
                $0 == process || $0.hasPrefix("\(process)-") && Int($0.dropFirst(process.count + 1)) != nil
            }
                ?? false
        }
    }

    /// A process that never had an event is rather misspelt than quiet.
    private func refuseUnknownProcess(_ path: String) throws {
        guard let process = self.process else { return }
        let known = Set(EventLog.events(in: path, last: .max) { $0.replica != nil }.events.compactMap(\.replica))
        guard !known.contains(where: { $0 == process || $0.hasPrefix("\(process)-") }) else { return }
        let hint =
            Spelling.nearest(to: process, among: Array(known)).map { "did you mean '\($0)'?" }
            ?? "there are some of: \(known.sorted().joined(separator: ", "))"
        throw RunningDeployment.failure("error: there is no event of a process '\(process)'; \(hint)")
    }

    private func show(_ event: LaunchEvent) throws {
        if self.json { return Terminal.print(try JSONText.line(event)) }
        let level = event.level.rawValue + String(repeating: " ", count: 7 - event.level.rawValue.count)
        for line in event.message.split(separator: "\n", omittingEmptySubsequences: false) {
            Terminal.print("\(event.time)  \(level)  \(line)")
        }
    }
}
