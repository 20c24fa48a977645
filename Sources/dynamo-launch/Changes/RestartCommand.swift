import ArgumentParser
import Supervisor

/// `restart`: new processes in the place of those that run, while the deployment serves.
struct RestartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart",
        abstract:
            "Start processes of a running deployment anew, one replica after another, each ready before the next.",
        discussion: """
            A frontend behind the gateway gets no new requests and answers those that it has before it is told to end; while there is \
            no other one, new requests wait. Other processes are told to end at once and finish their work by themselves; while the only worker of a model is away, the model is not there. Processes \
            that depend on a restarted one go on. A process that does not become ready is handled as after a crash, by its restart policy.

            Examples:
              dynamo-launch restart frontend
              dynamo-launch restart worker-0 worker-1 --deployment chat
            """
    )

    @OptionGroup var options: ProcessOrderOptions

    func run() async throws { try await self.options.order(.restart, done: "restarted") }
}

/// `start`: processes that `stop --process` has ended.
struct StartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Start processes of a running deployment that were stopped by 'stop --process'.",
        discussion: """
            One replica after another, each ready before the next. A whole deployment is started with 'dynamo-launch up'.

            Examples:
              dynamo-launch start worker-1
              dynamo-launch start worker --deployment chat
            """
    )

    @OptionGroup var options: ProcessOrderOptions

    func run() async throws { try await self.options.order(.start, done: "started") }
}

/// Which processes, of which deployment: shared by `restart` and `start`.
struct ProcessOrderOptions: ParsableArguments {
    @Argument(help: "Processes (all their replicas) or single replicas.", completion: NameCompletion.processes)
    var processes: [String]

    @Option(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var deployment: String?

    @Flag(help: "Only say what would be done, and who depends on it.")
    var dryRun = false

    @Flag(help: "Print JSON: what is done, then one object for each step.")
    var json = false

    func order(_ order: ProcessOrder, done: String) async throws {
        let deployment = try await RunningDeployment.find(self.deployment)
        try await deployment.order(order, self.processes, dryRun: self.dryRun, json: self.json, done: done)
    }
}

extension RunningDeployment {
    /// Restarts, stops or starts processes, and shows each step.
    func order(
        _ order: ProcessOrder,
        _ processes: [String],
        dryRun: Bool,
        json: Bool,
        done: String
    ) async throws {
        let last = try await self.ask { client in
            var last: RolloutProgress?
            try await client.obey(order, processes, dryRun: dryRun) { outline in
                if json {
                    Terminal.print(try JSONText.line(outline))
                } else if dryRun {
                    Terminal.print(Self.words(order, outline))
                }
            } receive: { progress in
                last = progress
                try RolloutRendering.show(progress, json: json)
            }
            return last
        }
        if !dryRun { try RolloutRendering.end(last, of: self, json: json, done: done) }
    }

    private static func words(_ order: ProcessOrder, _ outline: OrderOutline) -> String {
        let verb = order.rawValue + String(repeating: " ", count: 7 - order.rawValue.count)
        var lines = outline.replicas.map { "\(verb)  \($0)" }
        if !outline.dependents.isEmpty {
            let meanwhile =
                switch order {
                case .restart: "while it is away"
                case .stop: "without it"
                case .start: "as they are"
                }
            lines.append("keep     \(outline.dependents.joined(separator: ", ")): depend on it and go on \(meanwhile)")
        }
        return lines.joined(separator: "\n")
    }
}
