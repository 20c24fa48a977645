import Deployment
import Foundation
import Glibc
import NIOCore
import Supervisor
import Synchronization
import TestSupport
import Testing

/// The control socket of a running deployment, asked by its own client and by curl.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct ControlTests {
    private func plan(_ folder: ScratchFolder) -> Plan {
        let secret = EnvironmentVariable(name: "TOKEN", value: "s3cret", source: .manifest, secret: true)
        return .test(
            folder,
            [
                .shell("worker", "echo one; echo two >&2; exec sleep 1000", environment: [secret]),
                .shell("frontend", "echo three; exec sleep 1000", role: .frontend),
            ]
        )
    }

    @Test func statusWaitsUntilReady() async throws {
        let folder = ScratchFolder()
        let gate = "\(folder.path)/gate"
        var plan = self.plan(folder)
        plan.replicas[0].readiness.append(LayerProbe(layer: .health, probe: .exec(argv: ["test", "-e", gate])))
        let client = ControlClient(plan.directories)
        try await RunningSupervisor.run(plan) { running in
            try await eventually("socket") { (try? await client.status()) != nil }
            let early = try await client.status(waitingFor: .ready, timeout: .milliseconds(100))
            #expect(early.state == .starting)
            #expect(early.replicas[0].waitingFor == "health: exit code 1")
            #expect(early.replicas[1].state == .ready)
            async let waiting = client.status(waitingFor: .ready, timeout: .seconds(20))
            try Data().write(to: URL(fileURLWithPath: gate))
            let status = try await waiting
            #expect(status.state == .ready)
            #expect(status.replicas.map(\.name) == ["worker", "frontend"])
            #expect(status.replicas[0].reached.map(\.layer) == [.alive, .health])
            #expect(status.replicas[0].pid == running.pids(of: "worker").first)
            #expect(status.launcherPID == getpid())
            #expect(status.readyAfter != nil)
        }
        await #expect(throws: ControlClient.Failure.self) { try await client.status() }
    }

    @Test func metricsAreTextOfTheMoment() async throws {
        let folder = ScratchFolder()
        let plan = self.plan(folder)
        try await RunningSupervisor.run(plan, metrics: { "replicas \($0.replicas.count) \($0.state.rawValue)\n" }) {
            running in
            try await running.becomesReady()
            let socket = HTTPTarget.unix(path: plan.directories.controlSocket)
            let answer = try await HTTPClient.send(HTTPRequest(target: socket, path: "/metrics"), timeout: .seconds(5))
            #expect(answer.status == 200 && String(buffer: answer.body) == "replicas 2 ready\n")
            let post = HTTPRequest(target: socket, method: "POST", path: "/metrics")
            #expect(try await HTTPClient.send(post, timeout: .seconds(5)).status == 405)
        }
    }

    @Test func stopAnswersWhenAllIsStopped() async throws {
        let folder = ScratchFolder()
        let plan = self.plan(folder)
        let client = ControlClient(plan.directories)
        try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            try await eventually("socket") { (try? await client.status()) != nil }
            let status = try await client.stop()
            #expect(status.state == .stopped)
            #expect(status.replicas.allSatisfy { $0.state == .stopped && $0.pid == nil })
            try await running.ends()
        }
        #expect(access(plan.directories.controlSocket, F_OK) != 0)
    }

    @Test func logsOfThePastAndTheFuture() async throws {
        let folder = ScratchFolder()
        let plan = self.plan(folder)
        let client = ControlClient(plan.directories)
        try await RunningSupervisor.run(plan) { running in
            try await eventually("three lines") { running.lines.withLock { $0.count } == 3 }
            try await eventually("socket") { (try? await client.status()) != nil }
            let past = Mutex<[LogLine]>([])
            try await client.logs(of: "worker") { line in past.withLock { $0.append(line) } }
            #expect(past.withLock { $0.map(\.text).sorted() } == ["one", "two"])
            #expect(past.withLock { $0.first { $0.text == "two" }?.stream } == .stderr)

            let followed = Collected()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await client.logs(lines: 0, follow: true) { line in
                        followed.texts.withLock { $0.append(line.text) }
                    }
                }
                // The restart after this writes both lines again.
                try await eventually("followed") {
                    if followed.texts.withLock({ $0.isEmpty }) { kill(running.pids(of: "worker").last!, SIGKILL) }
                    return followed.texts.withLock { $0.contains("one") && $0.contains("two") }
                }
                group.cancelAll()
            }
        }
    }

    @Test func curlIsAClient() async throws {
        let folder = ScratchFolder()
        let plan = self.plan(folder)
        try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            let socket = plan.directories.controlSocket
            try await eventually("socket") { access(socket, F_OK) == 0 }
            var information = stat()
            stat(socket, &information)
            try await eventually("private") { stat(socket, &information) == 0 && information.st_mode & 0o777 == 0o600 }

            let text = try await curl(socket, "/v1/plan")
            #expect(text.contains("\"deployment\" : \"\(plan.deployment)\""))
            #expect(!text.contains("s3cret"))
            let unknown = try await curl(socket, "/v2/status")
            #expect(unknown.contains("there is no GET /v2/status") && unknown.contains("GET /v1/status"))
            let method = try await curl(socket, "/v1/status", "-X", "DELETE", "-w", "%{http_code}")
            #expect(method.contains("there is no DELETE /v1/status") && method.hasSuffix("405"))
            let head = try await curl(socket, "/v1/status", "--head")
            #expect(head.contains("405") && head.lowercased().contains("allow: get"))
            let process = try await curl(socket, "/v1/logs?process=nobody")
            #expect(process.contains("there is no process 'nobody'; there are: frontend, worker"))
            let lines = try await curl(socket, "/v1/logs?process=frontend&lines=1")
            #expect(
                lines.contains(
                    "\"process\":\"frontend\",\"replica\":\"frontend\",\"stream\":\"stdout\",\"message\":\"three\"}"
                )
            )
            let body = try await curl(socket, "/v1/stop", "-d", "soon")
            #expect(body.contains("the body must be a JSON object"))
            let long = try await curl(socket, "/v1/stop", "-d", String(repeating: " ", count: (64 << 10) + 1))
            #expect(long.contains("the body is larger than 65536 bytes"))
            let timeout = try await curl(socket, "/v1/status?wait=ready&timeout=soon")
            #expect(timeout.contains("timeout is a number of seconds, not 'soon'"))
            let wait = try await curl(socket, "/v1/status?wait=never")
            #expect(wait.contains("wait can be 'ready' or 'stopped', not 'never'"))
            #expect(!running.isEnded)
            #expect(
                try await curl(socket, "/v1/stop?wait=false", "-d", "{\"now\":true}").contains("\"state\" : \"stopp")
            )
            try await running.ends()
        }
    }

    @Test func secretsStayOutOfTheFileBesideTheLog() async throws {
        let folder = ScratchFolder()
        var plan = self.plan(folder)
        plan.replicas[0].arguments += ["--token=s3cret", "--url", "http://ada:hunter2@example.org/"]
        try await RunningSupervisor.run(plan) { try await $0.becomesReady() }
        let text = try String(contentsOfFile: "\(folder.path)/state/logs/worker.command.json", encoding: .utf8)
        #expect(!text.contains("s3cret") && text.contains("\"TOKEN\" : \"***\""))
        #expect(text.contains("\"--token=***\"") && text.contains("\"http://***@example.org/\""), "\(text)")
        #expect(text.contains("\"/bin/sh\",\n    \"-c\","))
    }

    @Test func theProcessesOfAKilledLauncherAreWaitedFor() async throws {
        let folder = ScratchFolder()
        let plan = self.plan(folder)
        try FileManager.default.createDirectory(atPath: plan.directories.runtime, withIntermediateDirectories: true)
        let lock = "\(plan.directories.runtime)/lock"
        // Holds the lock for a launcher that is gone, as its keeper does.
        let code = """
            import fcntl, time
            file = open('\(lock)', 'w'); file.write('99999999\\n'); file.flush()
            fcntl.flock(file, fcntl.LOCK_EX); open('\(folder.path)/held', 'w').close(); time.sleep(0.7)
            """
        let holder = try Stranger(["/usr/bin/python3", "-c", code])
        try await eventually("held") { access("\(folder.path)/held", F_OK) == 0 }
        let before = ContinuousClock.now
        try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            #expect(running.isReady)
            #expect(ContinuousClock.now - before > .milliseconds(300))
        }
        withExtendedLifetime(holder) {}
    }

    @Test func aSocketWhosePathIsTooLongIsSaid() async throws {
        let folder = ScratchFolder()
        var plan = self.plan(folder)
        plan.directories.runtime = "\(folder.path)/\(String(repeating: "x", count: 100))"
        try await RunningSupervisor.run(plan) { running in
            try await eventually("said") {
                running.warnings.contains { $0.contains("its path is longer than 107 bytes") }
            }
        }
    }

    @Test func aSocketLeftByAKilledLauncherIsReplaced() async throws {
        let folder = ScratchFolder()
        let plan = self.plan(folder)
        try FileManager.default.createDirectory(atPath: plan.directories.runtime, withIntermediateDirectories: true)
        try Data("stale".utf8).write(to: URL(fileURLWithPath: plan.directories.controlSocket))
        try Data("99999999\n".utf8).write(to: URL(fileURLWithPath: "\(plan.directories.runtime)/lock"))
        let client = ControlClient(plan.directories)
        try await RunningSupervisor.run(plan) { _ in
            try await eventually("socket") { (try? await client.status()) != nil }
        }
    }
}

private func curl(_ socket: String, _ path: String, _ more: String...) async throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/curl")
    process.arguments = ["-s", "--max-time", "10", "--unix-socket", socket, "http://localhost\(path)"] + more
    let pipe = Foundation.Pipe()
    process.standardOutput = pipe
    try process.run()
    let data = try #require(try pipe.fileHandleForReading.readToEnd())
    process.waitUntilExit()
    return String(decoding: data, as: UTF8.self)
}

/// What a stream of lines brought, for a task beside the test.
private final class Collected: Sendable {
    let texts = Mutex<[String]>([])
}
