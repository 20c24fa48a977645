import ArgumentParser
import FoundationEssentials
import Glibc
import Supervisor

/// `status`: a running deployment, for people or programs.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show a running deployment, or, when several run and none is named, a line for each.",
        discussion:
            """
            Exit code: 0 when it serves (without --wait: when it runs), 1 when it has failed, is not there, has lost its launcher, or does not serve in \
            time; of several, 1 when that is so of any.
            """
    )

    @Argument(help: "The deployment's name; without it all that run are shown.", completion: NameCompletion.running)
    var name: String?

    @Flag(help: "Wait until the deployment serves or has failed.")
    var wait = false

    @Option(
        help: ArgumentHelp(
            "With --wait: the longest wait, also for a deployment that is only being started (there 10 without this).",
            valueName: "seconds"
        )
    )
    var timeout: Double?

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(name: .customLong("watch"), help: "Show it again every second, until Ctrl-C or until the launcher has ended.")
    var watches = false

    func validate() throws {
        if let timeout, !self.wait || timeout <= 0 || !timeout.isFinite {
            throw ValidationError("--timeout takes a positive number of seconds, together with --wait")
        }
        if self.watches, self.wait { throw ValidationError("--watch and --wait exclude each other") }
    }

    func run() async throws {
        if self.name == nil, !self.wait, !self.watches, let overview = await StatusOverview.ofSeveral() {
            Terminal.print(self.json ? try JSONText.pretty(overview.statuses) : overview.text)
            if self.json { for trouble in overview.troubles { Terminal.printError(trouble) } }
            if !overview.isWell { throw ExitCode(1) }
            return
        }
        let patience: Duration? = self.wait ? .seconds(self.timeout ?? 10) : nil
        let deployment = try await RunningDeployment.find(self.name, waiting: patience)
        if self.watches { return try await self.watch(deployment) }
        let limit = self.timeout.map { Duration.seconds($0) }
        let status = try await deployment.ask { client in
            try await client.status(waitingFor: self.wait ? .ready : nil, timeout: limit, measures: self.json)
        }
        Terminal.print(self.json ? try JSONText.pretty(status) : StatusRendering.text(status))
        if status.state == .failed || (self.wait && status.state != .ready) { throw ExitCode(1) }
    }

    /// On a terminal each status takes the place of the one before; elsewhere they follow each other.
    private func watch(_ deployment: RunningDeployment) async throws {
        signal(SIGPIPE, SIG_DFL)
        let environment = ProcessInfo.processInfo.environment
        let isLive = isatty(STDOUT_FILENO) == 1 && environment["TERM", default: "dumb"] != "dumb" && !self.json
        while true {
            let status = try await deployment.ask { try await $0.status(measures: self.json) }
            if self.json {
                Terminal.print(try JSONText.line(status))
            } else {
                Terminal.printVerbatim(
                    (isLive ? "\u{1b}[H\u{1b}[J" : "") + StatusRendering.text(status) + "\n" + (isLive ? "" : "\n")
                )
            }
            try await Task.sleep(for: .seconds(1))
        }
    }
}
