import Foundation
import Supervisor
import TestSupport
import Testing

/// The worst days of a deployment: processes that die, resist, flood or leave children behind, and a launcher that is killed.
@Suite(.serialized) struct KillTests {
    /// Starts the embedded pair, and beside it the processes that are given as YAML.
    private static func run<Value: Sendable>(
        with extra: String = "",
        _ body: (LaunchedDeployment) async throws -> Value
    ) async throws -> (value: Value, exit: ProgramExit) {
        try await withTemporaryDirectory { directory in
            try await Launcher.up([try self.manifest(in: directory, extra: extra)], body)
        }
    }

    private static func manifest(in directory: URL, extra: String) throws -> String {
        let file = directory.appending(path: "dynamo-launch.yaml")
        let processes = extra.split(separator: "\n").map { "\n  \($0)" }.joined()
        let text = """
            name: kill
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker, restart: {initialDelay: 200ms}}\(processes)
            """
        try text.write(to: file, atomically: true, encoding: .utf8)
        return file.path()
    }

    private static func status(_ deployment: LaunchedDeployment) async throws -> DeploymentStatus {
        let (output, exit) = try await deployment.command("status", "kill", "--json")
        guard exit == .code(0) else { throw OutputMissing(text: "status", ended: true, output: output) }
        return try JSONDecoder().decode(DeploymentStatus.self, from: Data(output.utf8))
    }

    private static func replica(_ name: String, of deployment: LaunchedDeployment) async throws -> ReplicaStatus {
        try #require(try await self.status(deployment).replicas.first { $0.name == name })
    }

    @Test func `a killed worker is restarted, and the frontend is not touched`() async throws {
        let (_, exit) = try await Self.run { deployment in
            try await deployment.waitUntilReady()
            let frontend = try #require(try await Self.replica("frontend", of: deployment).pid)
            let worker = try #require(try await Self.replica("worker", of: deployment).pid)
            kill(worker, SIGKILL)
            try await eventually("the worker is ready again") {
                let now = try await Self.replica("worker", of: deployment)
                return now.state == .ready && now.restarts == 1 && now.pid != worker
            }
            #expect(try await Self.replica("frontend", of: deployment).pid == frontend)
            #expect(try await Self.replica("worker", of: deployment).lastExit?.contains("SIGKILL") == true)
            try await eventually("the deployment serves again") {
                try await Self.status(deployment).state == .ready
            }
            let answer = try await HTTPRequests.post(
                "\(deployment.url)/v1/chat/completions",
                json: try Chat.body(model: "echo")
            )
            #expect(answer.status == 200, "\(answer.text)")
        }
        #expect(exit == .code(0))
    }

    /// A process that does not end when it is told to.
    private static let stubborn = """
        stubborn:
          role: infrastructure
          command: [/bin/sh, -c, "trap '' TERM; while :; do sleep 1; done"]
          stop: {grace: 1s}
        """

    @Test func `a process that ignores SIGTERM is killed after its grace, and named`() async throws {
        let (output, exit) = try await Self.run(with: Self.stubborn) { deployment in
            try await deployment.waitUntilReady()
            deployment.program.send(SIGTERM)
            try await deployment.program.waitForExit(within: .seconds(15))
            return deployment.program.output
        }
        #expect(exit == .code(0))
        #expect(output.contains("stubborn"), "\(output)")
    }

    @Test func `stop says who had to be killed`() async throws {
        _ = try await Self.run(with: Self.stubborn) { deployment in
            try await deployment.waitUntilReady()
            let (output, exit) = try await deployment.command("stop")
            #expect(exit == .code(0))
            #expect(output.contains("warning: stubborn did not end within 1 s of SIGTERM; killing it\n"), "\(output)")
        }
    }

    @Test func `a second interrupt ends everything at once`() async throws {
        let extra = """
            stubborn:
              role: infrastructure
              command: [/bin/sh, -c, "trap '' TERM; while :; do sleep 1; done"]
              stop: {grace: 10m}
            """
        _ = try await Self.run(with: extra) { deployment in
            try await deployment.waitUntilReady()
            deployment.program.send(SIGINT)
            try await deployment.program.waitForOutput("stopping")
            // Signals that come together count as one, so a person's second one is a moment later.
            try await eventually("it ends, long before the grace") {
                deployment.program.send(SIGINT)
                return !deployment.program.isRunning
            }
        }
    }

    @Test func `grandchildren in sessions of their own do not outlive their process`() async throws {
        let extra = """
            nest:
              role: infrastructure
              command: [/bin/sh, -c, "setsid sleep 1001 & setsid sh -c 'setsid sleep 1002 & wait' & wait"]
              restart: {initialDelay: 100ms}
            """
        _ = try await Self.run(with: extra) { deployment in
            func sleepers() -> Int {
                deployment.processes.filter { SystemProcesses.command(of: $0).hasPrefix("sleep 100") }.count
            }
            try await deployment.waitUntilReady()
            try await eventually("the grandchildren run") { sleepers() == 2 }
            let nest = try #require(try await Self.replica("nest", of: deployment).pid)
            kill(nest, SIGKILL)
            try await eventually("it runs again") {
                let now = try await Self.replica("nest", of: deployment)
                return now.restarts == 1 && now.state == .ready
            }
            try await eventually("the grandchildren of the first one are gone") { sleepers() == 2 }
            // The folder's users are counted when `up` has ended: none may be left.
        }
    }

    @Test func `a process that floods its log starves nobody, and its files stay bounded`() async throws {
        let extra = """
            flood:
              role: infrastructure
              command: ["yes", "a line that is written as fast as the machine can, over and over again"]
            """
        _ = try await Self.run(with: extra) { deployment in
            try await deployment.waitUntilReady()
            let logs = deployment.directory.appending(path: "dynamo-launch/kill/logs")
            // A file may be put away between the folder's listing and the question for its size.
            func bytes() throws -> Int {
                try FileManager.default.contentsOfDirectory(at: logs, includingPropertiesForKeys: [.fileSizeKey])
                    .filter { $0.lastPathComponent.hasPrefix("flood") }
                    .reduce(0) { $0 + ((try? $1.resourceValues(forKeys: [.fileSizeKey]).fileSize) ?? 0) }
            }
            try await eventually("much has been written") { try bytes() > 20 << 20 }
            for _ in 0..<10 {
                let answer = try await HTTPRequests.post(
                    "\(deployment.url)/v1/chat/completions",
                    json: try Chat.body(model: "echo"),
                    limit: 10
                )
                #expect(answer.status == 200)
            }
            #expect(try await Self.status(deployment).state == .ready)
            #expect(try bytes() < 100 << 20)
        }
    }

    @Test func `a process that exits at once is given up, by name`() async throws {
        let extra = """
            broken:
              role: infrastructure
              command: [/bin/sh, -c, "echo no such device >&2; exit 3"]
              restart: {initialDelay: 50ms, maxRestarts: 2}
            """
        let (output, exit) = try await Self.run(with: extra) { deployment in
            try await deployment.program.waitForExit()
            return deployment.program.output
        }
        #expect(exit == .code(1))
        let last = output.split(separator: "\n").last ?? ""
        #expect(last.contains("broken"), "\(output)")
        #expect(last.contains("code 3"), "\(output)")
        #expect(last.contains("broken.log"), "\(output)")
        #expect(output.contains("no such device"))
    }

    @Test func `a taken port is an error that names its holder`() async throws {
        let port = try freePort()
        let holder =
            "import socket,time\ns=socket.create_server(('127.0.0.1',\(port)))\nprint('held',flush=True)\ntime.sleep(600)"
        _ = try await withProgram("/usr/bin/env", ["python3", "-c", holder]) { program in
            try await program.waitForOutput("held")
            let (output, exit) = try await Launcher.up([], environment: ["DYN_HTTP_PORT": "\(port)"]) { deployment in
                try await deployment.program.waitForExit()
                return deployment.program.output
            }
            #expect(exit == .code(1))
            #expect(output.contains("\(port)"), "\(output)")
            #expect(output.contains("pid \(program.pid)"), "\(output)")
            #expect(output.contains("python3"), "\(output)")
        }
    }

    @Test func `a full disk for logs is said, and the deployment goes on serving`() async throws {
        try await withTemporaryDirectory { directory in
            let extra = """
                talker:
                  role: infrastructure
                  command: [/bin/sh, -c, "while :; do echo 0123456789012345678901234567890123456789; done"]
                """
            let manifest = try Self.manifest(in: directory, extra: extra)
            let port = try freePort()
            let state = directory.appending(path: "state")
            try FileManager.default.createDirectory(at: state, withIntermediateDirectories: true)
            let script = "mount -t tmpfs -o size=512k tmpfs \"$XDG_STATE_HOME\" && exec \"$0\" up \"$1\""
            let (_, exit) = try await withProgram(
                "/usr/bin/env",
                ["unshare", "-rm", "/bin/sh", "-c", script, Launcher.path, manifest],
                environment: [
                    "XDG_STATE_HOME": state.path(), "XDG_RUNTIME_DIR": directory.path(), "DYN_HTTP_PORT": "\(port)",
                    "NO_COLOR": "1",
                ]
            ) { program in
                try await program.waitForOutput("ready in ")
                try await program.waitForOutput("No space left on device")
                let answer = try await HTTPRequests.post(
                    "http://127.0.0.1:\(port)/v1/chat/completions",
                    json: try Chat.body(model: "echo")
                )
                #expect(answer.status == 200, "\(answer.text)")
                program.send(SIGTERM)
                try await program.waitForExit()
            }
            #expect(exit == .code(0))
        }
    }

    /// When the launcher is killed.
    enum Phase: String, Sendable, CaseIterable {
        case starting, ready, backingOff, stopping
    }

    @Test(arguments: Phase.allCases)
    func `a killed launcher leaves nothing behind`(_ phase: Phase) async throws {
        let extra = """
            nest:
              role: infrastructure
              command: [/bin/sh, -c, "trap '' TERM; setsid sleep 1001 & while :; do sleep 1; done"]
              stop: {grace: 1m}
            broken:
              role: infrastructure
              command: [/bin/sh, -c, "\(phase == .backingOff ? "exit 1" : "exec sleep 1003")"]
              restart: {initialDelay: 30s}
            """
        // `Launcher.up` fails when anything of the deployment is left some seconds after its launcher has ended.
        let (_, exit) = try await Self.run(with: extra) { deployment in
            switch phase {
            case .starting:
                try await deployment.program.waitForOutput("started")
            case .ready:
                try await deployment.waitUntilReady()
            case .backingOff:
                try await deployment.program.waitForOutput("broken: exit")
            case .stopping:
                try await deployment.waitUntilReady()
                deployment.program.send(SIGTERM)
                try await deployment.program.waitForOutput("stopping")
            }
            deployment.program.send(SIGKILL)
            try await deployment.program.waitForExit()
        }
        #expect(exit == .signal(SIGKILL))
    }

    @Test func `events and the next launcher say that a launcher was killed`() async throws {
        _ = try await Self.run { deployment in
            try await deployment.waitUntilReady()
            deployment.program.send(SIGKILL)
            try await deployment.program.waitForExit()
            let pid = deployment.program.pid
            let events = try await deployment.command("events").output
            #expect(
                events.hasSuffix("kill: its launcher (pid \(pid)) is gone: it was killed, or crashed\n"),
                "\(events)"
            )
            let status = try await deployment.command("status", "kill").output
            #expect(
                status.hasPrefix(
                    "error: no deployment 'kill' runs; its launcher (pid \(pid)) was killed, or crashed: "
                ),
                "\(status)"
            )
            let manifest = try Self.manifest(in: deployment.directory, extra: "")
            let (output, _) = try await withProgram(
                Launcher.path,
                ["up", manifest],
                environment: deployment.environment
            ) {
                next in
                try await next.waitForOutput("ready in ")
                next.send(SIGTERM)
                try await next.waitForExit()
                return next.output
            }
            let words =
                "the launcher before this one (pid \(pid)) was killed, or crashed: what it had started ended with it"
            #expect(output.contains(words), "\(output)")
            let after = try await deployment.command("events").output
            #expect(after.contains(words) && !after.contains("is gone"), "\(after)")
        }
    }
}
