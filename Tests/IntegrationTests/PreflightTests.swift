import Foundation
import Supervisor
import TestSupport
import Testing

/// Commands that are run before a deployment is started, and limits of its processes.
@Suite(.serialized) struct PreflightTests {
    private static func manifest(_ directory: URL) -> String {
        """
        name: careful
        model: echo
        planes: tcp
        preflight:
          count: [sh, -c, "echo x >> \(directory.path())/runs; echo first; wc -l < \(directory.path())/runs"]
        processes:
          frontend: {builtin: frontend}
          worker:
            builtin: worker
            args: [--engine, echo, --model-name, "{{model}}"]
            env: {COUNT: "{{preflight.count}}"}
            limits: {openFiles: 512, nice: 3}
        """
    }

    @Test func `one that refuses keeps everything from being started`() async throws {
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "careful.yaml")
            let text = Self.manifest(directory)
                .replacing("echo first;", with: "echo no room on the GPU for $$HF_TOKEN >&2; exit 3;")
            try text.write(to: file, atomically: true, encoding: .utf8)
            let environment = [
                "XDG_RUNTIME_DIR": directory.path(), "XDG_STATE_HOME": directory.path(), "HF_TOKEN": "hf_notForLogs",
            ]
            let runs = directory.appending(path: "runs").path()

            let check = try await Launcher.run(["check", file.path()], environment: environment)
            #expect(check.exit == .code(0) && check.output.contains("preflight 'count' is run at the start"))
            let absent = directory.appending(path: "absent.yaml")
            try text.replacing("[sh,", with: "[no-such-tool,").write(to: absent, atomically: true, encoding: .utf8)
            let missing = try await Launcher.run(["check", absent.path()], environment: environment)
            #expect(missing.output.contains("would refuse it here: there is no program 'no-such-tool'"), "\(missing)")
            let plan = try await Launcher.run(["plan", file.path()], environment: environment)
            #expect(plan.output.contains("COUNT='<preflight.count>'"), "\(plan.output)")
            #expect(!FileManager.default.fileExists(atPath: runs), "they only look")

            let up = try await Launcher.run(["up", file.path()], environment: environment)
            #expect(up.exit == .code(1))
            #expect(
                up.output.contains(
                    "careful.yaml:5:3: error: preflight 'count' refuses the start: exit code 3\n  no room on the GPU for ***\n"
                        + "1 error; nothing was started\n"
                ),
                "\(up.output)"
            )
            let logs = directory.appending(path: "dynamo-launch/careful/logs").path()
            #expect(!FileManager.default.fileExists(atPath: logs), "no process had a log")
        }
    }

    @Test func `its value feeds the processes, and an unchanged manifest asks nothing again`() async throws {
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "careful.yaml")
            try Self.manifest(directory).write(to: file, atomically: true, encoding: .utf8)
            let (_, exit) = try await Launcher.up([file.path()]) { deployment in
                try await deployment.waitUntilReady()
                func worker() async throws -> Int32 {
                    let json = try await deployment.command("status", "--json").output
                    let status = try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.utf8))
                    return try #require(status.replicas.first { $0.name == "worker" }?.pid)
                }
                let pid = try await worker()
                let environment = try String(contentsOfFile: "/proc/\(pid)/environ", encoding: .utf8)
                #expect(environment.split(separator: "\0").contains("COUNT=1"))
                let limits = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)
                #expect(limits.contains(#/Max open files +512 +512 /#))

                let apply = { try await Launcher.run(["apply"], environment: deployment.environment) }
                #expect(try await apply().output.contains("nothing to change: 2 processes run"))
                let text = Self.manifest(directory).replacing("openFiles: 512", with: "openFiles: 513")
                try text.write(to: file, atomically: true, encoding: .utf8)
                let changed = try await apply()
                #expect(changed.output.hasPrefix("change  worker: limits\n"), "\(changed.output)")
                let next = try await worker()
                #expect(next != pid)
                let other = try String(contentsOfFile: "/proc/\(next)/limits", encoding: .utf8)
                #expect(other.contains(#/Max open files +513 +513 /#))
                let runs = try String(contentsOf: directory.appending(path: "runs"), encoding: .utf8)
                #expect(runs == "x\n", "it was run once")

                // What the machine cannot give changes nothing.
                try text.replacing("nice: 3", with: "cpus: 1000").write(to: file, atomically: true, encoding: .utf8)
                let refused = try await apply()
                #expect(
                    refused.exit == .code(1) && refused.output.contains("'limits.cpus' has 1000"),
                    "\(refused.output)"
                )
                // A command that is new is run, and may refuse too.
                try text.replacing("processes:", with: "  late: [sh, -c, \"echo too late; exit 4\"]\nprocesses:")
                    .write(to: file, atomically: true, encoding: .utf8)
                let late = try await apply()
                #expect(
                    late.exit == .code(1) && late.output.contains("preflight 'late' refuses the start: exit code 4")
                )
                #expect(try await worker() == next)
            }
            #expect(exit == .code(0))
        }
    }
}
