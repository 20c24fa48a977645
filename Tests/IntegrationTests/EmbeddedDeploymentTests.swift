import Foundation
import Supervisor
import TestSupport
import Testing

/// The deployment that needs nothing: our own frontend and worker.
@Suite(.serialized) struct EmbeddedDeploymentTests {
    @Test func `it says what it does, serves, and its printed curl line works`() async throws {
        let (_, exit) = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            try await deployment.program.waitForOutput("curl ")
            let output = deployment.program.output
            #expect(output.contains("embedded"), "says which manifest: \(output)")
            #expect(output.contains("Using request plane mode: tcp"), "\(output)")
            #expect(output.contains(deployment.url), "\(output)")
            for layer in ["alive", "port", "health", "model-ready", "serving"] {
                #expect(output.contains(layer), "the time to \(layer): \(output)")
            }

            let line = try #require(output.split(separator: "\n").first { $0.drop { $0 == " " }.hasPrefix("curl ") })
            let (answer, curl) = try await withProgram("/bin/sh", ["-c", String(line)]) { program in
                try await program.waitForExit()
                return program.output
            }
            #expect(curl == .code(0))
            #expect(answer.contains("\"choices\""), "\(line)\n\(answer)")

            let streamed = try await HTTPRequests.post(
                "\(deployment.url)/v1/chat/completions",
                json: try Chat.body(model: "echo", prompt: "one two three", tokens: 50, stream: true)
            )
            #expect(Chat.events(of: streamed).last == "[DONE]")
        }
        #expect(exit == .code(0))
    }

    @Test(arguments: ["tcp", "http", "nats"])
    func `it serves on every plane, and every instance is registered there`(plane: String) async throws {
        let (_, exit) = try await Launcher.up(["--\(plane)"]) { deployment in
            try await deployment.waitUntilReady()
            #expect(deployment.program.output.contains("Using request plane mode: \(plane)"))
            let answer = try await HTTPRequests.post(
                "\(deployment.url)/v1/chat/completions",
                json: try Chat.body(model: "echo", prompt: "one two three", tokens: 50, stream: true)
            )
            #expect(Chat.events(of: answer).last == "[DONE]")
            let health = try await HTTPRequests.get("\(deployment.url)/health").text
            let key = ["tcp": "\"tcp\":", "http": "\"http\":\"http://", "nats": "\"nats_tcp\":"][plane, default: plane]
            #expect(health.contains(key), "\(health)")
            deployment.program.send(SIGINT)
            try await deployment.program.waitForExit()
        }
        #expect(exit == .code(0))
    }

    @Test func `status, logs and stop work over the control socket, also for curl`() async throws {
        let (_, exit) = try await Launcher.up { deployment in
            let waited = try await deployment.command("status", "--wait")
            #expect(waited.exit == .code(0), "\(waited.output)")
            #expect(waited.output.contains("ready"))

            let json = try await deployment.command("status", "--json")
            let status = try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.output.utf8))
            #expect(status.state == .ready)
            #expect(status.replicas.map(\.state) == [.ready, .ready])

            let socket = deployment.directory.appending(path: "dynamo-launch/embedded/control.sock").path()
            let mode = try FileManager.default.attributesOfItem(atPath: socket)[.posixPermissions] as? Int
            #expect(mode == 0o600)
            let (answer, curl) = try await withProgram(
                "/usr/bin/env",
                ["curl", "-s", "--unix-socket", socket, "http://localhost/v1/status"]
            ) { program in
                try await program.waitForExit()
                return program.output
            }
            #expect(curl == .code(0))
            #expect(try JSONDecoder().decode(DeploymentStatus.self, from: Data(answer.utf8)).deployment == "embedded")

            let logs = try await deployment.command("logs", "--process", "worker")
            #expect(logs.exit == .code(0))
            #expect(logs.output.contains("worker"), "\(logs.output)")

            let stop = try await deployment.command("stop")
            #expect(stop.exit == .code(0), "\(stop.output)")
            try await deployment.program.waitForExit()
        }
        #expect(exit == .code(0))
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func `a signal stops it cleanly, the worker before the frontend's port is free again`(signal: Int32) async throws {
        let (_, exit) = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            deployment.program.send(signal)
            try await deployment.program.waitForExit()
            #expect(!SystemProcesses.isListening(port: deployment.port))
        }
        #expect(exit == .code(0))
    }

    @Test func `a second launcher of the same name is refused with the pid of the first`() async throws {
        _ = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            let (output, exit) = try await Launcher.run(
                ["up"],
                environment: deployment.environment,
                workingDirectory: deployment.directory.path()
            )
            #expect(exit == .code(1))
            #expect(output.contains("\(deployment.program.pid)"), "\(output)")
            #expect(try await HTTPRequests.get("\(deployment.url)/live").status == 200)
        }
    }

    @Test func `every line is JSON when asked for`() async throws {
        let (output, _) = try await Launcher.up(["--log-format", "json"]) { deployment in
            try await deployment.waitUntilReady()
            deployment.program.send(SIGINT)
            try await deployment.program.waitForExit()
            return deployment.program.output
        }
        for line in output.split(separator: "\n") {
            #expect(throws: Never.self, "\(line)") { try JSONSerialization.jsonObject(with: Data(line.utf8)) }
        }
    }

    @Test func `the first exit ends everything when asked for, with its code and upstream's line`() async throws {
        try await withTemporaryDirectory { directory in
            let manifest = directory.appending(path: "first.yaml")
            try """
            name: first
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker}
              short:
                role: infrastructure
                command: [/bin/sh, -c, "sleep 1; exit 7"]
            """.write(to: manifest, atomically: true, encoding: .utf8)
            let (output, exit) = try await Launcher.up(["--exit-on-first", manifest.path()]) { deployment in
                try await deployment.program.waitForExit()
                return deployment.program.output
            }
            #expect(exit == .code(7))
            #expect(output.split(separator: "\n").contains("A background process exited with code 7"), "\(output)")
        }
    }

    @Test func `a name is free again when stop has returned`() async throws {
        _ = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            let stop = try await deployment.command("stop")
            #expect(stop.exit == .code(0), "\(stop.output)")
            _ = try await withProgram(
                Launcher.path,
                ["up"],
                environment: deployment.environment,
                workingDirectory: deployment.directory.path()
            ) { next in try await next.waitForOutput("ready in ") }
        }
    }

    @Test func `a launcher that is suspended is named by every command, which waits for none`() async throws {
        _ = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            deployment.program.send(SIGSTOP)
            defer { deployment.program.send(SIGCONT) }
            let pid = deployment.program.pid
            try await withThrowingTaskGroup(of: Void.self) { group in
                for arguments in [
                    ["status"], ["status", "embedded", "--wait"], ["stop"], ["logs", "--follow"],
                    ["doctor", "embedded"],
                ] {
                    group.addTask {
                        let (output, exit) = try await Launcher.run(
                            arguments,
                            environment: deployment.environment,
                            within: .seconds(9)
                        )
                        #expect(exit == .code(1), "\(arguments)")
                        #expect(
                            output
                                == "error: deployment embedded: its launcher (pid \(pid)) is suspended; let it go on with: kill -CONT \(pid)\n"
                        )
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `stop names a process that cannot be killed`() async throws {
        _ = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            // A keeper that is suspended kills nobody, as the kernel does not kill what waits for a broken device.
            let keeper = try #require(SystemProcesses.children(of: deployment.program.pid).first)
            kill(keeper, SIGSTOP)
            defer { kill(keeper, SIGCONT) }
            let worker = try #require(
                deployment.processes.first { SystemProcesses.command(of: $0).contains("dynamo-worker") }
            )
            let (output, exit) = try await deployment.command("stop", "--now")
            #expect(exit == .code(1))
            #expect(
                output.contains("error: deployment embedded: still running, not even SIGKILL ended it: "),
                "\(output)"
            )
            #expect(output.contains("worker (pid \(worker): "), "\(output)")
            #expect(output.contains("waiting for worker (pid \(worker)): its end after SIGKILL\n"), "\(output)")
            #expect(output.contains("dynamo-worker"), "\(output)")
            #expect(!output.contains("stopped"), "\(output)")
        }
    }

    @Test func `it outlives its terminal under nohup`() async throws {
        try await withTemporaryDirectory { directory in
            let port = try freePort()
            let (_, exit) = try await withProgram(
                "/usr/bin/env",
                ["nohup", Launcher.path, "up"],
                environment: [
                    "XDG_STATE_HOME": directory.path(), "XDG_RUNTIME_DIR": directory.path(), "DYN_HTTP_PORT": "\(port)",
                ],
                workingDirectory: directory.path()
            ) { program in
                try await program.waitForOutput("ready in ")
                program.send(SIGHUP)
                #expect(try await HTTPRequests.get("http://127.0.0.1:\(port)/live").status == 200)
                #expect(!program.output.contains("stopping"))
                program.send(SIGTERM)
                try await program.waitForExit()
            }
            #expect(exit == .code(0))
        }
    }

    @Test func `an output that nobody reads does not keep it from ending`() async throws {
        try await withTemporaryDirectory { directory in
            let manifest = directory.appending(path: "chatty.yaml")
            try """
            name: chatty
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker}
              talker: {role: infrastructure, command: ["yes", "a line"]}
            """.write(to: manifest, atomically: true, encoding: .utf8)
            let port = try freePort()
            // The reader of the pipe sleeps, and so does not read; the launcher's pid comes on the other stream.
            let script = "{ sh -c 'echo pid $$ >&2; exec \"$0\" up \"$1\"' \"$0\" \"$1\"; echo ended >&2; } | sleep 60"
            _ = try await withProgram(
                "/bin/sh",
                ["-c", script, Launcher.path, manifest.path()],
                environment: [
                    "XDG_STATE_HOME": directory.path(), "XDG_RUNTIME_DIR": directory.path(), "DYN_HTTP_PORT": "\(port)",
                ]
            ) { program in
                try await program.waitForOutput("pid ")
                try await eventually("it serves") {
                    (try? await HTTPRequests.get("http://127.0.0.1:\(port)/v1/models").text.contains("echo")) ?? false
                }
                let pid = try #require(Int32(program.output.split(whereSeparator: \.isWhitespace)[1]))
                kill(pid, SIGTERM)
                try await program.waitForOutput("ended", within: .seconds(15))
                program.send(SIGKILL)
            }
        }
    }
}
