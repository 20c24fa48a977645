import Foundation
import Supervisor
import TestSupport
import Testing

/// Processes that are started anew while clients go on.
@Suite(.serialized) struct RestartTests {
    private static let clients = 32
    private static let slow = [
        "--set", "gateway=true", "--set", "processes.frontend.replicas=2",
        "--set", #"processes.worker.args=[--engine, echo, --model-name, "{{model}}", --rate, 200]"#,
    ]

    @Test func `32 clients, the OpenAI library among them, lose nothing while frontends are restarted 50 times`()
        async throws
    {
        let (_, exit) = try await Launcher.up(Self.slow) { deployment in
            try await deployment.waitUntilReady()
            let totals = try await SteadyClients.run(deployment.url, model: "echo", count: Self.clients) {
                for _ in 0..<25 {
                    let (output, exit) = try await deployment.command("restart", "frontend")
                    #expect(exit == .code(0), "\(output)")
                    #expect(output.contains("frontend-1: ready\n"), "\(output)")
                }
            }
            #expect(totals.failures == [])
            #expect(totals.requests > 500 && totals.streams > 200, "\(totals)")
            #expect(totals.connections == Self.clients / 2, "each keeps its connection")
            let json = try await deployment.command("status", "--json").output
            let status = try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.utf8))
            #expect(status.replicas.filter { $0.process == "frontend" }.map(\.restarts) == [25, 25])
            #expect(status.gateway?.refused == 0)
            #expect(status.gateway?.backends.map(\.errors) == [0, 0])
        }
        #expect(exit == .code(0))
    }

    @Test func `real frontends of Dynamo are restarted without a lost request`() async throws {
        let manifest = TestEnvironment.root.appending(path: "launch/mocker.yaml").path()
        let environment = try RealDynamoTests.environment(.v121)
        let arguments = [manifest, "--set", "gateway=true", "--set", "processes.frontend.replicas=2"]
        let (_, exit) = try await Launcher.up(arguments, environment: environment) { deployment in
            try await deployment.waitUntilReady()
            let model = try await Chat.firstModel(deployment.url)
            let totals = try await SteadyClients.run(deployment.url, model: model, count: Self.clients, tokens: 16) {
                for _ in 0..<2 {
                    let (output, exit) = try await deployment.command("restart", "frontend")
                    #expect(exit == .code(0), "\(output)")
                }
            }
            #expect(totals.failures == [])
            #expect(totals.requests > 100, "\(totals)")
        }
        #expect(exit == .code(0))
    }

    @Test func `workers are restarted without a lost request`() async throws {
        let arguments = Self.slow + ["--set", "processes.worker.replicas=2"]
        let (_, exit) = try await Launcher.up(arguments) { deployment in
            try await deployment.waitUntilReady()
            let totals = try await SteadyClients.run(deployment.url, model: "echo", count: Self.clients) {
                for _ in 0..<4 {
                    let (output, exit) = try await deployment.command("restart", "worker")
                    #expect(exit == .code(0), "\(output)")
                }
            }
            #expect(totals.failures == [])
            #expect(totals.requests > 60, "\(totals)")
        }
        #expect(exit == .code(0))
    }

    @Test func `what cannot be restarted is said`() async throws {
        _ = try await Launcher.up(Self.slow) { deployment in
            try await deployment.waitUntilReady()
            let (output, exit) = try await deployment.command("restart", "fronted")
            #expect(exit == .code(1))
            #expect(output.contains("there is no process 'fronted'; did you mean 'frontend'?"), "\(output)")
            let nothing = try await deployment.command("restart")
            #expect(nothing.exit == .code(1))
            // One that takes a while, and another one meanwhile.
            try await withThrowingTaskGroup(of: String.self) { group in
                group.addTask { try await deployment.command("restart", "worker", "frontend", "--json").output }
                try await eventually("it is under way") {
                    try await deployment.command("status").output.contains("restarting")
                }
                let second = try await deployment.command("restart", "frontend-0")
                #expect(
                    second.exit == .code(1) && second.output.contains("another restart or change is under way"),
                    "\(second)"
                )
                let steps = try #require(try await group.next()).split(separator: "\n")
                #expect(steps.contains(#"{"phase":"ready","replica":"worker"}"#), "\(steps)")
                #expect(steps.last == #"{"phase":"done"}"#)
            }
        }
    }
}
