import Foundation
import Glibc
import Rollout
import Supervisor
import TestSupport
import Testing

/// What other launchers and operators are known to have got wrong, where no other suite of this project has it.
@Suite("Failures of others", .serialized, .timeLimit(.minutes(4)))
struct RivalFailureTests {
    private static let pair = """
        processes:
          frontend: {builtin: frontend, stop: {grace: 5s}}
          worker: {builtin: worker, stop: {grace: 5s}, args: [--engine, echo, --model-name, "{{model}}"]
        """

    private static func manifest(_ name: String, _ more: String = "", worker: String = "") -> String {
        let more = more.split(separator: "\n").map { "\n  \($0)" }.joined()
        return "name: \(name)\nmodel: echo\n\(self.pair)\(worker)}\(more)\n"
    }

    private static func run(
        _ name: String,
        _ manifest: String,
        _ body: (KilledDeployment, RunningProgram) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment(name, in: directory, manifest: manifest)
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                try await body(deployment, program)
                program.send(SIGTERM)
                try await program.waitForExit()
            }
            try await deployment.waitUntilGone()
        }
    }

    private static func pids(_ deployment: KilledDeployment) async throws -> [String: Int32] {
        let replicas = try await deployment.client.status().replicas
        return Dictionary(uniqueKeysWithValues: replicas.map { ($0.name, $0.pid ?? 0) })
    }

    private static func replica(_ name: String, of deployment: KilledDeployment) async throws -> ReplicaStatus {
        try #require(try await deployment.client.status().replicas.first { $0.name == name })
    }

    private static func lines(of file: String) -> [Substring] {
        ((try? String(contentsOfFile: file, encoding: .utf8)) ?? "").split(separator: "\n")
    }

    // MARK: Restarts

    @Test func `a probe that fails obeys the restart policy: never, and on failure`() async throws {
        func process(_ name: String, _ policy: String) -> String {
            """
            \(name):
              role: infrastructure
              command: [/bin/sleep, 1000]
              probes: {health: {exec: [/usr/bin/test, "!", -e, sick]}}
              timing: {steadyInterval: 100ms, failureThreshold: 2}
              restart: {policy: \(policy), initialDelay: 50ms, maxRestarts: none}
            """
        }
        let manifest = Self.manifest("probed", process("kept", "never") + "\n" + process("renewed", "on-failure"))
        try await Self.run("probed", manifest) { deployment, _ in
            let before = try await Self.pids(deployment)
            let sick = deployment.directory.appending(path: "sick")
            try Data().write(to: sick)
            try await eventually("one is renewed, the other one is left alone") {
                let (kept, renewed) = (
                    try await Self.replica("kept", of: deployment), try await Self.replica("renewed", of: deployment)
                )
                return kept.state == .unready && kept.restarts == 0 && kept.pid == before["kept"]
                    && renewed.restarts > 0 && renewed.pid != before["renewed"]
            }
            try FileManager.default.removeItem(at: sick)
            try await eventually("both are well") { try await deployment.client.status().state == .ready }
            let after = try await Self.pids(deployment)
            #expect(after["kept"] == before["kept"] && after["worker"] == before["worker"])
        }
    }

    @Test func `a restart of one that waits for a dependency starts one copy`() async throws {
        let more = """
            gate:
              role: infrastructure
              command: [/bin/sleep, 1000]
              probes: {health: {exec: [/usr/bin/test, -e, open]}}
              timing: {startupInterval: 50ms}
            late:
              role: infrastructure
              command: [/bin/sh, -c, "echo $$$$ >> starts; exec sleep 1001"]
              dependsOn: {gate: health}
            """
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment(
                "waits",
                in: directory,
                manifest: "name: waits\nprocesses:" + more.split(separator: "\n").map { "\n  \($0)" }.joined() + "\n"
            )
            try await deployment.up { program in
                try await program.waitForOutput("gate: started")
                #expect(try await Self.replica("late", of: deployment).state == .waiting)
                let client = deployment.client
                let answers = try await withThrowingTaskGroup(of: String.self) { group in
                    for _ in 0..<4 {
                        group.addTask {
                            do {
                                var last: RolloutProgress?
                                try await client.obey(.restart, ["late"]) { last = $0 }
                                return last?.phase.rawValue ?? "nothing"
                            } catch { return "\(error)" }
                        }
                    }
                    try await eventually("one of them is under way") {
                        try await Self.replica("late", of: deployment).state == .waiting
                    }
                    try Data().write(to: directory.appending(path: "open"))
                    return try await group.reduce(into: [String]()) { $0.append($1) }
                }
                #expect(answers.allSatisfy { $0 == "done" || $0.contains("under way") }, "\(answers)")
                #expect(answers.contains("done"), "\(answers)")
                try await eventually("it runs") { try await Self.replica("late", of: deployment).state == .ready }
                let pid = try #require(try await Self.replica("late", of: deployment).pid)
                try await eventually("the last one is the one that is known, and whoever was started before has ended")
                {
                    let starts = Self.lines(of: directory.appending(path: "starts").path()).compactMap { Int32($0) }
                    return starts.last == pid && starts.dropLast().allSatisfy { !SystemProcesses.isRunning($0) }
                }
                #expect(deployment.replicas == ["waits/gate", "waits/late"])
            }
            try await deployment.waitUntilGone()
        }
    }

    // MARK: Changes

    @Test func `a manifest that says the same in other words touches nothing, and nothing is told of a change`()
        async throws
    {
        try await Self.run("same", Self.manifest("same")) { deployment, program in
            let before = try await deployment.client.status()
            let events = Self.lines(of: "\(deployment.state)/events.jsonl")
            let output = program.output
            try deployment.write(
                """
                # The same, otherwise written.
                processes:
                  worker:
                    args: ["--engine", 'echo', --model-name, "{{model}}"]
                    stop: {grace: 5000ms}
                    builtin: worker
                  frontend:
                    stop:
                      grace: 5s
                    builtin: frontend
                model: echo
                name: same

                """
            )
            for _ in 0..<3 {
                let (words, exit) = try await deployment.command("apply")
                #expect(exit == .code(0) && words == "nothing to change: 2 processes run as they should\n", "\(words)")
            }
            let after = try await deployment.client.status()
            #expect(after.replicas.map(\.pid) == before.replicas.map(\.pid))
            #expect(after.replicas.map(\.restarts) == [0, 0] && after.generation == before.generation)
            #expect(Self.lines(of: "\(deployment.state)/events.jsonl") == events)
            #expect(program.output == output)
        }
    }

    @Test func `a changed socket is opened, the one before is closed, and nobody else is touched`() async throws {
        let ports = [try freePort(), try freePort()]
        func manifest(_ port: Int) -> String {
            let server = """
                import socket; s = socket.socket(fileno=3)
                while True: c = s.accept()[0]; c.sendall(b'here'); c.close()
                """
            let code = server.split(separator: "\n").joined(separator: "\\n")
            return Self.manifest(
                "socket",
                """
                web:
                  role: infrastructure
                  command: [python3, -c, "\(code)"]
                  ports: {web: \(port)}
                  listen: [web]
                """
            )
        }
        func answers(_ port: Int) async -> Bool {
            guard let socket = try? ClientSocket(port: port) else { return false }
            return await socket.receive(within: .seconds(5)).text == "here"
        }
        try await Self.run("socket", manifest(ports[0])) { deployment, _ in
            try await eventually("it answers") { await answers(ports[0]) }
            for (old, new) in [(ports[0], ports[1]), (ports[1], ports[0])] {
                let before = try await Self.pids(deployment)
                try deployment.write(manifest(new))
                let (output, exit) = try await deployment.command("apply")
                #expect(exit == .code(0) && output.hasPrefix("change  web: "), "\(output)")
                try await eventually("it answers at the new port") { await answers(new) }
                #expect(!SystemProcesses.isListening(port: old))
                let after = try await Self.pids(deployment)
                #expect(after["web"] != before["web"])
                #expect(after["worker"] == before["worker"] && after["frontend"] == before["frontend"])
            }
            try await deployment.expectAnswer()
        }
    }

    @Test func `three manifests in quick succession: one after another or refused, and the last one is what runs`()
        async throws
    {
        func manifest(_ colour: String) -> String {
            Self.manifest("quick", worker: ", replicas: 2, env: {COLOUR: \(colour)}")
        }
        try await Self.run("quick", manifest("none")) { deployment, _ in
            let answers = try await withThrowingTaskGroup(of: (String, ProgramExit).self) { group in
                for colour in ["red", "green", "blue"] {
                    try deployment.write(manifest(colour))
                    group.addTask { try await deployment.command("apply") }
                    // The first one has read its manifest, and is under way or done.
                    try await eventually("it has begun") {
                        try await deployment.client.status().replicas.contains { $0.restarts > 0 }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for (output, exit) in answers {
                #expect(exit == .code(0) || output.contains("another restart or change is under way"), "\(output)")
            }
            #expect(answers.contains { $0.1 == .code(0) })
            let (output, exit) = try await deployment.command("apply")
            #expect(exit == .code(0), "\(output)")
            #expect(deployment.replicas == ["quick/frontend", "quick/worker-0", "quick/worker-1"])
            let pids = try await Self.pids(deployment)
            for name in ["worker-0", "worker-1"] {
                #expect(SystemProcesses.environment(of: pids[name] ?? 0)["COLOUR"] == "blue", "\(name)")
            }
            try await deployment.expectAnswer()
        }
    }

    @Test func `with its state deleted a deployment goes on, restarts and migrates`() async throws {
        let manifest = Self.manifest("state") + "migration: {steps: [100], observe: 0s, rollbackWindow: 0s}\n"
        try await Self.run("state", manifest) { deployment, program in
            let (first, exit) = try await deployment.command("migrate", "--to", "http")
            #expect(exit == .code(0), "\(first)")
            for name in ["migrations.journal", "events.jsonl", "logs", "g2"] {
                try? FileManager.default.removeItem(atPath: "\(deployment.state)/\(name)")
            }
            let (restarted, code) = try await deployment.command("restart", "worker")
            #expect(code == .code(0), "\(restarted)")
            try await deployment.expectAnswer("after the restart")
            let log = "\(deployment.state)/g2/logs/worker.log"
            try await eventually("its log is there again") { !Self.lines(of: log).isEmpty }
            #expect(!Self.lines(of: "\(deployment.state)/events.jsonl").isEmpty)
            let (second, end) = try await deployment.command("migrate", "--to", "tcp")
            #expect(end == .code(0), "\(second)")
            try await deployment.expectAnswer("after the migration")
            #expect(deployment.replicas == deployment.replicas(of: 3))
            #expect(try deployment.history.records.map(\.step) == [.done, .done])
            #expect(program.output.components(separatedBy: "it was made anew, with its whole history").count == 2)
            let (logs, _) = try await deployment.command("logs", "--process", "worker")
            #expect(!logs.isEmpty)
            #expect(!program.output.contains("error:"), "\(program.output)")
        }
    }

    // MARK: The end

    @Test func `who holds the end up is named while it is waited for, with the time that is left`() async throws {
        let more = """
            stubborn:
              role: infrastructure
              command: [/bin/sh, -c, "trap '' TERM; while :; do sleep 1; done"]
              stop: {grace: 8s}
            """
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment("held", in: directory, manifest: Self.manifest("held", more))
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                let pid = try await Self.replica("stubborn", of: deployment).pid ?? 0
                async let stopped = deployment.command("stop", "held")
                try await program.waitForOutput("stubborn: pid \(pid) has not ended ")
                let status = try await deployment.client.status()
                let words = status.replicas.first { $0.name == "stubborn" }?.waitingFor ?? ""
                #expect(words.wholeMatch(of: /its end: SIGTERM \d s ago, SIGKILL in \d s/) != nil, "\(words)")
                let (output, exit) = try await stopped
                #expect(exit == .code(0))
                #expect(
                    output.firstMatch(
                        of: /waiting for stubborn \(pid \d+\): its end: SIGTERM \d s ago, SIGKILL in \d s\n/
                    )
                        != nil,
                    "\(output)"
                )
                try await program.waitForExit()
                let line = program.output.split(separator: "\n").first { $0.contains("has not ended") } ?? ""
                #expect(line.firstMatch(of: /after SIGTERM; it is killed in \d\.\d+ s/) != nil, "\(line)")
            }
            try await deployment.waitUntilGone()
        }
    }

    // MARK: Migrations

    @Test func `a new generation that breaks while a person is waited for is taken back`() async throws {
        let manifest = Self.manifest("asked", worker: ", restart: never")
        try await Self.run("asked", manifest) { deployment, _ in
            try await deployment.client.migrate(MigrationRequest(requestPlane: "http", confirm: true)) {
                $0.step != .confirming && !$0.step.isEnd
            }
            #expect(try await deployment.client.migration().step == .confirming)
            let new = SystemProcesses.withEnvironment(containing: "DYNAMO_LAUNCH_REPLICA=asked@2/worker")
            #expect(new.count == 1)
            for pid in new { kill(pid, SIGKILL) }
            try await eventually("it is taken back, though nobody has said a word") {
                try await deployment.client.migration().step == .rolledBack
            }
            let reason = try await deployment.client.migration().reason ?? ""
            #expect(reason.contains("worker") && reason.contains("SIGKILL"), "\(reason)")
            #expect(deployment.replicas == deployment.replicas(of: 1))
            try await deployment.expectAnswer()
        }
    }
}
