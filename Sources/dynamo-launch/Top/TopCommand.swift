import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Supervisor

/// `top`: a running deployment on the whole terminal, refreshed as it goes.
struct TopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Show a running deployment on the whole terminal: processes, requests, a migration, the last events.",
        discussion: """
            Keys: q leaves, arrows or j and k choose a process, r restarts it, s stops it or starts it again (both ask first), l shows its last \
            lines, ? says this. What is asked for goes on in the launcher when the view is left. When the launcher goes away the \
            view says so, and goes on when there is one again.

            Without a terminal, or with --once, it is printed once, with what processors were used for in one interval.

            Examples:
              dynamo-launch top
              dynamo-launch top chat --interval 0.5
              dynamo-launch top --once
            """
    )

    @Argument(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var name: String?

    @Option(
        name: [.long, .short],
        help: ArgumentHelp("How long between two looks, from 0.1.", valueName: "seconds")
    )
    var interval = 1.0

    @Flag(help: "Print it once, as plain text, and end.")
    var once = false

    func validate() throws {
        guard self.interval >= 0.1, self.interval <= 3600 else {
            throw ValidationError("--interval takes seconds from 0.1 to 3600")
        }
    }

    func run() async throws {
        let deployment = try await RunningDeployment.find(self.name)
        let environment = ProcessInfo.processInfo.environment
        let isLive = !self.once && isatty(STDOUT_FILENO) == 1 && environment["TERM", default: "dumb"] != "dumb"
        guard isLive else { return try await self.printOnce(deployment, environment) }
        let loop = TopLoop(
            deployment: deployment,
            interval: .seconds(self.interval),
            environment: environment,
            events: Self.eventFile(of: deployment.name, environment)
        )
        let ending = await loop.run()
        // Whoever started the program is told how it ended.
        if case .signal(let number) = ending {
            signal(number, SIG_DFL)
            WholeScreen.raise(number)
        }
    }

    private func printOnce(_ deployment: RunningDeployment, _ environment: [String: String]) async throws {
        signal(SIGPIPE, SIG_DFL)
        var model = TopModel(deployment: deployment.name)
        let clock = ContinuousClock()
        _ = model.take(try await deployment.ask { try await $0.status(measures: true) }, at: clock.now)
        try await Task.sleep(for: .seconds(self.interval))
        let status = try await deployment.ask { try await $0.status(measures: true) }
        _ = model.take(status, at: clock.now)
        model.take(gpuMemory: await TopGPUMemory.find(environment)?.byReplica(status))
        model.take(EventLog.events(in: Self.eventFile(of: deployment.name, environment), last: 10) { _ in true }.events)
        var screen = TopScreen(style: MigrationView.Style(width: .max), isPlain: true)
        screen.style.unicode = MigrationOutput.showsUnicode(environment)
        screen.style.colour = Terminal.colour(on: STDOUT_FILENO, environment: environment)
        for line in screen.text(model) { Terminal.print(line) }
        if status.state == .failed { throw ExitCode(1) }
    }

    private static func eventFile(of name: String, _ environment: [String: String]) -> String {
        let root = DeploymentDirectories.stateRoot(
            environment: environment,
            homeDirectory: environment["HOME"] ?? "/"
        )
        return DeploymentDirectories(state: "\(root)/\(name)", runtime: "").events
    }
}
