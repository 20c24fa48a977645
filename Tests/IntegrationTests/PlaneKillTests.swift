import Deployment
import Foundation
import Supervisor
import TestSupport
import Testing

/// The worst days of deployments on the HTTP and NATS planes.
@Suite(.serialized) struct PlaneKillTests {
    /// Starts the embedded pair on a plane, with what else the manifest shall say.
    private static func run<Value: Sendable>(
        _ plane: String,
        nats: String = "managed",
        worker: String = "",
        _ body: (LaunchedDeployment) async throws -> Value
    ) async throws -> (value: Value, exit: ProgramExit) {
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "dynamo-launch.yaml")
            try """
            name: planes
            planes: \(plane)
            infrastructure: {nats: \(nats)}
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker, restart: {initialDelay: 200ms}\(worker)}
            """.write(to: file, atomically: true, encoding: .utf8)
            return try await Launcher.up([file.path()], body)
        }
    }

    private static func status(_ deployment: LaunchedDeployment) async throws -> DeploymentStatus {
        let (output, exit) = try await deployment.command("status", "planes", "--json")
        guard exit == .code(0) else { throw OutputMissing(text: "status", ended: true, output: output) }
        return try JSONDecoder().decode(DeploymentStatus.self, from: Data(output.utf8))
    }

    private static func replica(_ name: String, of deployment: LaunchedDeployment) async throws -> ReplicaStatus {
        try #require(try await self.status(deployment).replicas.first { $0.name == name })
    }

    private static func chat(_ deployment: LaunchedDeployment) async throws -> HTTPReply {
        try await HTTPRequests.post(
            "\(deployment.url)/v1/chat/completions",
            json: try Chat.body(model: "echo"),
            limit: 15
        )
    }

    @Test func `a killed NATS server is restarted, status says so, and nothing else is touched`() async throws {
        _ = try await Self.run("nats") { deployment in
            try await deployment.waitUntilReady()
            #expect(try await Self.chat(deployment).status == 200)
            let before = try await Self.status(deployment)
            let server = try #require(try await Self.replica("nats", of: deployment).pid)
            kill(server, SIGKILL)
            try await eventually("status does not call it ready meanwhile") {
                let now = try await Self.status(deployment)
                return now.state == .degraded && now.replicas.contains { $0.name == "nats" && $0.state != .ready }
            }
            try await eventually("it runs again, and the deployment is ready") {
                let now = try await Self.status(deployment)
                return now.state == .ready && now.replicas.contains { $0.name == "nats" && $0.restarts == 1 }
            }
            // Both ends connect again by themselves; a request may find nobody before the worker has.
            try await eventually("requests are answered again") { try await Self.chat(deployment).status == 200 }
            let after = try await Self.status(deployment)
            for name in ["frontend", "worker"] {
                let pids = [before, after].map { $0.replicas.first { $0.name == name }?.pid }
                #expect(pids[0] != nil && pids[0] == pids[1], "\(name) was restarted")
            }
            let worker = try #require(after.replicas.first { $0.name == "worker" })
            let system = try #require(worker.ports.first { $0.name == "system" }?.port)
            let metrics = try await HTTPRequests.get("http://127.0.0.1:\(system)/metrics").text
            #expect(metrics.contains("dynamo_component_nats_connected 1\n"), "\(metrics)")
            #expect(metrics.contains("dynamo_component_nats_reconnects_total 1\n"), "\(metrics)")
            #expect(metrics.contains("transport=\"nats\""), "\(metrics)")
        }
    }

    @Test(arguments: ["http", "nats"])
    func `a killed worker is replaced`(_ plane: String) async throws {
        _ = try await Self.run(plane) { deployment in
            try await deployment.waitUntilReady()
            let worker = try #require(try await Self.replica("worker", of: deployment).pid)
            kill(worker, SIGKILL)
            try await eventually("the deployment is ready again, with another worker") {
                let now = try await Self.status(deployment)
                let replica = now.replicas.first { $0.name == "worker" }
                return now.state == .ready && replica?.restarts == 1 && replica?.pid != worker
            }
            try await eventually("requests are answered again") { try await Self.chat(deployment).status == 200 }
        }
    }

    @Test func `two workers share a machine on the HTTP plane, and one may die`() async throws {
        _ = try await Self.run("http", worker: ", replicas: 2") { deployment in
            try await deployment.waitUntilReady()
            let workers = try await Self.status(deployment).replicas.filter { $0.process == "worker" }
            #expect(workers.count == 2)
            #expect(workers.allSatisfy { $0.state == .ready && $0.restarts == 0 })
            for _ in 0..<6 { #expect(try await Self.chat(deployment).status == 200) }
            // Both have answered, so they do not listen on one port.
            for worker in workers {
                let system = try #require(worker.ports.first { $0.name == "system" }?.port)
                let metrics = try await HTTPRequests.get("http://127.0.0.1:\(system)/metrics").text
                let lines = metrics.split(separator: "\n")
                let plane = lines.first { $0.hasPrefix("dynamo_component_endpoint_transport_info{") }
                #expect(plane?.contains("transport=\"http\"") == true, "\(metrics)")
                let line = lines.first { $0.hasPrefix("dynamo_component_requests_total{") }
                #expect(line.flatMap { Int($0.split(separator: " ").last ?? "") } ?? 0 >= 3, "\(metrics)")
            }
            kill(try #require(workers.first?.pid), SIGKILL)
            try await eventually("the other one answers alone") { try await Self.chat(deployment).status == 200 }
        }
    }

    @Test(arguments: ["http", "nats"])
    func `a stop lets a running answer end`(_ plane: String) async throws {
        let (_, exit) = try await Self.run(plane) { deployment in
            try await deployment.waitUntilReady()
            let words = (1...200).map(String.init).joined(separator: " ")
            let body = try Chat.body(model: "echo", prompt: words, tokens: 200, stream: true)
            async let answer = HTTPRequests.post("\(deployment.url)/v1/chat/completions", json: body)
            try await eventually("the request runs") {
                try await HTTPRequests.get("\(deployment.url)/metrics").text.split(separator: "\n").contains {
                    $0.hasPrefix("dynamo_frontend_inflight_requests") && $0.hasSuffix(" 1")
                }
            }
            deployment.program.send(SIGTERM)
            let events = Chat.events(of: try await answer)
            #expect(events.last == "[DONE]")
            #expect(events.count > 200)
            try await deployment.program.waitForExit()
        }
        #expect(exit == .code(0))
    }

    @Test func `a killed launcher leaves no NATS server`() async throws {
        let (server, exit) = try await Self.run("nats") { deployment in
            try await deployment.waitUntilReady()
            let server = try #require(try await Self.replica("nats", of: deployment).pid)
            deployment.program.send(SIGKILL)
            try await deployment.program.waitForExit()
            return server
        }
        #expect(exit == .signal(SIGKILL))
        #expect(!SystemProcesses.isRunning(server))
    }

    @Test func `a taken port of the NATS server is an error that names it`() async throws {
        try await NATSServerFixture.run { other in
            let ((output, started), exit) = try await Self.run("nats", nats: "{managed: true, port: \(other.port)}") {
                deployment in
                try await deployment.program.waitForExit()
                return (deployment.program.output, deployment.processes)
            }
            #expect(exit == .code(1))
            #expect(output.contains("\(other.port)"), "\(output)")
            #expect(output.contains("nats-server"), "\(output)")
            #expect(output.contains("pid \(other.process.pid)"), "\(output)")
            #expect(started == [])
        }
    }

    @Test func `an external NATS server that is down is an error that names it, before anything starts`() async throws {
        let port = try freePort()
        let (output, exit) = try await Self.run("nats", nats: "nats://127.0.0.1:\(port)") { deployment in
            try await deployment.program.waitForExit()
            return deployment.program.output
        }
        #expect(exit == .code(1))
        #expect(output.contains("nats://127.0.0.1:\(port)"), "\(output)")
        #expect(!output.contains("frontend"), "\(output)")
    }

    @Test func `a deployment whose external NATS server is lost is not ready, says why, and is ready again with it`()
        async throws
    {
        let port = try freePort()
        let url = "nats://127.0.0.1:\(port)"
        let words = "nats at \(url) does not answer: "
        _ = try await withTemporaryDirectory { directory in
            let health = try freePort()
            let file = directory.appending(path: "dynamo-launch.yaml")
            try """
            name: planes
            planes: nats
            infrastructure: {nats: "\(url)"}
            gateway: {metrics: \(health)}
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker, restart: {initialDelay: 200ms}}
            """.write(to: file, atomically: true, encoding: .utf8)
            try await NATSServerFixture.run(port: port) { first in
                _ = try await Launcher.up([file.path()]) { deployment in
                    try await deployment.waitUntilReady()
                    #expect(try await Self.chat(deployment).status == 200)
                    let service = ExternalServiceStatus(name: "nats", url: url)
                    #expect(try await Self.status(deployment).externalServices == [service])
                    first.process.send(SIGKILL)
                    try await eventually(within: .seconds(20), "it is not called ready") {
                        try await Self.status(deployment).state == .degraded
                    }
                    let lost = try #require(try await Self.status(deployment).externalServices?.first)
                    #expect(lost.failure?.contains("refused") == true && lost.silentFor != nil, "\(lost)")
                    let text = try await deployment.command("status", "planes").output
                    #expect(text.contains("nats at \(url) has not answered for "), "\(text)")
                    #expect(deployment.program.output.contains(words), "\(deployment.program.output)")
                    let ready = try await HTTPRequests.get("http://127.0.0.1:\(health)/ready")
                    #expect(ready.status == 503 && ready.text.contains("nats at \(url) has not answered"), "\(ready)")
                    let metrics = try await HTTPRequests.get("http://127.0.0.1:\(health)/metrics").text
                    #expect(metrics.contains("dynamo_launch_external_service_up{service=\"nats\"} 0"), "\(metrics)")
                    // A worker that ends without it would end again and again.
                    let before = try #require(try await Self.replica("worker", of: deployment).pid)
                    kill(before, SIGKILL)
                    try await eventually("the worker waits for the server") {
                        let worker = try await Self.replica("worker", of: deployment)
                        return worker.state == .waiting && worker.waitingFor == "nats at \(url) to answer"
                    }
                    let restart = try await deployment.command("restart", "frontend", "--deployment", "planes")
                    #expect(restart.exit == .code(1))
                    #expect(restart.output.contains("nats at \(url) does not answer, and"), "\(restart.output)")
                    try await NATSServerFixture.run(port: port) { _ in
                        try await eventually(within: .seconds(20), "it is ready again") {
                            try await Self.status(deployment).state == .ready
                        }
                        try await eventually(within: .seconds(20), "it serves again") {
                            try await Self.chat(deployment).status == 200
                        }
                        let worker = try await Self.replica("worker", of: deployment)
                        #expect(worker.restarts == 1 && worker.pid != before, "\(worker)")
                        let events = try await deployment.command("events", "planes").output
                        #expect(events.contains(words), "\(events)")
                        #expect(events.contains("nats at \(url) answers again, after "), "\(events)")
                    }
                }
            }
        }
    }

    @Test func `a worker that finds no NATS server ends with a code and says where it looked`() async throws {
        try await withTemporaryDirectory { directory in
            let port = try freePort()
            let program = TestEnvironment.products.appending(path: "dynamo-worker").path()
            let (output, exit) = try await withProgram(
                program,
                environment: [
                    "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": directory.path(), "DYN_REQUEST_PLANE": "nats",
                    "NATS_SERVER": "nats://127.0.0.1:\(port)", "DYN_SYSTEM_PORT": nil,
                ]
            ) { worker in
                try await worker.waitForExit()
                return worker.output
            }
            #expect(exit == .code(1))
            #expect(output.contains("127.0.0.1:\(port)"), "\(output)")
            #expect(output.contains("NATS"), "\(output)")
        }
    }

    @Test func `one frontend serves a model of a TCP, an HTTP and a NATS worker`() async throws {
        try await NATSServerFixture.run { server in
            try await withTemporaryDirectory { directory in
                func environment(_ plane: String, system: Int?) -> [String: String?] {
                    [
                        "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": directory.path(), "DYN_REQUEST_PLANE": plane,
                        "NATS_SERVER": server.url, "DYN_TCP_RPC_HOST": "127.0.0.1", "DYN_HTTP_RPC_HOST": "127.0.0.1",
                        "DYN_HTTP_RPC_PORT": "0", "DYN_NAMESPACE": nil, "DYN_SYSTEM_PORT": system.map(String.init),
                    ]
                }
                let ports = try (0..<4).map { _ in try freePort() }
                let products = TestEnvironment.products
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (plane, port) in zip(["tcp", "http", "nats"], ports) {
                        group.addTask {
                            let program = products.appending(path: "dynamo-worker").path()
                            _ = try await withProgram(program, environment: environment(plane, system: port)) {
                                try await $0.waitForExit(within: .seconds(60))
                            }
                        }
                    }
                    try await eventually(within: .seconds(20), "three workers serve") {
                        let folder = directory.appending(path: "v1/mdc").path()
                        return (try? FileManager.default.contentsOfDirectory(atPath: folder).count) == 3
                    }
                    _ = try await withProgram(
                        products.appending(path: "dynamo-frontend").path(),
                        ["--http-host", "127.0.0.1", "--http-port", "\(ports[3])"],
                        environment: environment("tcp", system: nil)
                    ) { _ in try await Self.askAll(frontend: ports[3], systems: Array(ports.prefix(3))) }
                    group.cancelAll()
                    while await group.nextResult() != nil {}
                }
            }
        }
    }

    /// Asks until every worker has answered, in turn.
    private static func askAll(frontend: Int, systems: [Int]) async throws {
        let url = "http://127.0.0.1:\(frontend)"
        func served() async throws -> [Int] {
            var counts: [Int] = []
            for system in systems {
                let text = try await HTTPRequests.get("http://127.0.0.1:\(system)/metrics").text
                let line = text.split(separator: "\n").first { $0.hasPrefix("dynamo_component_requests_total{") }
                counts.append(line.flatMap { Int($0.split(separator: " ").last ?? "") } ?? 0)
            }
            return counts
        }
        try await eventually(within: .seconds(20), "the frontend knows all three") {
            _ = try? await HTTPRequests.post("\(url)/v1/chat/completions", json: try Chat.body(model: "echo"))
            return try await served().allSatisfy { $0 > 0 }
        }
        let before = try await served()
        for _ in 0..<9 {
            let answer = try await HTTPRequests.post("\(url)/v1/chat/completions", json: try Chat.body(model: "echo"))
            #expect(answer.status == 200, "\(answer.text)")
        }
        #expect(try await zip(served(), before).map { $0 - $1 } == [3, 3, 3])
    }
}
