import Foundation
import Supervisor
import TestSupport
import Testing

/// A manifest that is changed while its deployment runs.
@Suite(.serialized) struct ApplyTests {
    private static let manifest = """
        name: changing
        model: echo
        planes: tcp
        gateway: true
        processes:
          frontend: {builtin: frontend}
          worker:
            builtin: worker
            args: [--engine, echo, --model-name, "{{model}}"]
        """

    private struct Place {
        var deployment: LaunchedDeployment
        var file: URL

        /// Writes the manifest anew, changed.
        func write(_ changes: (String, String)...) throws {
            var text = ApplyTests.manifest
            for (old, new) in changes {
                try #require(text.contains(old))
                text = text.replacingOccurrences(of: old, with: new)
            }
            try text.write(to: self.file, atomically: true, encoding: .utf8)
        }

        func apply(_ arguments: String...) async throws -> (output: String, exit: ProgramExit) {
            try await Launcher.run(["apply"] + arguments, environment: self.deployment.environment)
        }

        var pids: [String: Int32] {
            get async throws {
                let json = try await self.deployment.command("status", "--json").output
                let status = try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.utf8))
                return Dictionary(uniqueKeysWithValues: status.replicas.map { ($0.name, $0.pid ?? 0) })
            }
        }

        func answers() async throws {
            let url = self.deployment.url + "/v1/chat/completions"
            let answer = try await HTTPRequests.post(url, json: try Chat.body(model: "echo"))
            #expect(answer.status == 200, "\(answer.text)")
        }
    }

    private func up(_ body: (Place) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "changing.yaml")
            try Self.manifest.write(to: file, atomically: true, encoding: .utf8)
            let (_, exit) = try await Launcher.up([file.path()]) { deployment in
                try await deployment.waitUntilReady()
                try await body(Place(deployment: deployment, file: file))
            }
            #expect(exit == .code(0))
        }
    }

    @Test func `changed, added and removed processes are, and the others go on`() async throws {
        try await self.up { place in
            let nothing = try await place.apply()
            #expect(nothing.exit == .code(0) && nothing.output.contains("nothing to change: 2 processes run"))

            let before = try await place.pids
            try place.write(("builtin: worker", "builtin: worker\n    replicas: 2"))
            let dry = try await place.apply("--dry-run")
            #expect(dry.output == "add     worker-1\nkeep    frontend, worker\n")
            #expect(try await place.pids == before, "nothing was done")
            let scaled = try await place.apply()
            #expect(scaled.exit == .code(0) && scaled.output.contains("worker-1: ready\n"), "\(scaled.output)")
            let two = try await place.pids
            #expect(two.keys.sorted() == ["frontend", "worker", "worker-1"])
            #expect(two["worker"] == before["worker"] && two["frontend"] == before["frontend"])
            let logs = try await place.deployment.command("logs", "--process", "worker-1").output
            #expect(!logs.isEmpty)
            #expect(try await place.deployment.command("status").output.contains("model: echo"))

            try place.write(("builtin: worker", "builtin: worker\n    env: {COLOUR: green}"))
            let changed = try await place.apply()
            #expect(
                changed.output.hasPrefix("change  worker: environment: COLOUR\nremove  worker-1\nkeep    frontend\n"),
                "\(changed.output)"
            )
            let one = try await place.pids
            #expect(one.keys.sorted() == ["frontend", "worker"])
            #expect(one["worker"] != before["worker"] && one["frontend"] == before["frontend"])
            try await place.answers()
            try await eventually("what was removed is gone") { !SystemProcesses.isRunning(two["worker-1"] ?? 0) }
        }
    }

    @Test func `a manifest with errors changes nothing`() async throws {
        try await self.up { place in
            let before = try await place.pids
            try place.write(("builtin: worker", "builtin: wroker"))
            let (output, exit) = try await place.apply()
            #expect(exit == .code(1))
            #expect(
                output.contains("changing.yaml:8:14: error:") && output.contains("nothing was changed"),
                "\(output)"
            )
            try place.write(("planes: tcp", "planes: http"))
            let plane = try await place.apply()
            #expect(plane.exit == .code(1))
            #expect(plane.output.contains("planes cannot be changed while the deployment runs"), "\(plane.output)")
            try FileManager.default.removeItem(at: place.file)
            let gone = try await place.apply()
            #expect(gone.exit == .code(1) && gone.output.contains("there is no such file"), "\(gone.output)")
            #expect(try await place.pids == before)
            try await place.answers()
        }
    }

    @Test func `a change that does not become ready is taken back`() async throws {
        try await self.up { place in
            let before = try await place.pids
            try place.write(
                ("builtin: frontend}", "builtin: frontend, env: {COLOUR: green}}"),
                (#"[--engine, echo, --model-name, "{{model}}"]"#, "[--engine, nonsense]\n    restart: never")
            )
            let (output, exit) = try await place.apply()
            #expect(exit == .code(1))
            #expect(output.contains("taking back what was changed"), "\(output)")
            #expect(output.contains("everything runs as before"), "\(output)")
            #expect(output.contains("worker:   > ") && output.contains("nonsense"), "\(output)")
            #expect(output.contains("worker: its log: "), "\(output)")
            let after = try await place.pids
            #expect(after.keys.sorted() == before.keys.sorted())
            try await place.answers()
            try place.write()
            #expect(try await place.apply().output.contains("nothing to change"))
        }
    }

    @Test func `a process beside the others touches none of them, and one that ends again and again is taken back`()
        async throws
    {
        try await self.up { place in
            let before = try await place.pids
            let restart = "{initialDelay: 50ms, maxDelay: 100ms}"
            try place.write(
                (
                    "  worker:\n",
                    "  side: {command: [/bin/false], role: infrastructure, restart: \(restart)}\n  worker:\n"
                )
            )
            let dry = try await place.apply("--dry-run").output
            let later = "dependsOn counts from its next start on"
            #expect(dry == "add     side\nkeep    frontend; \(later)\nkeep    worker; \(later)\n")
            let failed = try await place.apply()
            #expect(failed.exit == .code(1) && failed.output.contains("not applied: side: "), "\(failed.output)")
            #expect(failed.output.contains("everything runs as before"), "\(failed.output)")
            #expect(try await place.pids == before)
            try await place.answers()

            try place.write(
                ("  worker:\n", "  side: {command: [/bin/sleep, '600'], role: infrastructure}\n  worker:\n")
            )
            let done = try await place.apply()
            #expect(done.exit == .code(0) && done.output.hasSuffix("changing: applied\n"), "\(done.output)")
            let after = try await place.pids
            #expect(after.count == 3 && after.filter { $0.key != "side" } == before)
            let again = try await place.apply()
            #expect(again.output.contains("nothing to change: 3 processes run"), "\(again.output)")
        }
    }

    @Test func `no request is lost while everything is changed`() async throws {
        try await self.up { place in
            try place.write(
                ("builtin: frontend}", "builtin: frontend, replicas: 2}"),
                ("builtin: worker", "builtin: worker\n    replicas: 2")
            )
            #expect(try await place.apply().exit == .code(0))
            let totals = try await SteadyClients.run(place.deployment.url, model: "echo", count: 16) {
                for colour in ["green", "blue"] {
                    try place.write(
                        ("builtin: frontend}", "builtin: frontend, replicas: 2, env: {COLOUR: \(colour)}}"),
                        ("builtin: worker", "builtin: worker\n    replicas: 2\n    env: {COLOUR: \(colour)}")
                    )
                    let (output, exit) = try await place.apply()
                    #expect(exit == .code(0), "\(output)")
                }
            }
            #expect(totals.failures == [])
            #expect(totals.requests > 50, "\(totals)")
        }
    }
}
