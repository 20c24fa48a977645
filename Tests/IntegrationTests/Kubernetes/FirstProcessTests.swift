import Foundation
import TestSupport
import Testing

/// The launcher as process 1 of a PID namespace, as a user that has no name.
@Suite(.serialized) struct FirstProcessTests {
    /// A launcher in a PID namespace of its own.
    struct Pod: Sendable {
        let program: RunningProgram
        /// The number of its process 1 on this machine.
        let first: Int32
        let url: String
        let health: String
        let directory: URL

        /// Runs a command in the namespace; it comes in from outside, as with `kubectl exec`.
        func enter(_ command: String) async throws -> String {
            let arguments = ["-t", "\(self.first)", "-p", "-m", "--", "sh", "-c", command]
            let (output, exit) = try await withProgram("/usr/bin/nsenter", arguments) { program in
                try await program.waitForExit(within: .seconds(20))
                return program.output
            }
            #expect(exit == .code(0), "\(output)")
            return output
        }

        /// What process 1 has below it, zombies too, as `STATE COMMAND`.
        var children: [String] {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
            return names.compactMap { Int32($0) }.compactMap { pid in
                guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
                    let start = stat.firstIndex(of: "("), let end = stat.lastIndex(of: ")")
                else { return nil }
                let fields = stat[stat.index(after: end)...].split(separator: " ")
                guard fields.count > 1, Int32(fields[1]) == self.first else { return nil }
                return "\(fields[0]) \(stat[stat.index(after: start)..<end])"
            }
        }
    }

    private static let user = 54_321

    /// Starts `up` as process 1, and stops it afterwards if it has not ended.
    private static func run(
        _ processes: String,
        more: String = "",
        _ body: (Pod) async throws -> Void
    ) async throws -> ProgramExit {
        try await withTemporaryDirectory { directory in
            let port = try freePort()
            let health = try freePort()
            let text = """
                name: first
                model: echo
                http: {host: 127.0.0.1, port: \(port)}
                \(more)
                processes:
                  frontend: {builtin: frontend}
                  worker: {builtin: worker, args: [--engine, echo, --model-name, "{{model}}"]}
                  \(processes)
                """
            let manifest = directory.appending(path: "first.yaml")
            try text.write(to: manifest, atomically: true, encoding: .utf8)
            for name in ["state", "runtime"] {
                let folder = directory.appending(path: name)
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
                chmod(folder.path(), 0o1777)
            }
            chmod(directory.path(), 0o755)
            let arguments = [
                "--pid", "--fork", "--kill-child", "--mount-proc", "--", "setpriv", "--reuid=\(Self.user)",
                "--regid=\(Self.user)", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs",
                "env",
                "-i", "PATH=/usr/bin:/bin", "XDG_STATE_HOME=\(directory.path())/state",
                "XDG_RUNTIME_DIR=\(directory.path())/runtime", Launcher.path, "up", manifest.path(), "--health",
                "127.0.0.1:\(health)",
            ]
            let (_, exit) = try await withProgram("/usr/bin/unshare", arguments) { program in
                let children = SystemProcesses.children(of: program.pid)
                let first = try await eventuallyValue("process 1") {
                    children.first ?? SystemProcesses.children(of: program.pid).first
                }
                let pod = Pod(
                    program: program,
                    first: first,
                    url: "http://127.0.0.1:\(port)",
                    health: "http://127.0.0.1:\(health)",
                    directory: directory
                )
                do { try await body(pod) } catch {
                    throw DeploymentFailure(error: error, output: String(program.output.suffix(8000)))
                }
                kill(first, SIGTERM)
                try await program.waitForExit(within: .seconds(20))
            }
            return exit
        }
    }

    /// A value that is there sooner or later.
    private static func eventuallyValue<Value: Sendable>(
        _ what: String,
        _ value: @Sendable () -> Value?
    ) async throws -> Value {
        try await eventually(within: .seconds(10), "\(what)") { value() != nil }
        return try #require(value())
    }

    @Test func `orphans are reaped wherever they come from, and SIGTERM ends all with 0`() async throws {
        let orphans = """
            orphans:
                role: infrastructure
                command: [sh, -c, "while :; do (sh -c 'sleep 0.2 & sleep 0.1' &); sleep 0.2; done"]
            """
        let exit = try await Self.run(orphans) { pod in
            try await pod.program.waitForOutput("ready in ", within: .seconds(60))
            #expect(try await HTTPRequests.get("\(pod.health)/ready").status == 200)
            let answer = try await HTTPRequests.post(
                "\(pod.url)/v1/chat/completions",
                json: try Chat.body(model: "echo")
            )
            #expect(answer.status == 200)
            #expect(SystemProcesses.command(of: pod.first) == "dynamo-init")
            // Two generations below a process from outside, whose parents end: only process 1 is left to take them.
            let numbers = try await pod.enter(
                "for i in 1 2 3; do (sh -c 'sleep 1 & sleep 0.1' &); done; sleep 0.3; pgrep -c -x sleep"
            )
            #expect(Int(numbers.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0 >= 3, "\(numbers)")
            #expect(pod.children.count >= 4, "\(pod.children)")
            try await eventually(within: .seconds(10), "nothing but the launcher is below process 1: \(pod.children)") {
                pod.children.count == 1 && !pod.children[0].hasPrefix("Z")
            }
            // One of the process above, which goes on, may be there for a moment.
            try await eventually(within: .seconds(10), "no zombie stays") {
                try await pod.enter("ps -eo stat,args | grep -c '^Z' || true").contains(/^0\s*$/)
            }
        }
        #expect(exit == .code(0))
    }

    @Test func `readiness follows what the deployment does, with and without a gateway`() async throws {
        for gateway in ["true", "false"] {
            let exit = try await Self.run(
                "slow: {role: infrastructure, command: [sh, -c, \"while :; do sleep 0.1; done\"], probes: {live: {exec: [test, -e, \"${XDG_STATE_HOME}/go\"]}}, timing: {startupInterval: 100ms, steadyInterval: 100ms, failureThreshold: 1}, restart: {initialDelay: 60s}}",
                more: "gateway: \(gateway)"
            ) { pod in
                try await eventually("it is not ready") {
                    let answer = try? await HTTPRequests.get("\(pod.health)/ready")
                    return answer?.status == 503 && answer?.text.contains("slow is starting, waits for live") == true
                }
                #expect(try await HTTPRequests.get("\(pod.health)/live").status == 200)
                let go = pod.directory.appending(path: "state/go")
                try Data().write(to: go)
                try await eventually(within: .seconds(30), "it is ready") {
                    try await HTTPRequests.get("\(pod.health)/ready").status == 200
                }
                #expect(
                    try await HTTPRequests.get("\(pod.health)/metrics").text.contains("dynamo_launch_deployment_ready")
                )
                // Its only replica fails, and is not started again for a minute.
                try FileManager.default.removeItem(at: go)
                try await eventually(within: .seconds(20), "it is not ready any more") {
                    let answer = try await HTTPRequests.get("\(pod.health)/ready")
                    return answer.status == 503 && answer.text.contains("\"reason\":\"slow is ")
                }
                #expect(try await HTTPRequests.get("\(pod.health)/live").status == 200)
            }
            #expect(exit == .code(0))
        }
    }

    @Test func `while it stops it is not ready`() async throws {
        let stubborn = """
            stubborn:
                role: infrastructure
                command: [sh, -c, "trap '' TERM; while :; do sleep 0.1; done"]
                stop: {grace: 2s}
            """
        let exit = try await Self.run(stubborn) { pod in
            try await pod.program.waitForOutput("ready in ", within: .seconds(60))
            kill(pod.first, SIGTERM)
            try await eventually(within: .seconds(2), "it says that it stops") {
                let answer = try await HTTPRequests.get("\(pod.health)/ready")
                return answer.status == 503 && answer.text.contains("being stopped")
            }
        }
        #expect(exit == .code(0))
    }

    @Test func `a launcher that is killed leaves nothing, and process 1 says how it ended`() async throws {
        let exit = try await Self.run("") { pod in
            try await pod.program.waitForOutput("ready in ", within: .seconds(60))
            let launcher = try #require(SystemProcesses.children(of: pod.first).first)
            kill(launcher, SIGKILL)
            try await pod.program.waitForExit(within: .seconds(10))
        }
        #expect(exit == .code(137))
    }
}
