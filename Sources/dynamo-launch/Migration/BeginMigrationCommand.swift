import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Supervisor

/// `migrate begin`: begins a migration and follows it.
struct BeginMigrationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "begin",
        abstract: "Begin a migration and follow it (the default subcommand).",
        discussion: """
            Follows until the new generation has all requests; then the old one is kept running for the rollback window. Ctrl-C takes the \
            migration back and goes on showing it, a second one only leaves. The exit code is 0 when the new generation serves, and 1 when the \
            old one serves as before.

            Examples:
              dynamo-launch migrate --to nats
              dynamo-launch migrate --to-manifest release-1.6.yaml --to tcp --confirm
              dynamo-launch migrate --set dynamo.release=1.6.1 --strategy rolling
            """
    )

    @Option(
        name: .customLong("to"),
        help: ArgumentHelp("The request plane to move to: tcp, http or nats.", valueName: "plane"),
        completion: .list(PlaneSet.Request.allCases.map(\.rawValue))
    )
    var plane: String?

    @Option(
        name: .customLong("to-manifest"),
        help: ArgumentHelp("The manifest to move to; default: the running one.", valueName: "file"),
        completion: .file(extensions: ["yaml", "yml"])
    )
    var manifest: String?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("Change a key of the manifest; may be given several times.", valueName: "key=value")
    )
    var overrides: [String] = []

    @Option(
        help: "How: blue-green, rolling or recreate; default: as the manifest says, else blue-green.",
        completion: .list(MigrationSettings.Strategy.allCases.map(\.rawValue))
    )
    var strategy: String?

    @Option(help: ArgumentHelp("Percent of the requests, step by step, such as 5,25,100.", valueName: "percent,..."))
    var steps: String?

    // As texts: a value that looks like a flag is refused in words too.
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("How long each step is watched.", valueName: "seconds")
    )
    var observe: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("How long the old generation is kept once the new one has everything.", valueName: "seconds")
    )
    var rollbackWindow: String?

    @Flag(help: "Ask a person before clients reach the new generation.")
    var confirm = false

    @Flag(help: "Only say what would be done.")
    var dryRun = false

    @Flag(help: "Begin, and return once it is accepted.")
    var detach = false

    @Flag(help: "Print JSON: the status at each change and each second, one object a line.")
    var json = false

    @Option(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var deployment: String?

    @Argument(help: .hidden)
    var words: [String] = []

    private static let flags: [MigrationRequest.Field: String] = [
        .requestPlane: "--to", .manifest: "--to-manifest", .set: "--set", .strategy: "--strategy", .steps: "--steps",
        .observe: "--observe", .rollbackWindow: "--rollback-window", .confirm: "--confirm",
    ]

    func validate() throws {
        // Said when options that are not there were said.
        if !self.words.isEmpty { return }
        if self.dryRun, self.detach {
            throw ValidationError("--detach begins a migration, and --dry-run does not: give one of them")
        }
        let strategies = MigrationSettings.Strategy.allCases.map(\.rawValue)
        if let strategy, !strategies.contains(strategy) {
            throw ValidationError(MigrationRequest.unknown("--strategy", strategy, among: strategies))
        }
        if let trouble = try self.request().trouble(calling: { Self.flags[$0] ?? $0.rawValue }) {
            throw ValidationError(trouble)
        }
    }

    /// - Throws: an error that says what a word may have meant.
    private func refuseWords() throws {
        if let word = self.words.first {
            let names = MigrateCommand.configuration.subcommands.compactMap { $0.configuration.commandName }
            let planes = PlaneSet.Request.allCases.map(\.rawValue)
            let hint =
                planes.contains(word)
                ? "did you mean '--to \(word)'?"
                : Spelling.nearest(to: word, among: names).map { "did you mean '\($0)'?" }
                    ?? "there are: \(names.joined(separator: ", "))"
            throw ValidationError("migrate has no subcommand '\(word)'; \(hint)")
        }
    }

    private func request() throws -> MigrationRequest {
        MigrationRequest(
            requestPlane: self.plane,
            manifest: self.manifest.map(Self.absolute),
            set: self.overrides,
            strategy: self.strategy.flatMap(MigrationSettings.Strategy.init),
            steps: try self.steps.map(Self.percentages),
            observe: try self.observe.map { try Self.seconds($0, of: .observe) },
            rollbackWindow: try self.rollbackWindow.map { try Self.seconds($0, of: .rollbackWindow) },
            confirm: self.confirm
        )
    }

    private static func percentages(_ text: String) throws -> [Int] {
        try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
            guard let number = Int(part.filter { $0 != " " }) else {
                throw ValidationError("--steps takes percentages such as 5,25,100, not '\(text)'")
            }
            return number
        }
    }

    private static func seconds(_ text: String, of field: MigrationRequest.Field) throws -> Double {
        guard let seconds = DurationText.seconds(text) else {
            let flag = self.flags[field] ?? field.rawValue
            throw ValidationError("\(flag) takes seconds, such as 10 or 10s (also 2m, 1h), not '\(text)'")
        }
        return seconds
    }

    /// The launcher has a working directory of its own.
    private static func absolute(_ path: String) -> String {
        let whole = path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
        return URL(filePath: whole).standardized.path(percentEncoded: false)
    }

    func run() async throws {
        try self.refuseWords()
        let request = try self.request()
        if let manifest, !FileManager.default.isReadableFile(atPath: manifest) {
            throw RunningDeployment.failure(
                "error: --to-manifest \(manifest): there is no such file, or it cannot be read; nothing was begun"
            )
        }
        let deployment = try await RunningDeployment.find(self.deployment)
        let hints = MigrationHints(deployment: deployment.name, isNamed: self.deployment != nil)
        if self.dryRun {
            let outline = try await deployment.ask { try await $0.outline(request) }
            return Terminal.print(self.json ? try JSONText.pretty(outline) : OutlineRendering.text(outline))
        }
        if self.detach { return try await self.begin(request, deployment, hints) }
        let follower = MigrationFollower(
            deployment: deployment,
            hints: hints,
            role: .owner,
            json: self.json,
            endsWhenWarm: true
        )
        switch try await follower.run({ client, receive in try await client.migrate(request, receive: receive) }) {
        case .left: throw ExitCode(1)
        case .status(let status):
            try MigrationEnding(status, of: request, hints: hints, now: Int(time(nil))).say(json: self.json)
        }
    }

    private func begin(
        _ request: MigrationRequest,
        _ deployment: RunningDeployment,
        _ hints: MigrationHints
    ) async throws {
        let json = self.json
        var isBegun = false
        try await deployment.ask { client in
            try await client.migrate(request) { status in
                isBegun = true
                guard !json else {
                    Terminal.print(try JSONText.line(status))
                    return false
                }
                Terminal.print(
                    "\(deployment.name): migration \(status.id) has begun: \(MigrationWords.name(status.from)) to "
                        + "\(MigrationWords.name(status.to)), \(status.strategy.rawValue)\n"
                        + "look with: \(hints.command("migrate status --follow"))"
                )
                return false
            }
        }
        if !isBegun { throw RunningDeployment.failure(MigrationEnding.launcherGone(nil, hints: hints)) }
    }
}

extension MigrationEnding {
    /// - Throws: an exit code after a failure.
    func say(json: Bool) throws {
        if !json { for line in self.lines { Terminal.print(line) } }
        if let failure { throw RunningDeployment.failure(failure) }
    }
}

/// `--dry-run` for people.
enum OutlineRendering {
    static func text(_ outline: MigrationOutline) -> String {
        var lines = ["\(outline.from) to \(outline.to), \(outline.strategy.rawValue); nothing is done now", "steps:"]
        lines += outline.steps.enumerated().map { "  \($0 + 1). \($1)" }
        lines.append(outline.needs.isEmpty ? "needs nothing beside what runs" : "needs, beside what runs:")
        lines += outline.needs.map { "  - \($0)" }
        lines.append("requests wait: \(outline.gap ?? "never")")
        lines += outline.notes.map { "note: \($0)" }
        return lines.joined(separator: "\n")
    }
}
