import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Supervisor

/// What the subcommands of `migrate` share.
struct MigrationOptions: ParsableArguments {
    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var deployment: String?

    func find() async throws -> (RunningDeployment, MigrationHints) {
        let found = try await RunningDeployment.find(self.deployment)
        return (found, MigrationHints(deployment: found.name, isNamed: self.deployment != nil))
    }
}

/// `migrate status`.
struct MigrationStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the migration that is under way, or the last one since the launcher started.",
        discussion: """
            With --follow to its end, also past the rollback window; Ctrl-C only leaves. Exit code with --follow: 0 when the new generation \
            serves at the end, 1 when it was taken back or has failed.
            """
    )

    @Flag(name: [.long, .short], help: "Go on until the migration ends.")
    var follow = false

    @OptionGroup var options: MigrationOptions

    func run() async throws {
        let (deployment, hints) = try await self.options.find()
        guard self.follow else {
            let status = try await deployment.ask { try await $0.migration() }
            return Terminal.print(try self.text(status, hints))
        }
        let follower = MigrationFollower(
            deployment: deployment,
            hints: hints,
            role: .watcher,
            json: self.options.json,
            endsWhenWarm: false
        )
        switch try await follower.run({ client, receive in try await client.followMigration(receive: receive) }) {
        case .left: return
        case .status(let status):
            try MigrationEnding(status, of: nil, hints: hints, now: Int(time(nil))).say(json: self.options.json)
        }
    }

    private func text(_ status: MigrationStatus, _ hints: MigrationHints) throws -> String {
        if self.options.json { return try JSONText.pretty(status) }
        var timeline = MigrationTimeline()
        timeline.take(status)
        var view = MigrationView(hints: hints)
        let environment = ProcessInfo.processInfo.environment
        view.style.unicode = MigrationOutput.showsUnicode(environment)
        view.style.colour = Terminal.colour(on: STDOUT_FILENO, environment: environment)
        if isatty(STDOUT_FILENO) == 1 { view.style.width = TerminalSize.now(environment: environment).columns }
        return view.lines(status, timeline).joined(separator: "\n")
    }
}

/// `migrate history`.
struct MigrationHistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Show the deployment's migrations, the latest last."
    )

    @OptionGroup var options: MigrationOptions

    func run() async throws {
        let (deployment, _) = try await self.options.find()
        let records = try await deployment.ask { try await $0.migrations() }
        Terminal.print(
            self.options.json ? try JSONText.pretty(records) : HistoryRendering.text(records, of: deployment.name)
        )
    }
}

/// `migrate history` for people.
enum HistoryRendering {
    static func text(_ records: [MigrationRecord], of deployment: String) -> String {
        guard !records.isEmpty else { return "\(deployment): no migration yet" }
        let rows = records.map { record in
            [
                "\(record.id)", record.began, record.ended ?? "-", record.from, record.to, record.strategy.rawValue,
                record.step.rawValue, record.reason ?? "",
            ].map(\.printable)
        }
        return StatusRendering.table([["ID", "BEGAN", "ENDED", "FROM", "TO", "STRATEGY", "STEP", "REASON"]] + rows)
            .joined(separator: "\n")
    }
}

/// `migrate pause`.
struct PauseMigrationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "End what is under way and begin nothing further, until resumed."
    )

    @OptionGroup var options: MigrationOptions

    func run() async throws { try await MigrationOrder.give(.pause, self.options) }
}

/// `migrate resume`.
struct ResumeMigrationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "resume", abstract: "Go on after a pause.")

    @OptionGroup var options: MigrationOptions

    func run() async throws { try await MigrationOrder.give(.resume, self.options) }
}

/// `migrate promote`.
struct PromoteMigrationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promote",
        abstract: "Go on without waiting.",
        discussion: """
            After --confirm: let clients reach the new generation. While it is watched: give it all requests at once. While the old \
            generation is kept: stop it now.
            """
    )

    @OptionGroup var options: MigrationOptions

    func run() async throws { try await MigrationOrder.give(.promote, self.options) }
}

/// `migrate abort`.
struct AbortMigrationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "abort",
        abstract: "Take the migration back; the old generation serves as before.",
        discussion: "Returns at once; 'dynamo-launch rollback' does the same and waits for the end."
    )

    @OptionGroup var options: MigrationOptions

    func run() async throws { try await MigrationOrder.give(.abort, self.options) }
}

/// What is asked of a migration that is under way.
enum MigrationOrder {
    static func give(_ command: MigrationCommand, _ options: MigrationOptions) async throws {
        let (deployment, hints) = try await options.find()
        let status = try await deployment.ask { try await $0.migration(command) }
        if options.json { return Terminal.print(try JSONText.line(status)) }
        Terminal.print("\(deployment.name): \(MigrationWords.summary(status, hints))")
        if !status.step.isEnd { Terminal.print("look with: \(hints.command("migrate status --follow"))") }
    }
}

/// `rollback`: back to the generation that served before.
struct RollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Take a migration back while it is under way or its old generation is kept, and wait for the end.",
        discussion: """
            The exit code is 0 when the old generation serves as before. Once the old generation is gone there is nothing to return to at \
            once: migrate to its plane again. Ctrl-C only leaves.

            Examples:
              dynamo-launch rollback
              dynamo-launch rollback --detach --deployment chat
            """
    )

    @Flag(help: "Begin, and return once it is accepted.")
    var detach = false

    @OptionGroup var options: MigrationOptions

    func run() async throws {
        if self.detach { return try await MigrationOrder.give(.rollback, self.options) }
        let (deployment, hints) = try await self.options.find()
        let follower = MigrationFollower(
            deployment: deployment,
            hints: hints,
            role: .watcher,
            json: self.options.json,
            endsWhenWarm: false
        )
        let outcome = try await follower.run { client, receive in
            guard try await receive(try await client.migration(.rollback)) else { return }
            try await client.followMigration(receive: receive)
        }
        switch outcome {
        // What comes of it is not known.
        case .left: throw ExitCode(1)
        case .status(let status):
            try MigrationEnding(rollback: status, hints: hints).say(json: self.options.json)
        }
    }
}
