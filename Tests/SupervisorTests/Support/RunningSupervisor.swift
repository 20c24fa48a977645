import Deployment
import Foundation
import Glibc
import Logging
import Synchronization
import TestSupport
import Testing

@testable import Supervisor

/// A folder that is removed with its content.
final class ScratchFolder: Sendable {
    let path: String

    init() {
        self.path = "/tmp/dl-\(UInt32.random(in: 0...UInt32.max))"
        mkdir(self.path, 0o700)
    }

    deinit { try? FileManager.default.removeItem(atPath: self.path) }
}

/// A supervisor that runs in the background of a test, with everything that it said.
final class RunningSupervisor: Sendable {
    let plan: Plan
    let supervisor: Supervisor
    let notices = Mutex<[SupervisorNotice]>([])
    let lines = Mutex<[LogLine]>([])
    let result = Mutex<SupervisorOutcome?>(nil)

    private init(
        plan: Plan,
        options: SupervisorOptions,
        requestPlane: @escaping RequestPlaneProbe,
        verification: Supervisor.Verification?,
        metrics: @escaping @Sendable (DeploymentStatus) -> String,
        renewPorts: Supervisor.RenewPorts?,
        migrations: (any MigrationControl)?
    ) {
        self.plan = plan
        let box = WeakBox()
        self.supervisor = Supervisor(
            plan: plan,
            options: options,
            requestPlaneProbe: requestPlane,
            onReady: verification,
            logs: { line in box.value.withLock { $0 }?.lines.withLock { $0.append(line) } },
            notices: { notice in box.value.withLock { $0 }?.notices.withLock { $0.append(notice) } },
            metrics: metrics,
            renewPorts: renewPorts,
            migrations: migrations,
            logger: Logger(label: "test")
        )
        box.value.withLock { $0 = self }
    }

    private final class WeakBox: Sendable {
        let value = Mutex<RunningSupervisor?>(nil)
    }

    /// Runs a plan for as long as the body does, then stops it.
    @discardableResult
    static func run(
        _ plan: Plan,
        options: SupervisorOptions = SupervisorOptions(),
        requestPlane: RequestPlaneProbe? = nil,
        verification: Supervisor.Verification? = nil,
        metrics: @escaping @Sendable (DeploymentStatus) -> String = { _ in "" },
        renewPorts: Supervisor.RenewPorts? = nil,
        migrations: (any MigrationControl)? = nil,
        body: (RunningSupervisor) async throws -> Void
    ) async throws -> SupervisorOutcome {
        let running = RunningSupervisor(
            plan: plan,
            options: options,
            requestPlane: requestPlane ?? { _, _, _ in .success },
            verification: verification,
            metrics: metrics,
            renewPorts: renewPorts,
            migrations: migrations
        )
        return try await withThrowingTaskGroup(of: SupervisorOutcome.self) { group in
            group.addTask {
                let outcome = await running.supervisor.run()
                running.result.withLock { $0 = outcome }
                return outcome
            }
            do {
                try await body(running)
            } catch {
                running.supervisor.requestStop(now: true)
                throw error
            }
            running.supervisor.requestStop(now: false)
            let outcome = try await group.next()
            return try #require(outcome)
        }
    }

    var isReady: Bool { self.notices.withLock { $0.contains { if case .ready = $0 { true } else { false } } } }
    var isEnded: Bool { self.result.withLock { $0 != nil } }
    var warnings: [String] {
        self.notices.withLock { $0.compactMap { if case .warning(let text) = $0 { text } else { nil } } }
    }

    func becomesReady(within limit: Duration = .seconds(20)) async throws {
        try await eventually(within: limit, "ready") { self.isReady || self.isEnded }
    }

    func ends(within limit: Duration = .seconds(20)) async throws {
        try await eventually(within: limit, "ended") { self.isEnded }
    }

    /// The pids with which a replica was started, oldest first.
    func pids(of replica: String) -> [Int32] {
        self.notices.withLock {
            $0.compactMap { if case .started(replica, let pid) = $0 { pid } else { nil } }
        }
    }

    func text(of replica: String) -> [String] {
        self.lines.withLock { $0.filter { $0.replica == replica }.map(\.text) }
    }
}

/// Whether a process runs (a zombie does not).
func isRunning(_ pid: Int32) -> Bool {
    ProcessTable.entry(of: pid).map { !$0.isZombie } ?? false
}

extension Plan {
    static func test(_ folder: ScratchFolder, _ replicas: [ReplicaPlan]) -> Plan {
        Plan(
            deployment: "test-\(folder.path.suffix(8))",
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "test",
            discovery: .memory,
            publicAddress: HTTPAddress(host: "127.0.0.1", port: 8000),
            directories: DeploymentDirectories(state: "\(folder.path)/state", runtime: "\(folder.path)/run"),
            replicas: replicas
        )
    }
}

extension ReplicaPlan {
    static func shell(
        _ name: String,
        _ script: String,
        role: Role = .worker,
        environment: [EnvironmentVariable] = [],
        ports: [PortPlan] = [],
        dependencies: [Dependency] = [],
        readiness: [LayerProbe] = [LayerProbe(layer: .alive, probe: .process)],
        timing: ProbeTiming = ProbeTiming(),
        restart: RestartPolicy = RestartPolicy(initialDelay: 0.05, maximumDelay: 0.2),
        stop: StopPlan = StopPlan(grace: 5)
    ) -> ReplicaPlan {
        ReplicaPlan(
            process: name,
            name: name,
            role: role,
            executable: "/bin/sh",
            arguments: ["-c", script],
            environment: [EnvironmentVariable(name: "PATH", value: "/usr/bin:/bin", source: .inherited)] + environment,
            workingDirectory: "/tmp",
            ports: ports,
            dependencies: dependencies,
            readiness: readiness,
            timing: timing,
            restart: restart,
            stop: stop
        )
    }
}

/// A process outside every supervisor, for tests that need a stranger.
///
/// Killed with the test.
final class Stranger: Sendable {
    let pid: Int32

    /// Starts `python3 -c script` (or another program) and waits for a line of output.
    init(_ arguments: [String]) throws {
        var pid: pid_t = 0
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var environment: [UnsafeMutablePointer<CChar>?] = [strdup("PATH=/usr/bin:/bin"), nil]
        defer { for word in environment { free(word) } }
        let error = posix_spawn(&pid, arguments[0], nil, nil, &words, &environment)
        try #require(error == 0)
        self.pid = pid
    }

    deinit {
        kill(self.pid, SIGKILL)
        var status: Int32 = 0
        waitpid(self.pid, &status, 0)
    }
}
