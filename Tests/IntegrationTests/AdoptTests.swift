import Foundation
import TestSupport
import Testing

/// Deployments that were started by hand, as upstream's scripts do it, become a launcher's.
@Suite(.serialized) struct AdoptTests {
    /// Starts a real frontend and a real mocker, and gives their pids and the frontend's port to a body.
    private static func byHand<Value: Sendable>(
        plane: String = "tcp",
        workerPlane: String? = nil,
        isChecked: Bool = false,
        in directory: URL,
        _ body: (_ frontend: RunningProgram, _ worker: RunningProgram, _ port: Int) async throws -> Value
    ) async throws -> Value {
        let python = try TestEnvironment.python(.v121)
        let port = try freePort()
        let shared: [String: String?] = [
            "DYN_REQUEST_PLANE": plane, "DYN_DISCOVERY_BACKEND": "file",
            "DYN_FILE_KV": directory.appending(path: "kv").path(),
            "DYN_HTTP_PORT": "\(port)", "HF_HUB_OFFLINE": "1", "HF_TOKEN": "hf_of_the_test_1234", "NATS_SERVER": nil,
        ]
        var own = shared
        // Dynamo reads it as a 16-bit number with a sign.
        own["DYN_SYSTEM_PORT"] = "\(try Self.lowPort())"
        own["DYN_REQUEST_PLANE"] = workerPlane ?? plane
        // With this, 1.2.1's mock engine serves while its system server says forever that it is not ready.
        own["DYN_HEALTH_CHECK_ENABLED"] = isChecked ? "true" : nil
        let (worker, model) = (own, try TestEnvironment.model())
        return try await withProgram(
            python,
            ["-m", "dynamo.frontend"],
            environment: shared,
            workingDirectory: directory.path()
        ) {
            frontend in
            try await withProgram(
                python,
                ["-m", "dynamo.mocker", "--model-path", model],
                environment: worker,
                workingDirectory: directory.path()
            ) { worker in
                var listed = ""
                do {
                    try await eventually(within: .seconds(40), "the model is listed") {
                        listed = (try? await HTTPRequests.get("http://127.0.0.1:\(port)/v1/models"))?.text ?? ""
                        return listed.contains(model)
                    }
                } catch {
                    throw DeploymentFailure(error: error, output: "\(listed)\n\(frontend.output)\n\(worker.output)")
                }
                return try await body(frontend, worker, port)
            }.value
        }.value
    }

    private static func lowPort() throws -> Int {
        for _ in 0..<100 {
            let port = Int.random(in: 20000...32000)
            if !SystemProcesses.isListening(port: port) { return port }
        }
        throw NoFreePort()
    }

    private static func environment(_ directory: URL) -> [String: String?] {
        [
            "XDG_STATE_HOME": directory.path(), "XDG_RUNTIME_DIR": directory.path(), "NO_COLOR": "1",
            "HF_TOKEN": "hf_of_the_test_1234", "DYN_TCP_RPC_HOST": nil, "NATS_SERVER": nil,
        ]
    }

    @Test func `what runs by hand becomes a manifest that starts the same`() async throws {
        try await withTemporaryDirectory { directory in
            let environment = Self.environment(directory)
            let file = directory.appending(path: "chat.yaml").path()
            let words = try await Self.byHand(in: directory) { frontend, worker, port in
                let pids = ["--pid", "\(frontend.pid)", "--pid", "\(worker.pid)"]
                let (output, exit) = try await Launcher.run(
                    ["adopt", "--name", "chat", "--write", file] + pids,
                    environment: environment
                )
                #expect(exit == .code(0), "\(output)")
                #expect(output.contains("frontend (pid \(frontend.pid)) has port \(port) itself"))
                #expect(output.contains("kill \(frontend.pid) \(worker.pid)"))
                #expect(!output.contains("hf_of_the_test_1234"))
                let row = output.split(separator: "\n").first { $0.hasPrefix("mocker") } ?? ""
                #expect(row.split(separator: " ").dropFirst(2).prefix(3) == ["1.2.1", "tcp", "zmq"], "\(output)")

                let (json, _) = try await Launcher.run(["adopt", "--json"] + pids, environment: environment)
                let object = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
                let deployments = try #require(object?["deployments"] as? [[String: Any]])
                let processes = try #require(deployments.first?["processes"] as? [[String: Any]])
                #expect(processes.map { $0["pid"] as? Int32 } == [frontend.pid, worker.pid])
                #expect((processes[0]["ports"] as? [Int])?.contains(port) == true)

                // A mocker's system server answers 503 for ever; its endpoint is ready, and that counts.
                let (findings, _) = try await Launcher.run(["doctor"] + pids, environment: environment)
                #expect(findings.contains("mocker (pid \(worker.pid))"), "\(findings)")
                #expect(!findings.contains("does not say that it is ready"), "\(findings)")
                #expect(!output.contains("when it is asked for /health"), "\(output)")

                let again = try await Launcher.run(["adopt", "--write", file] + pids, environment: environment)
                #expect(again.exit == .code(1) && again.output.contains("exists already"))
                let stranger = try await Launcher.run(["adopt", "--pid", "1"], environment: environment)
                #expect(stranger.exit == .code(1) && stranger.output.contains("pid 1 cannot be adopted"))
                return try [frontend, worker].map { try Self.arguments(of: $0.pid) }
            }
            let text = try String(contentsOfFile: file, encoding: .utf8)
            #expect(!text.contains("hf_of_the_test_1234"))
            let check = try await Launcher.run(["check", file], environment: environment)
            #expect(check.exit == .code(0), "\(check.output)\n\(text)")
            let (json, _) = try await Launcher.run(["plan", "--json", file], environment: environment)
            let plan = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
            let replicas = try #require(plan?["replicas"] as? [[String: Any]])
            let planned = replicas.map { replica in
                [replica["executable"] as? String ?? ""] + (replica["arguments"] as? [String] ?? [])
            }
            #expect(planned == words)

            // The old processes are gone: it runs with the launcher, on the same port.
            // In folders of its own, by which its processes are known.
            let rest = environment.filter { !$0.key.hasPrefix("XDG_") }
            _ = try await Launcher.up([file], environment: rest) { deployment in
                try await deployment.waitUntilReady()
                let worker = try #require(
                    deployment.processes.first { try Self.arguments(of: $0).contains("dynamo.mocker") }
                )
                let adopted = try await deployment.command("adopt", "--pid", "\(worker)")
                #expect(adopted.output.contains("a launcher runs"), "\(adopted.output)")
                #expect(adopted.exit == .code(1))
            }
        }
    }

    private static func arguments(of pid: Int32) throws -> [String] {
        let data = try Data(contentsOf: URL(filePath: "/proc/\(pid)/cmdline"))
        return data.split(separator: 0, omittingEmptySubsequences: false).dropLast().map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    @Test func `a worker on another plane and one that never says it is ready are named`() async throws {
        try await withTemporaryDirectory { directory in
            try await Self.byHand(workerPlane: "http", isChecked: true, in: directory) { frontend, worker, _ in
                let (output, exit) = try await Launcher.run(
                    ["adopt", "--pid", "\(frontend.pid)", "--pid", "\(worker.pid)"],
                    environment: Self.environment(directory)
                )
                #expect(exit == .code(0), "\(output)")
                #expect(
                    output.contains(
                        "warning: the request plane differs: frontend (pid \(frontend.pid)): tcp (DYN_REQUEST_PLANE), "
                            + "mocker (pid \(worker.pid)): http (DYN_REQUEST_PLANE)"
                    ),
                    "\(output)"
                )
                #expect(output.contains("planes: {request: tcp, events: zmq}"))
                #expect(
                    output.contains("says '503, no endpoint is named yet' when it is asked for /health"),
                    "\(output)"
                )
                #expect(output.contains("without DYN_HEALTH_CHECK_ENABLED it may"))
            }
        }
    }
}
