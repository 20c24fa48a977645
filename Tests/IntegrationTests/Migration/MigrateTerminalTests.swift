import Foundation
import Supervisor
import TestSupport
import Testing

/// The live block of `migrate`, on a real terminal.
@Suite("Migrate on a terminal", .serialized, .timeLimit(.minutes(2)))
struct MigrateTerminalTests {
    private func migrate(
        _ deployment: ScriptedDeployment,
        _ options: [String] = [],
        columns: Int = 80,
        rows: Int = 40,
        environment: [String: String?] = [:],
        _ body: (TerminalProgram) async throws -> Void
    ) async throws -> (output: String, exit: ProgramExit) {
        var variables = deployment.environment.merging(environment) { $1 }
        variables["TERM"] = .some("xterm-256color")
        return try await TerminalProgram.run(
            [Launcher.path, "migrate", "--to", "nats"] + options,
            environment: variables,
            columns: columns,
            rows: rows,
            in: deployment.directory,
            body
        )
    }

    /// All steps, with waits between, so that each is drawn.
    private func go(_ deployment: ScriptedDeployment, _ terminal: TerminalProgram) async throws {
        let migrations = deployment.migrations
        try await terminal.program.waitForOutput("preparing")
        migrations.say(.starting) { ($0.elapsed, $0.stepElapsed) = (0.5, 0) }
        migrations.say(.canary) { ($0.elapsed, $0.stepElapsed, $0.to.ready) = (8, 0, 2) }
        migrations.say(.observing) {
            ($0.stage, $0.share, $0.elapsed, $0.stepElapsed) = (1, 50, 9, 1)
            ($0.from.requests, $0.to.requests, $0.to.firstToken) = (100, 100, 0.0412)
            ($0.next, $0.nextIn) = ("100 % of the requests", 9)
            $0.notes = [String(repeating: "a note that is long ", count: 8)]
        }
        try await terminal.program.waitForOutput("41.2 ms")
    }

    @Test(arguments: [(80, 40), (46, 40), (20, 40), (200, 60), (80, 12)])
    func `it is drawn in place, no wider than the terminal, and the cursor stays`(columns: Int, rows: Int) async throws
    {
        try await ScriptedDeployment.run { deployment in
            let (output, exit) = try await self.migrate(deployment, columns: columns, rows: rows) { terminal in
                try await terminal.program.waitForOutput("preparing")
                deployment.migrations.say(.canary) { $0.detail = String(repeating: "wide ", count: 60) }
                deployment.migrations.say(.observing) {
                    ($0.stage, $0.share, $0.elapsed) = (1, 50, 9)
                    $0.notes = [String(repeating: "a note that is long ", count: 8)]
                }
                deployment.migrations.say(.done) { ($0.elapsed, $0.share) = (12, 100) }
            }
            #expect(exit == .code(0))
            let screen = TerminalScreen(columns: columns, output: output)
            #expect(screen.troubles.isEmpty && screen.isCursorShown, "\(screen.troubles)\n\(output)")
            // One headline: the others were drawn over.
            let heads = ["chat: generation 1", "chat: migration 1"]
            #expect(screen.text.filter { line in heads.contains { line.hasPrefix($0) } }.count == 1, "\(screen.text)")
            #expect(screen.text.joined().contains("chat: migrated to generation 2 (nats)"), "\(screen.text)")
        }
    }

    @Test func `the end stays on the screen`() async throws {
        try await ScriptedDeployment.run { deployment in
            let (output, exit) = try await self.migrate(deployment) { terminal in
                try await self.go(deployment, terminal)
                deployment.migrations.say(.warm) {
                    ($0.stage, $0.share, $0.elapsed, $0.stepElapsed, $0.nextIn) = (nil, 100, 20, 0, nil)
                    $0.notes = []
                }
            }
            #expect(exit == .code(0))
            let screen = TerminalScreen(columns: 80, output: output)
            #expect(screen.troubles.isEmpty)
            #expect(
                Array(screen.text.prefix(16)) == [
                    "chat: generation 1 (tcp) to generation 2 (nats), blue-green, 20.0 s",
                    "",
                    "  \u{2713} preparing     0.50 s",
                    "  \u{2713} starting      7.50 s",
                    "  \u{2713} canary        0.00 s",
                    "  \u{2713} shifting      12.0 s",
                    "  \u{25B8} warm          0.00 s",
                    "  \u{00B7} retiring",
                    "",
                    "  \(String(repeating: "\u{2588}", count: 27))  100 % of the requests go to generation 2 (nats)",
                    "",
                    "  GEN  PLANE   READY  REQUESTS  ERRORS  FLIGHT    FIRST  BETWEEN",
                    "  1    tcp    2 of 2       100       0       0        -        -",
                    "  2    nats   2 of 2       100       0       0  41.2 ms        -",
                    "",
                    "  now: the old generation is kept running for an instant return",
                ],
                "\(screen.text.joined(separator: "\n"))"
            )
            #expect(screen.text[16] == "chat: generation 2 (nats) has all requests after 20.0 s")
        }
    }

    @Test func `Ctrl-C asks for the way back, and the cursor is there afterwards`() async throws {
        try await ScriptedDeployment.run { deployment in
            let (output, exit) = try await self.migrate(deployment, environment: ["NO_COLOR": nil]) { terminal in
                try await self.go(deployment, terminal)
                try terminal.press("\u{3}")
                try await terminal.program.waitForOutput("taking it back")
                try await eventually("asked for") { deployment.migrations.commands == [.abort] }
                try terminal.press("\u{3}")
            }
            #expect(exit == .code(1))
            let screen = TerminalScreen(columns: 80, output: output)
            #expect(screen.isCursorShown && screen.troubles.isEmpty, "\(screen.troubles)")
            #expect(output.contains("\u{1B}[32m\u{2713}\u{1B}[0m"), "colours")
            #expect(screen.text.joined(separator: " ").contains("the rollback goes on in the launcher"))
            #expect(screen.text.filter { $0.hasPrefix("chat: generation 1") }.count == 1, "\(screen.text)")
        }
    }

    @Test(arguments: [(["maybe", "y"], MigrationCommand.promote), (["n"], .abort)])
    func `a person is asked`(answers: [String], command: MigrationCommand) async throws {
        let question = "let clients reach generation 2 (nats)? [y/n] "
        try await ScriptedDeployment.run { deployment in
            let (output, exit) = try await self.migrate(deployment, ["--confirm"]) { terminal in
                try await terminal.program.waitForOutput("preparing")
                deployment.migrations.say(.confirming)
                for (index, answer) in answers.enumerated() {
                    try await eventually("asked") {
                        terminal.program.output.components(separatedBy: question).count == index + 2
                    }
                    // Does not disturb what is typed.
                    for _ in 0..<3 { deployment.migrations.say(.confirming) }
                    try terminal.press("\(answer)\n")
                }
                try await eventually("obeyed") { deployment.migrations.commands == [command] }
                deployment.migrations.say(command == .promote ? .done : .rolledBack) { $0.elapsed = 5 }
            }
            #expect(exit == .code(command == .promote ? 0 : 1))
            let screen = TerminalScreen(columns: 80, output: output)
            #expect(screen.isCursorShown && screen.troubles.isEmpty, "\(screen.troubles)")
            #expect(screen.text.filter { $0.hasPrefix("chat: migration 1") }.count == 1, "\(screen.text)")
            #expect(!screen.text.contains { $0.contains("[y/n]") }, "\(screen.text)")
        }
    }

    @Test func `what was typed before the question is no answer to it`() async throws {
        try await ScriptedDeployment.run { deployment in
            let (_, exit) = try await self.migrate(deployment, ["--confirm"]) { terminal in
                try await terminal.program.waitForOutput("preparing")
                try terminal.press("n\n")
                // The terminal shows what is typed.
                try await terminal.program.waitForOutput("n\r\n")
                deployment.migrations.say(.confirming)
                try await terminal.program.waitForOutput("[y/n] ")
                try terminal.press("y\n")
                try await eventually("obeyed") { !deployment.migrations.commands.isEmpty }
                deployment.migrations.say(.done)
            }
            #expect(exit == .code(0) && deployment.migrations.commands == [.promote])
        }
    }

    @Test func `a window that becomes narrower gets narrower lines`() async throws {
        try await ScriptedDeployment.run { deployment in
            let (output, _) = try await self.migrate(deployment, columns: 120) { terminal in
                try await self.go(deployment, terminal)
                try terminal.resize(columns: 40, rows: 40)
                try await eventually("narrow") {
                    deployment.migrations.say(.observing) { $0.detail = "again" }
                    return terminal.program.output.contains("GEN  ")
                }
                deployment.migrations.say(.done)
            }
            let frames = output.components(separatedBy: "\u{1B}[?25l")
            let last = frames.suffix(1).joined().components(separatedBy: "\u{1B}[?25h")[0]
            let narrow = TerminalScreen(columns: 40, output: "\u{1B}[?25l" + last.replacing(/\u{1B}\[\d+A/, with: ""))
            #expect(narrow.troubles.isEmpty && narrow.text.contains { $0.hasPrefix("  GEN  ") }, "\(last)")
        }
    }
}
