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
