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

    @Test func `workers are stopped, started, scaled and signalled while clients go on`() async throws {
        let more = ["processes.worker.replicas=2", "processes.frontend.dependsOn={worker: health}"]
        let (_, exit) = try await Launcher.up(Self.slow + more.flatMap { ["--set", $0] }) { deployment in
            try await deployment.waitUntilReady()
            let outline = try await deployment.command("stop", "--process", "worker-1", "--dry-run").output
            #expect(
                outline == "stop     worker-1\nkeep     frontend-0, frontend-1: depend on it and go on without it\n"
            )
            let totals = try await SteadyClients.run(deployment.url, model: "echo", count: Self.clients) {
                let stopped = try await deployment.command("stop", "--process", "worker-1")
                #expect(
                    stopped.output.hasSuffix("worker-1: stopped\nembedded: stopped worker-1\n"),
                    "\(stopped.output)"
                )
                let twice = try await deployment.command("stop", "--process", "worker-1")
                #expect(twice.exit == .code(1) && twice.output.contains("worker-1: stopped already"), "\(twice.output)")
                let status = try await deployment.command("status").output
                #expect(status.contains("embedded: degraded, 3 of 4 ready"), "\(status)")
                #expect(status.contains("a person who starts it again: dynamo-launch start worker-1"), "\(status)")

                let waits = try await deployment.command("restart", "frontend")
                let reason =
                    "frontend-0 waits for worker-1, which a person has stopped; start that first: dynamo-launch start worker-1"
                #expect(waits.exit == .code(1) && waits.output.contains(reason), "\(waits.output)")

                let started = try await deployment.command("start", "worker")
                #expect(
                    started.output == "worker-1: starting\nworker-1: ready\nembedded: started\n",
                    "\(started.output)"
                )
                let needless = try await deployment.command("start", "worker")
                #expect(
                    needless.exit == .code(1) && needless.output.contains("not stopped, so there is nothing to start")
                )

                let more = try await deployment.command("scale", "worker=3")
                #expect(more.output.contains("add     worker-2\n") && more.exit == .code(0), "\(more.output)")
                let fewer = try await deployment.command("scale", "worker=1", "frontend=1")
                for name in ["worker-1", "worker-2", "frontend-1"] {
                    #expect(fewer.output.contains("remove  \(name)\n"), "\(fewer.output)")
                }
                #expect(fewer.exit == .code(0), "\(fewer.output)")
                // The number holds for a change of something else.
                let applied = try await deployment.command("apply")
                #expect(applied.output.contains("nothing to change: 2 processes run"), "\(applied.output)")
            }
            #expect(totals.failures == [])
            #expect(totals.requests > 60, "\(totals)")

            let nothing = try await deployment.command("scale", "worker=0", "frontend=0")
            #expect(nothing.exit == .code(1) && nothing.output.contains("the public port needs a frontend"))
            let none = try await deployment.command("scale", "worker=0", "--dry-run").output
            #expect(none.contains("note    no replica of worker is left: a model that only it serves"), "\(none)")
            let misspelt = try await deployment.command("scale", "wrker=2").output
            #expect(misspelt.hasSuffix("there is no process 'wrker'; did you mean 'worker'?\nnothing was changed\n"))
            let wrong = try await deployment.command("scale", "worker-0=2")
            #expect(
                wrong.exit == .code(1) && wrong.output.contains("'worker-0' is one replica; its process is 'worker'")
            )
            let unknown = try await deployment.command("signal", "USR7", "worker")
            #expect(unknown.exit == .code(1) && unknown.output.contains("did you mean SIGUSR1?"), "\(unknown.output)")
            let dry = try await deployment.command("signal", "kill", "worker", "--dry-run")
            #expect(dry.exit == .code(0) && dry.output.hasPrefix("SIGKILL  worker-0, pid "), "\(dry.output)")
            let killed = try await deployment.command("signal", "kill", "worker")
            #expect(killed.output.hasPrefix("worker-0: SIGKILL sent to pid "), "\(killed.output)")
            try await eventually(within: .seconds(10), "it is started again") {
                try await deployment.command("status").output.contains("embedded: ready, 2 of 2 ready")
            }
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
