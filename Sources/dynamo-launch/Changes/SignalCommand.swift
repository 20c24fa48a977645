import ArgumentParser
import Deployment
import Supervisor

/// `signal`: a signal for processes that run.
struct SignalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "signal",
        abstract: "Send processes of a running deployment a signal.",
        discussion: """
            Only the process itself gets it, not those that it has started. What it does then is its own: one that ends is handled by its \
            restart policy, as after any other exit ('stop --process' ends one for good, 'restart' replaces it). Those that depend on it go on.

            Examples:
              dynamo-launch signal USR1 worker-0
              dynamo-launch signal SIGQUIT frontend --deployment chat
            """
    )

    @Argument(
        help: "The signal: a name such as USR1 or SIGUSR1, or its number.",
        completion: .list(ProcessSignal.all),
        transform: Self.parse
    )
    var signal: ProcessSignal

    @Argument(help: "Processes (all their replicas) or single replicas.", completion: NameCompletion.processes)
    var processes: [String]

    @Option(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var deployment: String?

    @Flag(help: "Only say who would get it, and who depends on them.")
    var dryRun = false

    @Flag(help: "Print JSON.")
    var json = false

    private static func parse(_ text: String) throws -> ProcessSignal {
        if let signal = ProcessSignal(text) { return signal }
        if Int32(text) != nil || text.uppercased().hasSuffix("RTMIN") {
            throw ValidationError("there is no signal '\(text)' that could be sent; numbers are from 1 to 31")
        }
        let nearest = Spelling.nearest(to: "SIG\(text.uppercased())", among: ProcessSignal.all)
        let hint = nearest.map { "did you mean \($0)?" } ?? "there are: \(ProcessSignal.all.joined(separator: ", "))"
        throw ValidationError("there is no signal '\(text)'; \(hint)")
    }

    func run() async throws {
        let deployment = try await RunningDeployment.find(self.deployment)
        let report = try await deployment.ask {
            try await $0.send(self.signal.number, to: self.processes, dryRun: self.dryRun)
        }
        if self.json {
            Terminal.print(try JSONText.pretty(report))
        } else {
            for (name, pid) in report.pids.sorted(by: { $0.key < $1.key }) {
                Terminal.print(
                    self.dryRun
                        ? "\(self.signal.name)  \(name), pid \(pid)" : "\(name): \(self.signal.name) sent to pid \(pid)"
                )
            }
            if self.dryRun, !report.dependents.isEmpty {
                let names = report.dependents.joined(separator: ", ")
                Terminal.print("keep     \(names): depend on it and go on; if it ends, its restart policy decides")
            }
        }
        guard report.idle.isEmpty else {
            throw RunningDeployment.failure(
                "error: deployment \(deployment.name): no process to send it to: \(report.idle.joined(separator: ", "))"
            )
        }
    }
}
