import Deployment
import Foundation
import Rollout
import Supervisor
import TestSupport
import Testing

/// Deployments whose public port is served by a process of its own (`survive: true`), as real programs.
@Suite(.serialized) struct SurvivingPortTests {
    private static let slow = #"processes.worker.args=[--engine, echo, --model-name, "{{model}}", --rate, 40]"#
    private static let words = (0..<60).map(String.init).joined(separator: " ")

    private func up<Value: Sendable>(
        _ more: [String] = [],
        _ body: (LaunchedDeployment) async throws -> Value
    ) async throws -> (value: Value, exit: ProgramExit) {
        try await Launcher.up(["--set", "survive=true"] + more, body)
    }

    private func status(_ deployment: LaunchedDeployment) async throws -> DeploymentStatus {
        let json = try await deployment.command("status", "--json")
        return try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.output.utf8))
    }

    private func pid(_ deployment: LaunchedDeployment) async throws -> Int32 {
        try #require(try await self.status(deployment).gateway?.pid)
    }

    private func stream(_ deployment: LaunchedDeployment) async throws -> [String] {
        let json = try Chat.body(model: "echo", prompt: Self.words, tokens: 60, stream: true)
        return Chat.events(of: try await HTTPRequests.post(deployment.url + "/v1/chat/completions", json: json))
    }

    @Test func `traffic goes on while the launcher stands still`() async throws {
        let (_, exit) = try await self.up(["--set", Self.slow]) { deployment in
            try await deployment.waitUntilReady()
            let pid = try await self.pid(deployment)
            #expect(pid != deployment.program.pid)
            #expect(SystemProcesses.command(of: pid).contains("serve-public-port"))
            let status = try await deployment.command("status").output
            #expect(status.contains("gateway (pid \(pid))"), "\(status)")
            try await withThrowingTaskGroup(of: [String].self) { group in
                for _ in 0..<8 {
                    group.addTask { try await self.stream(deployment) }
                }
                try await eventually("all of them are under way") {
                    try await self.status(deployment).gateway?.inFlight == 8
                }
                deployment.program.send(SIGSTOP)
                defer { deployment.program.send(SIGCONT) }
                // Those that run end whole, and others come and go, while nobody is there to say anything.
                for try await events in group { #expect(events.last == "[DONE]", "\(events)") }
                #expect(try await self.stream(deployment).last == "[DONE]")
            }
            let requests = try await self.status(deployment).gateway?.backends.first?.requests ?? 0
            #expect(requests >= 9)
        }
        #expect(exit == .code(0))
    }

    /// A deployment that has no launcher any more, and clients of it, which lose nothing.
    private func withoutLauncher(
        _ name: String,
        _ body: (KilledDeployment, PublicClients) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let manifest = """
                name: \(name)
                survive: true
                processes:
                  frontend: {builtin: frontend}
                  worker: {builtin: worker}
                """
            let deployment = try KilledDeployment(name, in: directory, manifest: manifest)
            let clients = PublicClients(port: deployment.port)
            let result: Result<Void, any Error>
            do {
                try await self.launch(deployment) { _ in }
                try await clients.run(8) {
                    try await clients.answers(20)
                    try await body(deployment, clients)
                    try await clients.answers(20)
                }
                result = .success(())
            } catch { result = .failure(error) }
            let (said, exit) = try await deployment.command("stop", name)
            #expect(exit == .code(0), "\(said)")
            try await deployment.waitUntilGone()
            try result.get()
            #expect(clients.counts.refused == [] && clients.counts.lost == [])
        }
    }

    /// Runs a launcher until it is ready, and kills it after the body.
    private func launch(_ deployment: KilledDeployment, _ body: (RunningProgram) async throws -> Void) async throws {
        try await deployment.up { program in
            try await program.waitForOutput("ready in ")
            try await body(program)
            program.send(SIGKILL)
            try await program.waitForExit()
        }
    }

    @Test func `traffic goes on without any launcher, through the next one, and through an upgrade`() async throws {
        try await self.withoutLauncher("headless") { deployment, clients in
            var pids: Set<Int32?> = []
            try await self.launch(deployment) { program in
                pids.insert(try await deployment.client.status().gateway?.pid)
                try await clients.answers(20)
                let (said, exit) = try await deployment.command("upgrade", "headless")
                #expect(exit == .code(0), "\(said)")
                try await clients.answers(20)
                pids.insert(try await deployment.client.status().gateway?.pid)
                #expect(program.output.contains("served by pid"), "\(program.output)")
            }
            try await clients.answers(20)
            try await self.launch(deployment) { _ in
                pids.insert(try await deployment.client.status().gateway?.pid)
                try await clients.answers(20)
            }
            #expect(pids.count == 1 && pids.first != nil, "\(pids)")
        }
    }

    @Test func `the process is started again when it is killed, and connections wait`() async throws {
        let (output, exit) = try await self.up { deployment in
            try await deployment.waitUntilReady()
            let clients = PublicClients(port: deployment.port)
            try await clients.run(4) {
                try await clients.answers(20)
                for _ in 0..<2 {
                    let pid = try await self.pid(deployment)
                    kill(pid, SIGKILL)
                    try await eventually("another one serves") {
                        guard let other = try await self.status(deployment).gateway?.pid else { return false }
                        return other != pid
                    }
                    try await clients.answers(20)
                }
            }
            #expect(clients.counts.refused == [])
            // What the killed process had in its hands is lost with it, two requests of each client at most.
            #expect(clients.counts.lost.count <= 8, "\(clients.counts.lost)")
            return try await deployment.command("events").output
        }
        #expect(output.contains("it is started again, and connections wait"), "\(output)")
        #expect(exit == .code(0))
    }

    @Test func `a migration moves the requests behind it, and none is lost`() async throws {
        let (_, exit) = try await self.up([
            "--set", "migration={steps: [50, 100], observe: 1s, rollbackWindow: 0s}",
        ]) { deployment in
            try await deployment.waitUntilReady()
            let pid = try await self.pid(deployment)
            let clients = PublicClients(port: deployment.port)
            try await clients.run(8) {
                try await clients.answers(20)
                let migration = try await Launcher.run(
                    ["migrate", "--to", "http"],
                    environment: deployment.environment,
                    within: .seconds(90)
                )
                #expect(migration.exit == .code(0), "\(migration.output)")
                try await clients.answers(20)
            }
            #expect(clients.counts.refused == [] && clients.counts.lost == [])
            let status = try await self.status(deployment)
            #expect(status.generation == 2 && status.gateway?.pid == pid)
            let counted = Set(status.gateway?.backends.filter { $0.requests > 0 }.map(\.generation) ?? [])
            #expect(counted == [1, 2])
        }
        #expect(exit == .code(0))
    }

    @Test func `an answer that is under way is finished when the deployment is stopped`() async throws {
        let (events, exit) = try await self.up(["--set", Self.slow]) { deployment in
            try await deployment.waitUntilReady()
            return try await withThrowingTaskGroup(of: [String].self) { group in
                group.addTask { try await self.stream(deployment) }
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

    @Test func `nobody starts it by hand`() async throws {
        let (output, exit) = try await Launcher.run(["serve-public-port"])
        #expect(exit == .code(1) && output.contains("not by hand"), "\(output)")
        #expect(!(try await Launcher.run(["--help"])).output.contains("serve-public-port"))
    }
}
