import Deployment
import Foundation
import Logging
import Supervisor
import Synchronization
import TestSupport

/// Whoever migrates, played by a test: each status is what the test says, behind a real control socket.
final class ScriptedMigrations: MigrationControl {
    private struct State {
        var status: MigrationStatus?
        var readers: [AsyncStream<MigrationStatus>.Continuation] = []
        var requests: [MigrationRequest] = []
        var commands: [MigrationCommand] = []
        var refusal: MigrationRefusal?
    }

    private let state = Mutex(State())

    var requests: [MigrationRequest] { self.state.withLock { $0.requests } }
    var commands: [MigrationCommand] { self.state.withLock { $0.commands } }

    /// From now on everything is refused so, or nothing.
    func refuse(_ refusal: MigrationRefusal?) { self.state.withLock { $0.refusal = refusal } }

    /// What the migration is at now; its end ends what followers read.
    func say(_ step: MigrationStep, _ change: (inout MigrationStatus) -> Void = { _ in }) {
        self.state.withLock { state in
            var status = state.status ?? Self.first
            status.step = step
            (status.detail, status.next, status.nextIn) = (nil, nil, nil)
            change(&status)
            state.status = status
            for reader in state.readers { reader.yield(status) }
            guard step.isEnd else { return }
            for reader in state.readers { reader.finish() }
            state.readers = []
        }
    }

    /// Two complete generations.
    static let first = MigrationStatus(
        id: 1,
        from: .init(number: 1, requestPlane: "tcp", manifest: "/etc/chat.yaml", ready: 2, replicas: 2),
        to: .init(number: 2, requestPlane: "nats", manifest: "/etc/chat.yaml", ready: 0, replicas: 2),
        strategy: .blueGreen,
        step: .preparing,
        stages: 2
    )

    func outline(_ request: MigrationRequest) async throws(MigrationRefusal) -> MigrationOutline {
        try self.accept { $0.requests.append(request) }
        return MigrationOutline(
            from: "generation 1 (tcp)",
            to: "generation 2 (nats)",
            strategy: request.strategy ?? .blueGreen,
            steps: ["start 2 processes", "give them 5 % of the requests"],
            needs: ["nats-server"],
            gap: nil,
            notes: ["the model is loaded twice"]
        )
    }

    func migrate(_ request: MigrationRequest) async throws(MigrationRefusal) -> AsyncStream<MigrationStatus> {
        try self.accept {
            $0.requests.append(request)
            $0.status = Self.first
        }
        return self.reader()
    }

    func command(_ command: MigrationCommand) async throws(MigrationRefusal) -> MigrationStatus {
        try self.accept { $0.commands.append(command) }
        return self.state.withLock { $0.status ?? Self.first }
    }

    func status() async -> MigrationStatus? { self.state.withLock { $0.status } }

    func follow() async -> AsyncStream<MigrationStatus>? {
        self.state.withLock { $0.status?.step.isEnd ?? true } ? nil : self.reader()
    }

    func history() async -> [MigrationRecord] {
        [
            MigrationRecord(
                id: 1,
                began: "2026-01-02T03:04:05Z",
                ended: "2026-01-02T03:05:05Z",
                from: "1 (tcp)",
                to: "2 (nats)",
                strategy: .blueGreen,
                step: .rolledBack,
                reason: "canary failed"
            )
        ]
    }

    private func accept(_ change: (inout State) -> Void) throws(MigrationRefusal) {
        let refusal = self.state.withLock { state in
            if state.refusal == nil { change(&state) }
            return state.refusal
        }
        if let refusal { throw refusal }
    }

    private func reader() -> AsyncStream<MigrationStatus> {
        let (stream, continuation) = AsyncStream.makeStream(of: MigrationStatus.self)
        self.state.withLock { state in
            state.readers.append(continuation)
            if let status = state.status { continuation.yield(status) }
        }
        return stream
    }
}

/// A deployment named `chat` of one process, whose migrations a test plays.
struct ScriptedDeployment: Sendable {
    let migrations: ScriptedMigrations
    let supervisor: Supervisor
    let environment: [String: String?]
    let directory: URL

    /// Runs it for as long as the body does.
    static func run(
        canMigrate: Bool = true,
        _ body: (ScriptedDeployment) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let migrations = ScriptedMigrations()
            let plan = Self.plan(directory.path())
            let supervisor = Supervisor(
                plan: plan,
                requestPlaneProbe: { _, _, _ in .success },
                logs: { _ in },
                notices: { _ in },
                migrations: canMigrate ? migrations : nil,
                logger: Logger(label: "test")
            )
            let deployment = ScriptedDeployment(
                migrations: migrations,
                supervisor: supervisor,
                environment: ["XDG_RUNTIME_DIR": directory.path(), "NO_COLOR": "1", "LC_ALL": "C.UTF-8"],
                directory: directory
            )
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = await supervisor.run() }
                let result: Result<Void, any Error>
                do {
                    let client = ControlClient(plan.directories)
                    try await eventually("it answers") { (try? await client.status()) != nil }
                    try await body(deployment)
                    result = .success(())
                } catch {
                    result = .failure(error)
                }
                supervisor.requestStop(now: true)
                try await group.waitForAll()
                try result.get()
            }
        }
    }

    private static func plan(_ folder: String) -> Plan {
        let worker = ReplicaPlan(
            process: "worker",
            name: "worker",
            role: .worker,
            executable: "/bin/sleep",
            arguments: ["1000"],
            environment: [],
            workingDirectory: "/tmp",
            ports: [],
            dependencies: [],
            readiness: [LayerProbe(layer: .alive, probe: .process)],
            timing: ProbeTiming(),
            restart: RestartPolicy(),
            stop: StopPlan(grace: 5)
        )
        return Plan(
            deployment: "chat",
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "test",
            discovery: .memory,
            publicAddress: HTTPAddress(host: "127.0.0.1", port: 8000),
            directories: DeploymentDirectories(
                state: FilePath.join(folder, "state"),
                runtime: FilePath.join(folder, "dynamo-launch/chat")
            ),
            replicas: [worker]
        )
    }

    private enum FilePath {
        static func join(_ folder: String, _ name: String) -> String {
            (folder.hasSuffix("/") ? String(folder.dropLast()) : folder) + "/" + name
        }
    }

    /// Runs a command to its end.
    func command(_ arguments: String...) async throws -> (output: String, exit: ProgramExit) {
        try await Launcher.run(arguments, environment: self.environment)
    }

    /// Starts a command, gives it to a body, and waits for its end.
    func follow(
        _ arguments: [String],
        _ body: (RunningProgram) async throws -> Void
    ) async throws -> (output: String, exit: ProgramExit) {
        let (output, exit) = try await withProgram(Launcher.path, arguments, environment: self.environment) { program in
            try await body(program)
            try await program.waitForExit()
            return program.output
        }
        return (output, exit)
    }
}
