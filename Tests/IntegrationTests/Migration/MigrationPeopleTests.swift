import Deployment
import Foundation
import Glibc
import Rollout
import Supervisor
import TestSupport
import Testing

/// What people and programs do while a migration is under way, with real processes.
@Suite("People in mid-migration", .serialized, .timeLimit(.minutes(5)))
struct MigrationPeopleTests {
    private static func manifest(_ name: String) -> String {
        """
        name: \(name)
        model: echo
        processes:
          frontend: {builtin: frontend, stop: {grace: 5s}}
          worker:
            builtin: worker
            stop: {grace: 5s}
            args: [--engine, echo, --model-name, "{{model}}", --rate, 200]
        migration: {steps: [50, 100], observe: 0s, rollbackWindow: 1m}

        """
    }

    private static func run(
        _ name: String,
        _ body: (KilledDeployment, RunningProgram) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment(name, in: directory, manifest: Self.manifest(name))
            // As under a service manager, for which SIGHUP means: read the manifest again.
            try await deployment.up(environment: ["NOTIFY_SOCKET": "\(directory.path())/none"]) { program in
                try await program.waitForOutput("ready in ")
                try await body(deployment, program)
                program.send(SIGTERM)
                try await program.waitForExit()
            }
            try await deployment.waitUntilGone()
        }
    }

    /// Begins a migration and waits for a step; who is told of it is gone by then.
    private static func begin(
        _ deployment: KilledDeployment,
        to plane: String = "http",
        until step: MigrationStep,
        _ change: (inout MigrationRequest) -> Void = { _ in }
    ) async throws {
        var request = MigrationRequest(requestPlane: plane)
        change(&request)
        try await deployment.client.migrate(request) { $0.step != step && !$0.step.isEnd }
        let status = try await deployment.client.migration()
        #expect(status.step == step, "\(status)")
    }

    @Test func `when the launcher is killed, whoever follows ends and says what comes next`() async throws {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment("followed", in: directory, manifest: Self.manifest("followed"))
            let next =
                "error: deployment followed: its launcher ended in mid-migration (confirming); "
                + "the next 'dynamo-launch up' starts generation 1 (tcp): the migration counts as taken back\n"
            try await deployment.up { launcher in
                try await launcher.waitForOutput("ready in ")
                try await Self.follow(
                    deployment,
                    ["migrate", "--to", "http", "--confirm"],
                    until: "waits for a person",
                    next
                ) {
                    try await Self.follow(deployment, ["migrate", "status", "--follow"], until: "confirming", next) {
                        let cut = "control.sock: the connection was closed before the answer was complete\n"
                        try await Self.follow(deployment, ["logs", "--follow"], until: "frontend", cut) {
                            launcher.send(SIGKILL)
                            try await launcher.waitForExit()
                        }
                    }
                }
            }
            try await deployment.waitUntilGone()
        }
    }

    /// Starts a command that follows, runs a body once it has said something, and expects it to end with 1 and these last words.
    private static func follow(
        _ deployment: KilledDeployment,
        _ arguments: [String],
        until words: String,
        _ last: String,
        _ body: () async throws -> Void
    ) async throws {
        let (output, exit) = try await withProgram(
            Launcher.path,
            arguments,
            environment: deployment.environment
        ) { program in
            try await program.waitForOutput(words)
            try await body()
            try await program.waitForExit()
            return program.output
        }
        #expect(exit == .code(1) && output.hasSuffix(last), "\(arguments): \(output)")
    }

    @Test func `of several clients at the same instant one begins, and nothing else is changed meanwhile`() async throws
    {
        try await Self.run("several") { deployment, program in
            let answers = await withTaskGroup(of: String?.self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        let request = MigrationRequest(requestPlane: "http", confirm: true)
                        do {
                            try await deployment.client.migrate(request) { $0.step != .confirming }
                            return nil
                        } catch { return "\(error)" }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            let refusals = answers.compactMap { $0 }
            #expect(refusals.count == 5, "\(answers)")
            for refusal in refusals {
                let isKnown =
                    refusal.contains("another migration is about to begin") || refusal.contains("is under way (")
                #expect(isKnown, "\(refusal)")
            }
            #expect(try deployment.history.records.count == 1)

            for (command, name) in [
                (["restart", "worker"], "restart"), (["apply"], "apply"), (["apply", "--dry-run"], "apply"),
            ] {
                let (output, exit) = try await Launcher.run(command, environment: deployment.environment)
                #expect(exit == .code(1), "\(name): \(output)")
                #expect(output.contains("a migration is under way; ask again when it is done"), "\(name): \(output)")
            }
            program.send(SIGHUP)
            try await program.waitForOutput("SIGHUP: a migration is under way")

            let (output, exit) = try await deployment.command("migrate", "abort")
            #expect(exit == .code(0), "\(output)")
            try await eventually("it is taken back") { try await deployment.client.migration().step == .rolledBack }
            #expect(deployment.replicas == deployment.replicas(of: 1))
            let applied = try await deployment.command("apply")
            #expect(applied.exit == .code(0) && applied.output.contains("nothing to change"), "\(applied.output)")
            try await deployment.expectAnswer()
        }
    }

    @Test func `a migration is refused while processes are restarted`() async throws {
        try await Self.run("changing") { deployment, _ in
            let client = deployment.client
            var refusal: String?
            try await client.obey(.restart, ["worker", "frontend"]) { _ in
                guard refusal == nil else { return }
                // A dry run changes nothing.
                _ = try await client.outline(MigrationRequest(requestPlane: "http"))
                do {
                    try await client.migrate(MigrationRequest(requestPlane: "http")) { _ in false }
                    refusal = ""
                } catch { refusal = "\(error)" }
            }
            #expect(
                refusal?.contains("a restart or change is under way; ask again when it is done") == true,
                "\(refusal ?? "")"
            )
            #expect(try deployment.history.records.isEmpty)
            let (output, exit) = try await deployment.command("migrate", "--to", "http")
            #expect(exit == .code(0), "\(output)")
        }
    }

    @Test func `three in quick succession are each done, and the last one can be taken back`() async throws {
        try await Self.run("quick") { deployment, program in
            for (number, plane) in [(2, "http"), (3, "tcp"), (4, "http")] {
                let (output, exit) = try await deployment.command("migrate", "--to", plane)
                #expect(exit == .code(0), "\(output)")
                #expect(output.contains("generation \(number) (\(plane)) has all requests"), "\(output)")
                #expect(deployment.replicas == deployment.replicas(of: number - 1) + deployment.replicas(of: number))
                try await deployment.expectAnswer(plane)
            }
            #expect(program.output.contains("a further migration begins: generation 1 is not kept any longer"))
            let history = try deployment.history
            #expect(history.records.map(\.step) == [.done, .done, .warm] && history.current.number == 4)
            // What is kept is what there was before the last one, not before the first.
            let (output, exit) = try await deployment.command("rollback")
            #expect(exit == .code(0), "\(output)")
            #expect(deployment.replicas == deployment.replicas(of: 3))
            #expect(try deployment.history.records.map(\.step) == [.done, .done, .rolledBack])
            #expect(try await deployment.client.status().planes.request.rawValue == "tcp")
            try await deployment.expectAnswer("rolled back")
            let again = try await deployment.command("rollback")
            #expect(again.exit == .code(1) && again.output.contains("no migration is under way"), "\(again.output)")
        }
    }

    /// In which step a person takes it back.
    private static let places: [(step: MigrationStep, strategy: MigrationSettings.Strategy)] = [
        (.preparing, .blueGreen), (.starting, .blueGreen), (.verifying, .blueGreen), (.canary, .blueGreen),
        (.confirming, .blueGreen), (.shifting, .blueGreen), (.observing, .blueGreen), (.draining, .blueGreen),
        (.warm, .blueGreen), (.emptying, .recreate), (.starting, .recreate), (.canary, .recreate),
        (.starting, .rolling), (.shifting, .rolling),
    ]

    @Test func `taken back by hand at each step: the old generation serves, and nothing else runs`() async throws {
        try await Self.run("abort") { deployment, program in
            for (step, strategy) in Self.places {
                let place = "\(strategy.rawValue) \(step.rawValue)"
                let migration = try deployment.history.nextMigration
                var request = MigrationRequest(requestPlane: "http", strategy: strategy)
                request.observe = step == .observing ? 60 : 0
                request.confirm = step == .confirming
                // A long answer keeps the old generation busy.
                async let answer = HTTPRequests.post(
                    "\(deployment.url)/v1/chat/completions",
                    json: try Chat.body(
                        model: "echo",
                        prompt: String(repeating: "word ", count: 150),
                        tokens: 150,
                        stream: true
                    )
                )
                try await eventually("the long answer has begun") {
                    try await deployment.client.status().gateway?.inFlight == 1
                }
                try await deployment.migrating(request) { refusal in
                    try await deployment.waitForRecord(step, of: migration, unless: refusal)
                    _ = try await deployment.client.migration(.abort)
                    try await eventually("\(place) is taken back") {
                        try await deployment.client.migration().step.isEnd
                    }
                }
                let status = try await deployment.client.migration()
                #expect(status.step == .rolledBack && status.reason == "taken back by hand", "\(place): \(status)")
                #expect(deployment.replicas == deployment.replicas(of: 1), "\(place)")
                let history = try deployment.history
                #expect(history.current == .first && history.unfinished == nil, "\(place)")
                try await deployment.expectAnswer(place)
                let reply = try await answer
                #expect(
                    reply.status == 200 && reply.text.hasSuffix("data: [DONE]\n\n"),
                    "\(place): \(reply.text.suffix(200))"
                )
            }
            #expect(try await deployment.client.status().replicas.allSatisfy { $0.restarts == 0 })
            #expect(!program.output.contains("still running"), "\(program.output)")
        }
    }

    @Test func `commands that make no sense in a step say why`() async throws {
        try await Self.run("words") { deployment, _ in
            try await Self.begin(deployment, until: .confirming) { $0.confirm = true }
            func refusal(_ command: String) async throws -> String {
                let (output, exit) = try await deployment.command("migrate", command)
                #expect(exit == .code(1), "\(command): \(output)")
                return output
            }
            #expect(try await refusal("resume").contains("cannot be resumed in the step confirming: it is not paused"))
            #expect(try await deployment.command("migrate", "pause").exit == .code(0))
            #expect(try await refusal("pause").contains("it is paused already"))
            #expect(try await deployment.command("migrate", "promote").exit == .code(0))
            try await eventually("the old one is kept") { try await deployment.client.migration().step == .warm }
            #expect(try await deployment.command("migrate", "promote").exit == .code(0))
            try await eventually("it is done") { try await deployment.client.migration().step == .done }
            #expect(try await refusal("abort").contains("no migration is under way"))
            #expect(deployment.replicas == deployment.replicas(of: 2))
        }
    }
}
