import Foundation
import Supervisor
import TestSupport
import Testing

/// `top` on a real terminal, whose keys a test presses and whose screen it reads.
@Suite("Top", .serialized, .timeLimit(.minutes(3)))
struct TopTests {
    private static let leave = "\u{1B}[0m\u{1B}[?25h\u{1B}[?1049l"

    /// What a terminal shows that was last drawn whole.
    private static func screen(_ output: String) -> [String] {
        let frames = output.components(separatedBy: "\u{1B}[H").dropFirst()
        let whole = frames.last { $0.contains("\u{1B}[J") } ?? ""
        let text = whole.components(separatedBy: "\u{1B}[J")[0].replacing("\u{1B}[K", with: "")
        // A terminal that makes a whole line end of each line feed has one more carriage return.
        return text.replacing("\r\r\n", with: "\r\n").replacing(/\u{1B}\[[0-9;]*m/, with: "").components(
            separatedBy: "\r\n"
        )
    }

    private static func see(
        _ terminal: TerminalProgram,
        _ what: String,
        _ isThere: ([String]) -> Bool
    ) async throws {
        do {
            try await eventually(within: .seconds(30), what) { isThere(self.screen(terminal.program.output)) }
        } catch {
            throw ConditionNotMet(
                what: "\(what):\n\(self.screen(terminal.program.output).joined(separator: "\n"))",
                limit: .seconds(30)
            )
        }
    }

    /// What `stty -g` said behind a word.
    private static func settings(_ word: String, _ output: String) -> Substring? {
        output.matches(of: /([a-z]+) ([0-9a-f]+(?::[0-9a-f]+){9,})/).first { $0.1 == word }?.2
    }

    /// Runs `top` from a shell that says how it ended and what became of the terminal.
    private static func top(
        _ arguments: String,
        _ environment: [String: String?],
        in folder: URL,
        columns: Int = 110,
        rows: Int = 30,
        _ body: (TerminalProgram) async throws -> Void
    ) async throws -> String {
        var variables = environment
        variables["TERM"] = .some("xterm-256color")
        variables["LC_ALL"] = .some("C.UTF-8")
        let script = "echo before $(stty -g); \"$0\" top \(arguments); echo code $?; echo after $(stty -g)"
        let (output, exit) = try await TerminalProgram.run(
            ["/bin/sh", "-c", script, Launcher.path],
            environment: variables,
            columns: columns,
            rows: rows,
            in: folder,
            body
        )
        #expect(exit == .code(0))
        // The terminal is as it was: the cursor, what was there before, and how keys are read.
        #expect(output.components(separatedBy: self.leave).count == 2, "\(output.suffix(300))")
        let (before, after) = (Self.settings("before", output), Self.settings("after", output))
        #expect(before != nil && before == after)
        return output
    }

    private static func pid(_ name: String, of deployment: LaunchedDeployment) async throws -> Int32? {
        let json = try await deployment.command("status", "--json").output
        let status = try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.utf8))
        #expect(status.replicas.allSatisfy { $0.cpuSeconds ?? 0 > 0 && $0.memoryBytes ?? 0 > 1 << 20 }, "\(json)")
        return status.replicas.first { $0.name == name }?.pid
    }

    @Test func `keys choose, ask, restart, and show logs; sizes change; the terminal comes back`() async throws {
        _ = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            let before = try await Self.pid("worker", of: deployment)
            let output = try await Self.top("--interval 0.2", deployment.environment, in: deployment.directory) {
                terminal in
                try await Self.see(terminal, "both processes, and requests") { lines in
                    lines[0].hasPrefix("embedded: ready, 2 of 2 ready") && lines.count == 30
                        && lines.contains { $0.hasPrefix("> frontend ready ") && $0.contains(" MiB") }
                        && lines.contains { $0.hasPrefix("  frontend requests ") }
                        && lines.contains { $0.contains("  ready in ") }
                }
                try terminal.press("j")
                try await Self.see(terminal, "the other one") { $0.contains { $0.hasPrefix("> worker ") } }
                try terminal.press("r")
                try await Self.see(terminal, "a question") { $0.last?.hasPrefix("restart worker?  y/n") ?? false }
                try terminal.press("n")
                try await Self.see(terminal, "no") { $0.last == "nothing was done" }
                #expect(try await Self.pid("worker", of: deployment) == before)
                try terminal.press("r")
                try await Self.see(terminal, "a question") { $0.last?.hasPrefix("restart worker?  y/n") ?? false }
                try terminal.press("y")
                try await Self.see(terminal, "it is done") { $0.last == "restart worker: done" }
                #expect(try await Self.pid("worker", of: deployment) != before)
                try terminal.press("s")
                try await Self.see(terminal, "a question") { $0.last?.hasPrefix("stop worker?  y/n") ?? false }
                try terminal.press("y")
                try await Self.see(terminal, "it is stopped") { lines in
                    lines.contains { $0.hasPrefix("> worker") && $0.contains(" stopped ") }
                        && lines[0].hasPrefix("embedded: degraded")
                }
                try terminal.press("s")
                try await Self.see(terminal, "a question") { $0.last?.hasPrefix("start worker?  y/n") ?? false }
                try terminal.press("y")
                try await Self.see(terminal, "it is back") { $0[0].hasPrefix("embedded: ready") }
                try terminal.press("l")
                try await Self.see(terminal, "its lines") { lines in
                    lines[1] == "last lines of worker" && lines.contains { $0.contains("system server listens") }
                }
                try terminal.resize(columns: 41, rows: 9)
                try await Self.see(terminal, "a small one") { lines in
                    lines.count == 9 && lines.allSatisfy { $0.count <= 40 }
                }
                try terminal.press("q?")
                try await Self.see(terminal, "help") { $0.contains { $0.hasPrefix("r         restart it") } }
                try terminal.press("\u{1B}")
                try await Self.see(terminal, "the table again") { $0.contains { $0.hasPrefix("> worker") } }
                try terminal.press("q")
            }
            #expect(output.contains("code 0"), "\(output.suffix(300))")
            // NO_COLOR is set.
            #expect(output.firstMatch(of: /\u{1B}\[[1-9][0-9]*m/) == nil)
        }
    }

    @Test func `a launcher that is killed is said, the next one is seen, and SIGTERM gives the terminal back`()
        async throws
    {
        try await withTemporaryDirectory { directory in
            let manifest = """
                name: watched
                processes:
                  frontend: {builtin: frontend, stop: {grace: 2s}}
                  worker: {builtin: worker, stop: {grace: 2s}}
                """
            let deployment = try KilledDeployment("watched", in: directory, manifest: manifest)
            var environment = deployment.environment
            environment["NO_COLOR"] = .some(nil)
            let colourful = environment
            var output = ""
            try await deployment.up { launcher in
                try await launcher.waitForOutput("ready in ")
                output = try await Self.top("watched -i 0.2", colourful, in: directory) { terminal in
                    try await Self.see(terminal, "it is there") { $0[0].hasPrefix("watched: ready, 2 of 2 ready") }
                    launcher.send(SIGKILL)
                    try await launcher.waitForExit()
                    try await Self.see(terminal, "it is gone") { lines in
                        lines[0] == "watched: its launcher does not answer"
                            && lines[1].hasPrefix("no launcher serves ")
                            && lines.contains { $0.hasPrefix("> frontend ") }
                    }
                    try await eventually("its processes are gone") { deployment.replicas.isEmpty }
                    try await deployment.up { next in
                        try await Self.see(terminal, "the next one is there") {
                            $0[0].hasPrefix("watched: ready, 2 of 2 ready") && $0[0].hasSuffix("pid \(next.pid)")
                        }
                        let shell = try #require(SystemProcesses.children(of: terminal.program.pid).first)
                        for pid in SystemProcesses.children(of: shell) { kill(pid, SIGTERM) }
                        try await terminal.program.waitForExit()
                    }
                }
            }
            #expect(output.contains("code 143"), "\(output.suffix(300))")
            #expect(output.contains("\u{1B}[31m"), "in colours")
        }
    }

    @Test func `Ctrl-Z gives the terminal to the shell, and keys are read again afterwards`() async throws {
        _ = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            var variables = deployment.environment
            variables["TERM"] = .some("xterm-256color")
            let script = "set -m; echo before $(stty -g); \"$0\" top; echo stopped $(stty -g); fg; echo code $?"
            let (output, exit) = try await TerminalProgram.run(
                ["/bin/bash", "-c", script, Launcher.path],
                environment: variables,
                columns: 100,
                rows: 24,
                in: deployment.directory
            ) { terminal in
                try await Self.see(terminal, "it is there") { $0.contains { $0.hasPrefix("> frontend ") } }
                try terminal.press("\u{1A}")
                try await terminal.program.waitForOutput("stopped ")
                try await eventually("it has the terminal again") {
                    terminal.program.output.components(separatedBy: "\u{1B}[?1049h").count > 2
                }
                try terminal.press("j")
                try await Self.see(terminal, "a key was read") { $0.contains { $0.hasPrefix("> worker ") } }
                try terminal.press("q")
            }
            #expect(exit == .code(0) && output.contains("code 0"), "\(output.suffix(300))")
            let (before, stopped) = (Self.settings("before", output), Self.settings("stopped", output))
            #expect(before != nil && before == stopped)
        }
    }

    @Test func `without a terminal it is printed once`() async throws {
        _ = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            for options in [["--once", "--interval", "0.2"], ["embedded", "-i", "0.2"]] {
                let (output, exit) = try await Launcher.run(["top"] + options, environment: deployment.environment)
                #expect(exit == .code(0))
                #expect(output.hasPrefix("embedded: ready, 2 of 2 ready"), "\(output)")
                #expect(output.contains("\n  frontend ready ") && output.contains("\n  worker   ready "), "\(output)")
                #expect(output.contains("  ready in ") && !output.contains("\u{1B}"), "\(output)")
            }
            let (output, exit) = try await deployment.command("top", "--interval", "0")
            #expect(exit == .code(1) && output.contains("--interval takes seconds from 0.1 to 3600"), "\(output)")
            let (unknown, code) = try await deployment.command("top", "embeded")
            #expect(code == .code(1) && unknown.contains("did you mean 'embedded'?"), "\(unknown)")
        }
    }
}
