import Foundation
import Supervisor
import TestSupport
import Testing

/// Deployments whose launcher is killed, and that go on (`survive: true`) or end with it.
@Suite(.serialized) struct SurvivalTests {
    /// A frontend, a worker, and a process that counts in its log, with the beginning of a line always written before its end.
    static func manifest(survive: Bool = true, worker: String = "{builtin: worker}", more: String = "") -> String {
        """
        name: lasting
        survive: \(survive)
        processes:
          frontend: {builtin: frontend}
          worker: \(worker)
          counter:
            role: infrastructure
            command: [/bin/sh, -c, "i=0; while :; do i=$$((i+1)); printf 'count '; echo $$i; sleep 0.005; done"]
        \(more)
        """
    }

    static func pids(_ deployment: KilledDeployment) async throws -> [String: Int32] {
        let status = try await deployment.client.status()
        return Dictionary(
            uniqueKeysWithValues: status.replicas.compactMap { replica in replica.pid.map { (replica.name, $0) } }
        )
    }

    /// The leaders of the deployment's processes: the name of the replica and the pid.
    private static func all(_ deployment: KilledDeployment) -> [(name: String, pid: Int32)] {
        SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(deployment.directory.path())").compactMap { pid in
            guard let environment = try? Data(contentsOf: URL(filePath: "/proc/\(pid)/environ")) else { return nil }
            // A shell's children have the same environment.
            guard getsid(pid) == pid else { return nil }
            let prefix = "DYNAMO_LAUNCH_REPLICA=lasting/"
            let variable = environment.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.first {
                $0.hasPrefix(prefix)
            }
            return variable.map { (String($0.dropFirst(prefix.count)), pid) }
        }
    }

    static func copies(_ deployment: KilledDeployment) -> [String] { self.all(deployment).map(\.name) }

    static func leaders(_ deployment: KilledDeployment) -> [String: Int32] {
        Dictionary(self.all(deployment).map { ($0.name, $0.pid) }) { first, _ in first }
    }

    private static func serves(_ deployment: KilledDeployment) async throws {
        let answer = try await HTTPRequests.post(
            "\(deployment.url)/v1/chat/completions",
            json: try Chat.body(model: "echo")
        )
        #expect(answer.status == 200, "\(answer.text)")
    }

    /// The counter's log has every number once, in order.
    static func expectEveryCount(_ deployment: KilledDeployment, _ comment: String = "") throws {
        let folder = "\(deployment.state)/logs"
        let text = try String(contentsOfFile: "\(folder)/counter.log", encoding: .utf8)
        var last = 0
        for line in text.split(separator: "\n") {
            guard let number = Int(line.dropFirst(34).dropFirst("count ".count)) else {
                // The process may have been ended in the middle of one.
                #expect(line.dropFirst(34) == "count ", "\(comment) \(line)")
                continue
            }
            // A process that was started anew begins anew.
            #expect(number == last + 1 || number == 1, "\(comment) \(last) is followed by \(number)")
            last = number
        }
        #expect(last > 0)
    }

    static func withDeployment(
        survive: Bool = true,
        more: String = "",
        _ body: (KilledDeployment) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment(
                "lasting",
                in: directory,
                manifest: Self.manifest(survive: survive, more: more)
            )
            do { try await body(deployment) } catch {
                _ = try? await Launcher.run(["stop", "lasting"], environment: deployment.environment)
                throw error
            }
            _ = try await Launcher.run(["stop", "lasting"], environment: deployment.environment)
            try await eventually(within: .seconds(15), "nothing of the deployment is left") {
                SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(directory.path())").isEmpty
            }
        }
    }

    @Test func `processes go on without their launcher, and the next one adopts them`() async throws {
        try await Self.withDeployment { deployment in
            var before: [String: Int32] = [:]
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                before = try await Self.pids(deployment)
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            #expect(Self.copies(deployment).sorted() == ["counter", "frontend", "worker"])
            let (said, exit) = try await Launcher.run(["status", "lasting"], environment: deployment.environment)
            #expect(exit == .code(1))
            #expect(said.contains("the launcher of lasting is gone"), "\(said)")
            #expect(said.contains("its 3 processes go on") && said.contains("dynamo-launch stop lasting"), "\(said)")
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                #expect(try await Self.pids(deployment) == before)
                let worker = try #require(before["worker"])
                #expect(program.output.contains("worker: adopted, pid \(worker), running since 2"), "\(program.output)")
                try await Self.serves(deployment)
                // Its end is told to the new launcher, with the true reason.
                kill(worker, SIGKILL)
                try await program.waitForOutput("worker: killed by SIGKILL")
                try await eventually("another one serves") {
                    let status = try await deployment.client.status()
                    return status.state == .ready
                        && status.replicas.contains { $0.name == "worker" && $0.pid != worker && $0.restarts == 1 }
                }
                program.send(SIGTERM)
                try await program.waitForExit()
            }
            try Self.expectEveryCount(deployment)
        }
    }

    @Test func `stop ends what goes on without a launcher`() async throws {
        try await Self.withDeployment { deployment in
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            let (said, exit) = try await Launcher.run(["stop"], environment: deployment.environment)
            #expect(exit == .code(0) && said.contains("lasting: stopped"), "\(said)")
            let events = try await Launcher.run(
                ["events", "lasting", "--lines", "2"],
                environment: deployment.environment
            )
            .output
            #expect(events.contains("info     stopping what goes on without a launcher, by 'dynamo-launch stop'\n"))
            #expect(events.contains("info     stopped; its launcher had ended at 20"), "\(events)")
            #expect(Self.copies(deployment).isEmpty)
        }
    }

    @Test func `what the manifest says otherwise by then is changed one by one, and what ended meanwhile is an end`()
        async throws
    {
        let more = """
              gone: {role: infrastructure, command: [sleep, "1001"]}
              short:
                role: infrastructure
                command: [sleep, "1002"]
                restart: {policy: on-failure, initialDelay: 100ms}
            """
        try await Self.withDeployment(more: more) { deployment in
            var before: [String: Int32] = [:]
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                before = try await Self.pids(deployment)
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            let short = try #require(before["short"])
            kill(short, SIGINT)
            try Self.manifest(
                worker: "{builtin: worker, env: {EXTRA: \"1\"}}",
                more: more.split(separator: "\n").dropFirst().joined(separator: "\n")
            )
            .write(to: deployment.manifest, atomically: true, encoding: .utf8)
            try await deployment.up { program in
                try await program.waitForOutput("short: killed by SIGINT")
                try await eventually(within: .seconds(30), "all is as the manifest says") {
                    let now = try await Self.pids(deployment)
                    let status = try await deployment.client.status()
                    return status.state == .ready && now["gone"] == nil && now["worker"] != before["worker"]
                        && now["short"] != short && !status.replicas.contains { $0.name == "gone" }
                }
                let now = try await Self.pids(deployment)
                // The frontend waited for the process that is gone, so it is another one too.
                #expect(now["counter"] == before["counter"])
                try await Self.serves(deployment)
                #expect(Self.copies(deployment).sorted() == ["counter", "frontend", "short", "worker"])
            }
        }
    }

    @Test func `what a person had stopped stays so under the next launcher, which can start it`() async throws {
        try await Self.withDeployment { deployment in
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                let (said, exit) = try await deployment.command("stop", "--process", "counter")
                #expect(exit == .code(0), "\(said)")
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                #expect(Self.copies(deployment).sorted() == ["frontend", "worker"])
                #expect(try await deployment.client.status().state == .degraded)
                let (said, exit) = try await deployment.command("start", "counter")
                #expect(exit == .code(0), "\(said)")
                try await eventually("all of it serves") { try await deployment.client.status().state == .ready }
                #expect(Self.copies(deployment).sorted() == ["counter", "frontend", "worker"])
                program.send(SIGTERM)
                try await program.waitForExit()
            }
        }
    }

    @Test
    func `a manifest that cannot be run takes nothing away, and one without 'survive' is adopted for the last time`()
        async throws
    {
        try await Self.withDeployment { deployment in
            var before: [String: Int32] = [:]
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                before = try await Self.pids(deployment)
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            let (said, exit) = try await Launcher.run(
                ["up", "--http"] + deployment.arguments,
                environment: deployment.environment
            )
            #expect(exit == .code(1))
            #expect(said.contains("planes cannot be changed") && said.contains("nothing was started"), "\(said)")
            try Self.manifest(survive: false).write(to: deployment.manifest, atomically: true, encoding: .utf8)
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                #expect(try await Self.pids(deployment) == before)
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            try await eventually(within: .seconds(15), "nothing is left") { Self.copies(deployment).isEmpty }
        }
    }

    @Test func `another program takes over from the launcher in place`() async throws {
        try await Self.withDeployment { deployment in
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                let before = try await Self.pids(deployment)
                let bad = try await Launcher.run(
                    ["upgrade", "lasting", "--binary", "/bin/false"],
                    environment: deployment.environment
                )
                #expect(
                    bad.exit == .code(1) && bad.output.contains("cannot take over")
                        && bad.output.contains("nothing was changed"),
                    "\(bad.output)"
                )
                try Self.manifest(more: "  bad: {builtin: nope}").write(
                    to: deployment.manifest,
                    atomically: true,
                    encoding: .utf8
                )
                let faulty = try await Launcher.run(["upgrade"], environment: deployment.environment)
                #expect(
                    faulty.exit == .code(1) && faulty.output.contains("'builtin' cannot be 'nope'")
                        && faulty.output.contains("nothing was changed"),
                    "the next program could not start with it: \(faulty.output)"
                )
                try (Self.manifest() + "\nnamespace: another\n").write(
                    to: deployment.manifest,
                    atomically: true,
                    encoding: .utf8
                )
                let moved = try await Launcher.run(["upgrade"], environment: deployment.environment)
                #expect(
                    moved.exit == .code(1) && moved.output.contains("namespace cannot be changed")
                        && moved.output.contains("nothing was changed"),
                    "the next program could not adopt anything with it: \(moved.output)"
                )
                try Self.manifest().write(to: deployment.manifest, atomically: true, encoding: .utf8)
                let (said, exit) = try await Launcher.run(
                    ["upgrade"],
                    environment: deployment.environment,
                    within: .seconds(60)
                )
                #expect(exit == .code(0), "\(said)")
                #expect(said.contains("launcher pid \(program.pid)"), "\(said)")
                #expect(try await Self.pids(deployment) == before)
                try await Self.serves(deployment)
                #expect(program.output.contains("counter: adopted, pid"))
                program.send(SIGTERM)
                try await program.waitForExit()
            }
            try Self.expectEveryCount(deployment)
        }
    }

    @Test func `without 'survive' there is no upgrade`() async throws {
        try await Self.withDeployment(survive: false) { deployment in
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                let (said, exit) = try await Launcher.run(["upgrade"], environment: deployment.environment)
                #expect(exit == .code(1) && said.contains("survive: true"), "\(said)")
                try await Self.serves(deployment)
            }
        }
    }
}
