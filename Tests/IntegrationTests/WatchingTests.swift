import Foundation
import Supervisor
import TestSupport
import Testing

/// A launcher in the background, and what is kept of what it said.
@Suite(.serialized) struct WatchingTests {
    @Test func `up --detach returns when the deployment serves, and events and logs tell what happened`() async throws {
        try await withTemporaryDirectory { directory in
            let environment: [String: String?] = [
                "XDG_STATE_HOME": directory.path(), "XDG_RUNTIME_DIR": directory.path(), "NO_COLOR": "1",
                "DYN_HTTP_PORT": "\(try freePort())",
            ]
            func run(_ arguments: String...) async throws -> (output: String, exit: ProgramExit) {
                try await Launcher.run(arguments, environment: environment)
            }
            let up = try await run("-d", "--set", "gateway=true")
            // Nothing that a test does may leave a launcher behind.
            let result: Result<Void, any Error>
            do {
                #expect(up.exit == .code(0) && up.output.contains("  curl -s http://127.0.0.1:"), "\(up.output)")
                #expect(try await run("status").output.contains("embedded: ready, 2 of 2 ready"))
                let again = try await run("up", "--detach")
                #expect(again.exit == .code(1) && again.output.contains("is already running"), "\(again.output)")

                #expect(try await run("signal", "KILL", "worker").exit == .code(0))
                try await eventually(within: .seconds(10), "it is said") {
                    try await run("events", "--process", "worker", "--level", "warning").output
                        .contains("  warning  worker: killed by SIGKILL; restart 1 of at most 5 in ")
                }
                let sent = try await run("events", "--level", "notice", "--grep", "SIGKILL sent to pid").output
                #expect(sent.hasSuffix(", by 'dynamo-launch signal'\n"), "\(sent)")
                try await eventually(within: .seconds(10), "it is back") {
                    try await run("events", "--lines", "1").output.hasSuffix("  ready again\n")
                }
                let lines = try await run(
                    "logs",
                    "--process",
                    "worker",
                    "--grep",
                    "system server LISTENS|(?i)SYSTEM SERVER"
                ).output
                #expect(
                    lines.split(separator: "\n").allSatisfy { $0.contains("system server listens") } && !lines.isEmpty
                )
                #expect(
                    try await run("logs", "--since", "2020-01-01T00:00:00Z").output.contains("system server listens")
                )
                #expect(try await run("logs", "--since", "0s").output == "")
                result = .success(())
            } catch {
                result = .failure(error)
            }
            let stopped = try await run("stop")
            try result.get()
            #expect(stopped.output == "embedded: stopped\n")
            // What was written is still shown.
            let kept = try await run("logs", "--process", "worker", "--grep", "(?i)system server")
            #expect(kept.exit == .code(0), "\(kept.output)")
            #expect(kept.output.hasPrefix("embedded does not run; from its log files under \(directory.path())"))
            #expect(kept.output.contains("\nworker | ") && kept.output.contains("server listens"), "\(kept.output)")
            let unknown = try await run("logs", "embedded", "--process", "wroker")
            #expect(unknown.exit == .code(1) && unknown.output.contains("did you mean 'worker'?"), "\(unknown.output)")
            let status = try await run("status", "embedded")
            #expect(status.exit == .code(1) && status.output.contains("'dynamo-launch events embedded' says how"))
            let following = try await run("logs", "--follow")
            #expect(following.exit == .code(1) && following.output.contains("there is nothing to follow"))
            // They stay, and the next start adds to them.
            let (_, exit) = try await withProgram(Launcher.path, ["up"], environment: environment) { program in
                try await program.waitForOutput("ready in")
                program.send(SIGTERM)
                try await program.waitForExit()
            }
            #expect(exit == .code(0))
            let json = try await run("events", "embedded", "--json", "--grep", "^ready").output
            let events = try json.split(separator: "\n").map {
                try JSONDecoder().decode(LaunchEvent.self, from: Data($0.utf8))
            }
            #expect(events.map { $0.message.prefix(8) } == ["ready in", "ready ag", "ready in"], "\(json)")
        }
    }

    @Test func `status without a name has a line for each of several deployments`() async throws {
        _ = try await Launcher.up { first in
            try await first.waitUntilReady()
            let environment = first.environment.filter { $0.key.hasPrefix("XDG_") }
            let prepare = { (directory: URL) in
                try "name: other\nprocesses:\n  frontend: {builtin: frontend}\n  worker: {builtin: worker}\n".write(
                    to: directory.appending(path: "dynamo-launch.yaml"),
                    atomically: true,
                    encoding: .utf8
                )
            }
            _ = try await Launcher.up(environment: environment, prepare: prepare) { second in
                try await second.waitUntilReady()
                let (output, exit) = try await first.command("status")
                #expect(exit == .code(0), "\(output)")
                let lines = output.split(separator: "\n")
                #expect(lines.first?.hasPrefix("DEPLOYMENT  STATE  READY  REQUEST PLANE  UPTIME") == true, "\(output)")
                #expect(lines.contains { $0.hasPrefix("embedded    ready  2/2    tcp") }, "\(output)")
                #expect(lines.contains { $0.hasPrefix("other       ready  2/2") }, "\(output)")
                let json = try await first.command("status", "--json").output
                let all = try JSONDecoder().decode([DeploymentStatus].self, from: Data(json.utf8))
                #expect(all.map(\.deployment) == ["embedded", "other"])
                second.program.send(SIGSTOP)
                let (stopped, failed) = try await first.command("status")
                second.program.send(SIGCONT)
                #expect(failed == .code(1) && stopped.contains("other       no answer  -"), "\(stopped)")
                #expect(stopped.contains("(pid \(second.program.pid)) is suspended"), "\(stopped)")
            }
        }
    }

    @Test func `one in the background that is stopped before it serves was not started`() async throws {
        try await withTemporaryDirectory { directory in
            let environment: [String: String?] = [
                "XDG_STATE_HOME": directory.path(), "XDG_RUNTIME_DIR": directory.path(), "NO_COLOR": "1",
                "DYN_HTTP_PORT": "\(try freePort())",
            ]
            let waiting = "processes.worker={command: [/bin/sleep, '600'], role: worker}"
            async let up = Launcher.run(["up", "-d", "--set", waiting], environment: environment)
            try await eventually(within: .seconds(60), "it can be stopped") {
                try await Launcher.run(["stop", "embedded"], environment: environment).exit == .code(0)
            }
            let (output, exit) = try await up
            #expect(exit == .code(1), "\(output)")
            #expect(output.contains("error: the launcher was stopped before the deployment served; "), "\(output)")
        }
    }

    @Test func `one in the background whose work is done at once has been started, and quotes its last run only`()
        async throws
    {
        try await withTemporaryDirectory { directory in
            let environment: [String: String?] = [
                "XDG_STATE_HOME": directory.path(), "XDG_RUNTIME_DIR": directory.path(), "NO_COLOR": "1",
            ]
            let manifest = directory.appending(path: "jobs.yaml")
            let command = "if [ -e done ]; then echo second; else touch done; echo first; exit 1; fi"
            try """
            name: jobs
            processes:
              job: {role: infrastructure, command: [/bin/sh, -c, "\(command)"], workingDirectory: \(directory.path()), restart: {initialDelay: 50ms}}
            """.write(to: manifest, atomically: true, encoding: .utf8)
            let (output, exit) = try await Launcher.run(["up", "-d", manifest.path()], environment: environment)
            #expect(exit == .code(0), "\(output)")
            try await eventually(within: .seconds(10), "it has ended") {
                try await Launcher.run(["status", "jobs"], environment: environment).exit == .code(1)
            }
            let again = try await Launcher.run(["up", manifest.path()], environment: environment)
            #expect(again.exit == .code(0) && again.output.contains("job:   > second\n"), "\(again.output)")
            try FileManager.default.removeItem(at: directory.appending(path: "done"))
            let twice = try await Launcher.run(["up", manifest.path()], environment: environment).output
            let quoted = twice.split(separator: "\n").filter { $0.contains("job:   > ") }
            #expect(quoted.map { $0.suffix(8) } == ["> first", "> second"].map { ":   \($0)".suffix(8) }, "\(twice)")
        }
    }

    @Test func `a launcher that cannot start in the background says why, and its code is passed on`() async throws {
        try await withTemporaryDirectory { directory in
            let environment: [String: String?] = [
                "XDG_STATE_HOME": directory.path(), "XDG_RUNTIME_DIR": directory.path(), "NO_COLOR": "1",
                "DYN_HTTP_PORT": "\(try freePort())",
            ]
            let nothing = try await Launcher.run(["events"], environment: environment)
            #expect(nothing.exit == .code(1) && nothing.output.contains("error: nothing was started here"))
            let failing = "processes.worker={command: [/bin/sh, -c, 'exit 3'], role: worker, restart: never}"
            let up = try await Launcher.run(["up", "-d", "--set", failing], environment: environment)
            #expect(up.exit == .code(1), "\(up.output)")
            #expect(up.output.contains("error: worker: exit code 3; log: "), "\(up.output)")
            let kept = try await Launcher.run(["events", "--level", "error"], environment: environment).output
            #expect(kept.contains("  error    failed: worker: exit code 3; log: "), "\(kept)")
            let wrong = try await Launcher.run(["up", "--ready-fd", "77"], environment: environment)
            #expect(wrong.output == "error: --ready-fd 77 is not open for writing; nothing was started\n")
        }
    }
}
