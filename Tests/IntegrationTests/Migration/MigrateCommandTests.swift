import Deployment
import Foundation
import Glibc
import Supervisor
import TestSupport
import Testing

/// `migrate` and `rollback` against a control socket whose migrations the test plays.
@Suite("The migrate command", .serialized, .timeLimit(.minutes(2)))
struct MigrateCommandTests {
    @Test func `it is followed line by line until the new generation has everything`() async throws {
        try await ScriptedDeployment.run { deployment in
            let migrations = deployment.migrations
            let (output, exit) = try await deployment.follow(["migrate", "--to", "nats"]) { program in
                try await program.waitForOutput("preparing")
                migrations.say(.starting) { ($0.elapsed, $0.detail) = (0.5, "2 processes start, 1 s") }
                // Figures that count are no change.
                for count in 2...5 { migrations.say(.starting) { $0.detail = "2 processes start, \(count) s" } }
                migrations.say(.shifting) { ($0.stage, $0.share, $0.elapsed, $0.to.ready) = (1, 5, 8, 2) }
                migrations.say(.warm) {
                    ($0.stage, $0.share, $0.elapsed, $0.nextIn, $0.next) = (nil, 100, 20, 60, "generation 1 is stopped")
                }
            }
            #expect(exit == .code(0), "\(output)")
            let lines = output.split(separator: "\n").map(String.init)
            #expect(
                Array(lines.prefix(7)) == [
                    "chat: migration 1, generation 1 (tcp) to generation 2 (nats), blue-green",
                    "      0.00 s  preparing: manifest, release, GPUs, ports and servers are looked at",
                    "      0.50 s  starting: 2 processes start, 1 s",
                    "      8.00 s  shifting 1 of 2: requests move to the new generation",
                    "      8.00 s  generation 2 (nats): 2 of 2 ready",
                    "      8.00 s  5 % of the requests go to generation 2 (nats)",
                    "      20.0 s  warm: the old generation is kept running for an instant return",
                ],
                "\(output)"
            )
            #expect(output.contains("chat: generation 2 (nats) has all requests after 20.0 s\n"))
            #expect(output.contains("(60.0 s); return to it with: dynamo-launch rollback\n"), "\(output)")
            #expect(
                output.contains(
                    "to make it permanent, change /etc/chat.yaml: planes.request: nats, and start it without --"
                )
            )
            #expect(migrations.requests == [MigrationRequest(requestPlane: "nats")])
        }
    }

    @Test func `every option reaches the launcher`() async throws {
        try await ScriptedDeployment.run { deployment in
            let file = deployment.directory.appending(path: "new.yaml")
            try Data().write(to: file)
            let (output, exit) = try await deployment.command(
                "migrate",
                "--to",
                "http",
                "--to-manifest",
                "\(deployment.directory.path())/x/../new.yaml",
                "--set",
                "a=1",
                "--set",
                "b=2",
                "--strategy",
                "rolling",
                "--steps",
                "10, 50,100",
                "--observe",
                "1.5",
                "--rollback-window",
                "0",
                "--confirm",
                "--dry-run",
                "--deployment",
                "chat"
            )
            // The folder x is not there.
            #expect(exit == .code(1) && output.contains("there is no such file"), "\(output)")
            let (text, code) = try await deployment.command(
                "migrate",
                "--to",
                "http",
                "--to-manifest",
                file.path(),
                "--set",
                "a=1",
                "--set",
                "b=2",
                "--strategy",
                "rolling",
                "--steps",
                "10, 50,100",
                "--observe",
                "1.5s",
                "--rollback-window",
                "0",
                "--confirm",
                "--dry-run",
                "--deployment",
                "chat"
            )
            #expect(code == .code(0))
            #expect(
                text == """
                    generation 1 (tcp) to generation 2 (nats), rolling; nothing is done now
                    steps:
                      1. start 2 processes
                      2. give them 5 % of the requests
                    needs, beside what runs:
                      - nats-server
                    requests wait: never
                    note: the model is loaded twice

                    """
            )
            #expect(
                deployment.migrations.requests == [
                    MigrationRequest(
                        requestPlane: "http",
                        manifest: file.path(),
                        set: ["a=1", "b=2"],
                        strategy: .rolling,
                        steps: [10, 50, 100],
                        observe: 1.5,
                        rollbackWindow: 0,
                        confirm: true
                    )
                ]
            )
        }
    }

    @Test func `a migration that is taken back ends with 1 and says why last`() async throws {
        try await ScriptedDeployment.run { deployment in
            for (step, end) in [
                (MigrationStep.rolledBack, "generation 1 (tcp) serves as before"),
                (.failed, "neither generation could be kept, and the deployment ends"),
            ] {
                let (output, exit) = try await deployment.follow(["migrate", "--to", "nats"]) { program in
                    try await program.waitForOutput("preparing")
                    deployment.migrations.say(.rollingBack) { $0.reason = "canary: no \u{1B}[31manswer" }
                    deployment.migrations.say(step)
                }
                #expect(exit == .code(1))
                let last = "error: deployment chat: not migrated: canary: no  [31manswer; \(end)\n"
                #expect(output.hasSuffix(last), "\(output)")
            }
        }
    }

    @Test func `Ctrl-C takes it back and goes on showing it, and a second one leaves`() async throws {
        try await ScriptedDeployment.run { deployment in
            let migrations = deployment.migrations
            let (output, exit) = try await deployment.follow(["migrate", "--to", "nats"]) { program in
                try await program.waitForOutput("preparing")
                migrations.say(.starting)
                try await program.waitForOutput("starting")
                program.send(SIGINT)
                try await program.waitForOutput("taking it back, as asked for")
                try await eventually("asked for") { migrations.commands == [.abort] }
                migrations.say(.rollingBack) { $0.reason = "aborted" }
                migrations.say(.rolledBack)
            }
            #expect(exit == .code(1))
            #expect(output.hasSuffix("not migrated: aborted; generation 1 (tcp) serves as before\n"), "\(output)")

            let left = try await deployment.follow(["migrate", "--to", "nats"]) { program in
                try await program.waitForOutput("preparing")
                program.send(SIGINT)
                try await program.waitForOutput("taking it back")
                program.send(SIGINT)
            }
            #expect(left.exit == .code(1))
            #expect(
                left.output.hasSuffix(
                    "the rollback goes on in the launcher; look with: dynamo-launch migrate status --follow\n"
                ),
                "\(left.output)"
            )
            #expect(migrations.commands == [.abort, .abort])
        }
    }

    @Test func `what cannot be aborted any more is said`() async throws {
        try await ScriptedDeployment.run { deployment in
            let (output, exit) = try await deployment.follow(["migrate", "--to", "nats"]) { program in
                try await program.waitForOutput("preparing")
                deployment.migrations.refuse(MigrationRefusal(cause: .conflict, description: "it is too late"))
                program.send(SIGTERM)
                try await program.waitForOutput("it is not taken back: it is too late")
                deployment.migrations.say(.done) { $0.elapsed = 3 }
            }
            #expect(exit == .code(0) && output.contains("chat: migrated to generation 2 (nats) in 3.00 s"), "\(output)")
        }
    }

    @Test func `nobody can be asked: how to go on is said once`() async throws {
        try await ScriptedDeployment.run { deployment in
            let (output, exit) = try await deployment.follow(["migrate", "--to", "nats", "--confirm"]) { program in
                try await program.waitForOutput("preparing")
                for _ in 0..<3 { deployment.migrations.say(.confirming) }
                try await program.waitForOutput("go on with: dynamo-launch migrate promote")
                let promoted = try await deployment.command("migrate", "promote", "--json")
                #expect(promoted.exit == .code(0) && promoted.output.contains("\"step\":\"confirming\""))
                deployment.migrations.say(.done)
            }
            #expect(exit == .code(0))
            #expect(output.components(separatedBy: "waits for a person").count == 2, "\(output)")
            #expect(deployment.migrations.commands == [.promote])
        }
    }

    @Test func `a launcher that ends in the middle is said, with what comes next`() async throws {
        for (step, words) in [
            (MigrationStep.canary, "starts generation 1 (tcp): the migration counts as taken back"),
            (.draining, "starts generation 2 (nats): the migration counts as done"),
        ] {
            try await ScriptedDeployment.run { deployment in
                let (output, exit) = try await deployment.follow(["migrate", "--to", "nats"]) { program in
                    try await program.waitForOutput("preparing")
                    deployment.migrations.say(step)
                    try await program.waitForOutput(step.rawValue)
                    deployment.supervisor.requestStop(now: true)
                }
                #expect(exit == .code(1))
                #expect(
                    output.hasSuffix(
                        "error: deployment chat: its launcher ended in mid-migration (\(step.rawValue)); "
                            + "the next 'dynamo-launch up' \(words)\n"
                    ),
                    "\(output)"
                )
            }
        }
    }

    @Test func `a deployment that is stopped in the middle is said, with what comes next`() async throws {
        for (step, generation) in [(MigrationStep.rolledBack, "generation 1 (tcp)"), (.done, "generation 2 (nats)")] {
            try await ScriptedDeployment.run { deployment in
                for command in [["migrate", "--to", "nats"], ["migrate", "status", "--follow"], ["rollback"]] {
                    deployment.migrations.say(.draining)
                    let (output, exit) = try await deployment.follow(command) { program in
                        try await program.waitForOutput("migration 1")
                        deployment.migrations.say(step) {
                            ($0.isStopped, $0.reason) = (true, "the deployment was stopped")
                        }
                    }
                    #expect(exit == .code(1), "\(command)")
                    let words = "the next start is with \(generation)\n"
                    #expect(output.contains("ended: the deployment is being stopped; \(words)"), "\(output)")
                    #expect(
                        output.hasSuffix(
                            "error: deployment chat: the deployment was stopped in mid-migration; "
                                + "the next 'dynamo-launch up' starts \(generation)\n"
                        ),
                        "\(output)"
                    )
                    #expect(!output.contains("serves"), "\(output)")
                }
            }
        }
    }

    @Test func `JSON is one status a line`() async throws {
        try await ScriptedDeployment.run { deployment in
            let (output, exit) = try await deployment.follow(["migrate", "--set", "a=b", "--json"]) { program in
                try await program.waitForOutput("preparing")
                deployment.migrations.say(.canary)
                deployment.migrations.say(.done)
            }
            #expect(exit == .code(0))
            let statuses = try output.split(separator: "\n").map {
                try JSONDecoder().decode(MigrationStatus.self, from: Data($0.utf8))
            }
            #expect(statuses.map(\.step) == [.preparing, .canary, .done])
        }
    }

    @Test func `begun without following, looked at, and returned from`() async throws {
        try await ScriptedDeployment.run { deployment in
            let none = try await deployment.command("migrate", "status")
            #expect(none.exit == .code(1) && none.output.contains("there has been no migration"), "\(none.output)")
            let begun = try await deployment.command("migrate", "--to", "nats", "--detach")
            #expect(begun.exit == .code(0))
            #expect(begun.output.contains("chat: migration 1 has begun: generation 1 (tcp) to generation 2 (nats)"))
            deployment.migrations.say(.observing) { ($0.stage, $0.share, $0.isPaused) = (1, 5, true) }
            let status = try await deployment.command("migrate", "status")
            #expect(status.exit == .code(0) && status.output.contains("observing 1 of 2"), "\(status.output)")
            #expect(status.output.contains("paused: nothing further is begun until: dynamo-launch migrate resume"))
            let pause = try await deployment.command("migrate", "pause", "--deployment", "chat")
            #expect(pause.output.contains("look with: dynamo-launch migrate status --follow --deployment chat"))
            let history = try await deployment.command("migrate", "history")
            #expect(history.output.contains("1   2026-01-02T03:04:05Z  2026-01-02T03:05:05Z  1 (tcp)"), "\(history)")
            #expect(history.output.contains("rolled-back  canary failed\n"))

            let left = try await deployment.follow(["rollback"]) { program in
                try await program.waitForOutput("observing")
                program.send(SIGINT)
            }
            #expect(left.exit == .code(1) && left.output.contains("goes on in the launcher; look with"), "\(left)")
            let (output, exit) = try await deployment.follow(["rollback"]) { program in
                try await program.waitForOutput("observing")
                deployment.migrations.say(.rolledBack) { $0.reason = "asked for" }
            }
            #expect(exit == .code(0) && output.hasSuffix("chat: generation 1 (tcp) serves as before\n"), "\(output)")
            #expect(deployment.migrations.commands == [.pause, .rollback, .rollback])
            let follow = try await deployment.command("migrate", "status", "--follow")
            #expect(follow.exit == .code(1) && follow.output.hasSuffix("generation 1 (tcp) serves as before\n"))
        }
    }

    @Test(arguments: [
        (["--to", "nat"], "--to can be 'tcp', 'http' or 'nats', not 'nat'; did you mean 'nats'?"),
        ([], "nothing is to be changed: give --to, --to-manifest or --set"),
        (["nats"], "migrate has no subcommand 'nats'; did you mean '--to nats'?"),
        (["pasue"], "migrate has no subcommand 'pasue'; did you mean 'pause'?"),
        (["--to", "tcp", "--strategy", "bluegreen"], "did you mean 'blue-green'?"),
        (["--to", "tcp", "--steps", "5,x"], "--steps takes percentages such as 5,25,100, not '5,x'"),
        (["--to", "tcp", "--steps", "5,50"], "the last one is 100, not 5,50"),
        (["--to", "tcp", "--observe", "nan"], "--observe takes seconds"),
        (
            ["--to", "tcp", "--rollback-window", "-5"],
            "--rollback-window takes seconds, such as 10 or 10s (also 2m, 1h), not '-5'"
        ),
        (["--stps", "5"], "Unknown option '--stps'"),
        (["--set", "x"], "--set takes KEY=VALUE"),
        (["--to", "tcp", "--dry-run", "--detach"], "give one of them"),
    ])
    func `a bad value is refused with what is meant`(arguments: [String], words: String) async throws {
        let (output, exit) = try await Launcher.run(["migrate"] + arguments)
        #expect(exit == .code(1) && output.contains(words), "\(output)")
    }

    @Test func `refusals are said as the launcher says them`() async throws {
        try await ScriptedDeployment.run { deployment in
            deployment.migrations.refuse(MigrationRefusal(cause: .badManifest, description: "m.yaml:1:1: no"))
            for arguments in [["migrate", "--to", "nats"], ["migrate", "--to", "nats", "--detach"], ["rollback"]] {
                let (output, exit) = try await Launcher.run(arguments, environment: deployment.environment)
                #expect(exit == .code(1) && output == "error: deployment chat: m.yaml:1:1: no\n", "\(output)")
            }
        }
        try await ScriptedDeployment.run(canMigrate: false) { deployment in
            let (output, exit) = try await deployment.command("migrate", "--to", "nats")
            #expect(exit == .code(1) && output.contains("this deployment cannot migrate"), "\(output)")
        }
    }
}
