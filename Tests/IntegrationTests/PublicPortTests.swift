import Foundation
import Supervisor
import TestSupport
import Testing

/// Deployments whose launcher serves the public port.
@Suite(.serialized) struct PublicPortTests {
    private static let path = "/v1/chat/completions"

    private func up<Value: Sendable>(
        _ overrides: String...,
        body: (LaunchedDeployment) async throws -> Value
    ) async throws -> (value: Value, exit: ProgramExit) {
        let sets = (["gateway=true"] + overrides).flatMap { ["--set", $0] }
        return try await Launcher.up(sets, body)
    }

    private func status(_ deployment: LaunchedDeployment) async throws -> DeploymentStatus {
        let json = try await deployment.command("status", "--json")
        return try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.output.utf8))
    }

    private func pid(of name: String, _ deployment: LaunchedDeployment) async throws -> Int32 {
        let replica = try await self.status(deployment).replicas.first { $0.name == name }
        return try #require(replica?.pid)
    }

    private func ask(_ deployment: LaunchedDeployment) async throws -> HTTPReply {
        try await HTTPRequests.post(deployment.url + Self.path, json: try Chat.body(model: "echo"))
    }

    @Test func `the first request waits for the first worker instead of being refused`() async throws {
        let (_, exit) = try await self.up { deployment in
            try await eventually("the port is open") { SystemProcesses.isListening(port: deployment.port) }
            #expect(!deployment.program.output.contains("ready in "), "nothing served yet")
            let answer = try await self.ask(deployment)
            #expect(answer.status == 200, "\(answer.text)")
            let text = try await deployment.command("status").output
            #expect(text.contains("gateway: ") && text.contains("BACKEND"), "\(text)")
            let gateway = try #require(try await self.status(deployment).gateway)
            #expect(gateway.backends.map(\.name) == ["frontend"])
            #expect(gateway.backends.first?.isActive == true)
            #expect(gateway.held == 0 && gateway.refused == 0)
            try await deployment.waitUntilReady()
            let requests = try #require(try await self.status(deployment).gateway?.backends.first?.requests)
            #expect(requests >= 2, "the request that proves that it serves came through the public port too")
        }
        #expect(exit == .code(0))
    }

    @Test func `requests wait while the only frontend is restarted`() async throws {
        _ = try await self.up { deployment in
            try await deployment.waitUntilReady()
            for _ in 0..<2 {
                let pid = try await self.pid(of: "frontend", deployment)
                kill(pid, SIGKILL)
                // Until then a request may still reach it, and then nobody knows whether it was acted upon.
                try await eventually("its end is noticed") {
                    let replica = try await self.status(deployment).replicas.first { $0.name == "frontend" }
                    return replica?.pid != pid
                }
                for _ in 0..<3 {
                    let answer = try await self.ask(deployment)
                    #expect(answer.status == 200, "\(answer.text)")
                }
                #expect(try await self.pid(of: "frontend", deployment) != pid)
            }
        }
    }

    @Test func `an answer that is under way is finished when the deployment is stopped`() async throws {
        let slow = #"processes.worker.args=[--engine, echo, --model-name, "{{model}}", --rate, 20]"#
        let (events, exit) = try await self.up(slow) { deployment in
            try await deployment.waitUntilReady()
            let json = try Chat.body(
                model: "echo",
                prompt: (0..<40).map(String.init).joined(separator: " "),
                tokens: 40,
                stream: true
            )
            return try await withThrowingTaskGroup(of: [String].self) { group in
                group.addTask {
                    Chat.events(of: try await HTTPRequests.post(deployment.url + Self.path, json: json))
                }
                try await eventually("the request is under way") {
                    try await self.status(deployment).gateway?.inFlight == 1
                }
                deployment.program.send(SIGINT)
                return try await group.next() ?? []
            }
        }
        #expect(events.last == "[DONE]", "\(events)")
        #expect(exit == .code(0))
    }

    /// What curl gets.
    private func curl(_ arguments: String...) async throws -> String {
        try await withProgram("/usr/bin/curl", ["-sS", "--max-time", "10"] + arguments) { program in
            try await program.waitForExit(within: .seconds(15))
            return program.output
        }.value
    }

    @Test func `its metrics are on the control socket and on a port of their own`() async throws {
        let port = try freePort()
        _ = try await self.up("gateway={metrics: \(port), hold: {time: 50s}}") { deployment in
            try await deployment.waitUntilReady()
            for _ in 0..<3 { #expect(try await self.ask(deployment).status == 200) }
            let path = deployment.directory.appending(path: "dynamo-launch/embedded/control.sock").path()
            let local = try await self.curl("--unix-socket", path, "http://launcher/metrics")
            let remote = try await self.curl("http://127.0.0.1:\(port)/metrics")
            for text in [local, remote] {
                let metrics = try await PrometheusReader.read(text)
                let frontend = ["backend": "frontend", "generation": "1"]
                #expect(metrics.value("dynamo_launch_deployment_ready", ["deployment": "embedded"]) == 1)
                #expect(metrics.value("dynamo_launch_replica_ready", ["replica": "worker"]) == 1)
                let count = metrics.value("dynamo_launch_gateway_requests_total", frontend) ?? 0
                // One was the launcher's own.
                #expect(count >= 4)
                #expect(metrics.value("dynamo_launch_gateway_request_duration_seconds_count", frontend) == count)
                #expect((metrics.value("dynamo_launch_gateway_time_to_first_byte_seconds_sum", frontend) ?? 0) > 0)
            }
            // The public port's own path belongs to the frontend.
            #expect(!(try await self.curl(deployment.url + "/metrics")).contains("dynamo_launch_gateway"))
        }
    }

    @Test func `a renewed certificate is taken without a restart`() async throws {
        try await withTemporaryDirectory { folder in
            let certificates = try await Certificates(in: folder)
            let (live, key) = (folder.appending(path: "live.pem"), folder.appending(path: "live.key"))
            func place(_ name: String, _ source: String, at target: URL) throws {
                // As certificate tools do: a new file takes the place of the old one.
                let new = folder.appending(path: "new")
                try Data(contentsOf: URL(filePath: source)).write(to: new)
                #expect(rename(new.path(), target.path()) == 0, "\(name)")
            }
            try place("server", certificates.certificate("server"), at: live)
            try place("server", certificates.key("server"), at: key)
            let socket = folder.appending(path: "http.sock").path()
            _ = try await self.up(
                "gateway={tls: {certificate: \(live.path()), key: \(key.path())}, listeners: [{unix: \(socket), mode: 0600}]}"
            ) { deployment in
                try await deployment.waitUntilReady()
                // Said a moment after the status says that it is ready.
                try await deployment.program.waitForOutput("https://127.0.0.1:\(deployment.port)", within: .seconds(10))
                func asks(_ host: String) async throws -> String {
                    let resolve = "\(host):\(deployment.port):127.0.0.1"
                    let url = "https://\(host):\(deployment.port)/v1/models"
                    return try await self.curl("--cacert", certificates.certificate("ca"), "--resolve", resolve, url)
                }
                #expect(try await asks("localhost").contains("\"echo\""))
                #expect(try await self.curl("--unix-socket", socket, "http://any/v1/models").contains("\"echo\""))
                let status = try await self.status(deployment)
                #expect(status.url == "https://127.0.0.1:\(deployment.port)")
                #expect(status.gateway?.addresses == ["https://0.0.0.0:\(deployment.port)", "unix:\(socket)"])
                // Half a renewal: what is there stays.
                try place("named", certificates.certificate("named"), at: live)
                try await deployment.program.waitForOutput("the certificate stays as it was", within: .seconds(15))
                #expect(try await asks("localhost").contains("\"echo\""))
                try place("named", certificates.key("named"), at: key)
                try await deployment.program.waitForOutput("the certificate was read again", within: .seconds(15))
                #expect(try await asks("worker.test").contains("\"echo\""))
                #expect(!(try await asks("localhost")).contains("\"echo\""))
            }
        }
    }

    @Test func `a port that is taken is said before anything is started`() async throws {
        _ = try await self.up { deployment in
            try await deployment.waitUntilReady()
            let (output, exit) = try await Launcher.run(
                ["up", "--set", "gateway=true", "--set", "name=other"],
                environment: deployment.environment,
                workingDirectory: deployment.directory.path()
            )
            #expect(exit == .code(1))
            #expect(output.contains(":\(deployment.port)"), "\(output)")
            #expect(output.contains("pid \(deployment.program.pid)"), "\(output)")
            #expect(!output.contains("started, pid"), "\(output)")
        }
    }
}
