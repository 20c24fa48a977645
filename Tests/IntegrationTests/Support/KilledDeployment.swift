import Deployment
import Foundation
import Rollout
import Supervisor
import Synchronization
import TestSupport
import Testing

/// A deployment whose launcher is killed and started again by a test, each time with the same folders, port and arguments.
struct KilledDeployment: Sendable {
    let name: String
    let directory: URL
    let port: Int
    let arguments: [String]

    /// - Parameters:
    ///   - name: of the deployment, as in the manifest.
    ///   - directory: a fresh folder.
    ///   - manifest: its text.
    /// - Throws: when it cannot be written, or no port is free.
    init(_ name: String, in directory: URL, manifest: String) throws {
        self.name = name
        self.directory = directory
        self.port = try freePort()
        let file = directory.appending(path: "\(name).yaml")
        try manifest.write(to: file, atomically: true, encoding: .utf8)
        self.arguments = [file.path()]
    }

    var manifest: URL { URL(filePath: self.arguments[0]) }
    /// Of the deployment: the runtime folder is the same one.
    var state: String { "\(self.directory.path())/dynamo-launch/\(self.name)" }
    var client: ControlClient { ControlClient(socket: "\(self.state)/control.sock") }
    var url: String { "http://127.0.0.1:\(self.port)" }

    var environment: [String: String?] {
        [
            "XDG_STATE_HOME": self.directory.path(), "XDG_RUNTIME_DIR": self.directory.path(),
            "DYN_HTTP_PORT": "\(self.port)", "DYN_TCP_RPC_HOST": nil, "NO_COLOR": "1",
        ]
    }

    /// Starts `up`; when the body has ended the launcher is stopped, if it still runs.
    func up(
        _ more: [String] = [],
        environment: [String: String?] = [:],
        body: (RunningProgram) async throws -> Void
    ) async throws {
        _ = try await withProgram(
            Launcher.path,
            ["up"] + self.arguments + more,
            environment: self.environment.merging(environment) { $1 },
            workingDirectory: self.directory.path()
        ) { program in
            do { try await body(program) } catch {
                throw DeploymentFailure(error: error, output: String(program.output.suffix(6000)))
            }
        }
    }

    /// Writes the manifest anew.
    func write(_ manifest: String) throws {
        try manifest.write(to: self.manifest, atomically: true, encoding: .utf8)
    }

    /// Runs another subcommand against it.
    func command(_ arguments: String...) async throws -> (output: String, exit: ProgramExit) {
        try await Launcher.run(arguments, environment: self.environment)
    }

    /// Waits until nothing of any generation runs.
    func waitUntilGone() async throws {
        try await eventually(within: .seconds(8), "nothing of \(self.name) is left: \(self.left)") { self.left.isEmpty }
    }

    private var mark: String { "XDG_STATE_HOME=\(self.directory.path())" }

    private var left: [String] {
        SystemProcesses.withEnvironment(containing: self.mark).map { "\($0) \(SystemProcesses.command(of: $0))" }
    }

    /// The replicas whose processes run, such as `kill@2/worker`, each as often as it runs.
    var replicas: [String] { self.replicas(under: self.directory) }

    /// The same, with a state folder of its own.
    func replicas(under state: URL) -> [String] { self.processes(under: state).map(\.replica).sorted() }

    /// The replicas that run, each with the number of its process.
    var pids: [String: Int32] {
        Dictionary(self.processes(under: self.directory).map { ($0.replica, $0.pid) }) { first, _ in first }
    }

    private func processes(under state: URL) -> [(replica: String, pid: Int32)] {
        SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(state.path())").compactMap { pid in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/environ") else { return nil }
            let prefix = "DYNAMO_LAUNCH_REPLICA="
            return String(decoding: data, as: UTF8.self).split(separator: "\0").first { $0.hasPrefix(prefix) }
                .map { (String($0.dropFirst(prefix.count)), pid) }
        }
    }

    /// What `replicas` is when one generation of a frontend and a worker runs.
    func replicas(of generation: Int) -> [String] {
        let holder = generation == 1 ? self.name : "\(self.name)@\(generation)"
        return ["\(holder)/frontend", "\(holder)/worker"]
    }

    /// What the journal's records come to.
    var history: MigrationHistory {
        get throws { try MigrationJournal.history(folder: self.state) }
    }

    /// Waits until a step of a migration was written to the journal.
    ///
    /// - Parameters:
    ///   - step: which one.
    ///   - migration: of which migration.
    ///   - offset: where the migration's records may begin.
    ///   - isBrief: whether the step is over at once, so that there is no time to pause between two looks.
    ///   - refusal: why there will be none, as soon as that is known.
    /// - Throws: when it does not come.
    func waitForRecord(
        _ step: MigrationStep,
        of migration: Int,
        after offset: UInt64 = 0,
        isBrief: Bool = false,
        unless refusal: () -> String?
    ) async throws {
        let wanted = Data("\"step\":\"\(step.rawValue)\"".utf8)
        let kind = Data("{\"kind\":\"step\",\"migration\":\(migration),".utf8)
        let deadline = ContinuousClock.now + .seconds(40)
        while true {
            if let refusal = refusal() { throw ConditionNotMet(what: "\(self.name): \(refusal)", limit: .zero) }
            if let file = FileHandle(forReadingAtPath: "\(self.state)/\(MigrationJournal.fileName)") {
                try file.seek(toOffset: offset)
                let bytes = try file.readToEnd() ?? Data()
                try file.close()
                let lines = bytes.split(separator: UInt8(ascii: "\n"))
                if lines.contains(where: { $0.starts(with: kind) && $0.range(of: wanted) != nil }) { return }
            }
            guard ContinuousClock.now < deadline else {
                throw ConditionNotMet(
                    what: "\(self.name): \(step.rawValue) of migration \(migration)",
                    limit: .seconds(40)
                )
            }
            if isBrief { await Task.yield() } else { try await Task.sleep(for: .milliseconds(1)) }
        }
    }

    var journalLength: UInt64 {
        let attributes = try? FileManager.default.attributesOfItem(atPath: "\(self.state)/\(MigrationJournal.fileName)")
        return attributes?[.size] as? UInt64 ?? 0
    }

    /// Sends a request to the public port and expects an answer.
    func expectAnswer(_ comment: String = "") async throws {
        let answer = try await HTTPRequests.post(
            "\(self.url)/v1/chat/completions",
            json: try Chat.body(model: "echo", tokens: 2)
        )
        #expect(answer.status == 200, "\(self.name): \(comment) \(answer.text)")
    }

    /// Begins a migration and follows it in the background while a body runs.
    ///
    /// - Parameters:
    ///   - request: what is wanted.
    ///   - body: gets a function that says why there will be no migration, once that is known.
    /// - Throws: what the body throws.
    func migrating(_ request: MigrationRequest, _ body: (@Sendable () -> String?) async throws -> Void) async throws {
        let refusal = Refusal()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                do { try await self.client.migrate(request) { _ in true } } catch {
                    if !(error is CancellationError) { refusal.text.withLock { $0 = "\(error)" } }
                }
            }
            defer { group.cancelAll() }
            try await body { refusal.text.withLock { $0 } }
        }
    }

    private final class Refusal: Sendable {
        let text = Mutex<String?>(nil)
    }
}
