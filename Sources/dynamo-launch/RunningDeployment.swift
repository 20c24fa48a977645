import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Supervisor

/// Finds a deployment that runs on this machine.
struct RunningDeployment {
    let name: String
    let client: ControlClient
    /// Why its launcher did not answer, although there is one.
    private let trouble: ControlClient.Failure?

    /// The named deployment, or the only one that runs.
    ///
    /// - Parameters:
    ///   - name: nil for the only one.
    ///   - patience: how long it may take to come up; nil: it must run.
    /// - Returns: the deployment.
    /// - Throws: an exit code, after saying what is wrong.
    static func find(_ name: String?, waiting patience: Duration? = nil) async throws -> RunningDeployment {
        let root = DeploymentDirectories.runtimeRoot(environment: ProcessInfo.processInfo.environment, userID: getuid())
        let deadline = ContinuousClock.now + (patience ?? .zero)
        var running: [RunningDeployment] = []
        while true {
            // The others are not asked when the one is there: each of them may be slow to answer.
            if let name, let found = await self.look(for: name, under: root) { return try found.answering() }
            running = await self.all(under: root)
            guard running.isEmpty || name != nil, ContinuousClock.now < deadline else { break }
            try await Task.sleep(for: .milliseconds(50))
        }
        let orphans = self.orphans(name, under: root)
        guard let name else {
            switch running.count {
            case 1: return try running[0].answering()
            case 0 where !orphans.isEmpty:
                throw self.failure(orphans.map { "error: \($0.words)" }.joined(separator: "\n"))
            case 0:
                throw self.failure(
                    "error: no deployment runs here (looked under \(root)); start one with: dynamo-launch up"
                )
            default:
                let names = running.map(\.name).joined(separator: ", ")
                throw self.failure(
                    "error: several deployments run: \(names); name one of them (--deployment NAME, or NAME for status, top, logs, stop and others)"
                )
            }
        }
        if let orphan = orphans.first { throw self.failure("error: \(orphan.words)") }
        if KeptDeployments.names.contains(name) {
            let end =
                self.lostLauncher(of: name).map { "its launcher (pid \($0)) was killed, or crashed: " } ?? "it did: "
            throw self.failure(
                "error: no deployment '\(name)' runs; \(end)'dynamo-launch events \(name)' says how it ended, "
                    + "'dynamo-launch logs \(name)' what its processes wrote"
            )
        }
        let names = running.map(\.name)
        let hint =
            Spelling.nearest(to: name, among: names).map { "did you mean '\($0)'?" }
            ?? (names.isEmpty ? "none runs here (looked under \(root))" : "running: \(names.joined(separator: ", "))")
        throw self.failure("error: no deployment '\(name)' runs; \(hint)")
    }

    /// A deployment without a launcher that `stop` is meant for.
    ///
    /// - Parameter name: nil: the only one there is.
    /// - Returns: it; nil when the one that is meant has a launcher, or is not known.
    static func orphan(_ name: String?) async -> OrphanedDeployment? {
        let root = DeploymentDirectories.runtimeRoot(environment: ProcessInfo.processInfo.environment, userID: getuid())
        let orphans = self.orphans(name, under: root)
        guard orphans.count == 1 else { return nil }
        if name == nil, await !self.all(under: root).isEmpty { return nil }
        return orphans[0]
    }

    /// The named deployment, or all there are, whose launcher is gone and whose processes go on.
    static func orphans(_ name: String?) -> [OrphanedDeployment] {
        let environment = ProcessInfo.processInfo.environment
        return self.orphans(name, under: DeploymentDirectories.runtimeRoot(environment: environment, userID: getuid()))
    }

    private static func orphans(_ name: String?, under root: String) -> [OrphanedDeployment] {
        let names = name.map { [$0] } ?? (try? FileManager.default.contentsOfDirectory(atPath: root))?.sorted() ?? []
        return names.compactMap { OrphanedDeployment.find($0, under: root) }
    }

    /// The names of those that have a launcher, whether it answers or not; none is asked.
    static var names: [String] {
        let root = DeploymentDirectories.runtimeRoot(environment: ProcessInfo.processInfo.environment, userID: getuid())
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root))?.sorted() ?? []
        return names.filter { Self.client(of: $0, under: root).hasLauncher }
    }

    /// Those that have a launcher that takes questions; whether it answers is another matter.
    static func all() async -> [RunningDeployment] {
        let environment = ProcessInfo.processInfo.environment
        return await self.all(under: DeploymentDirectories.runtimeRoot(environment: environment, userID: getuid()))
    }

    /// Its status.
    ///
    /// - Throws: why its launcher does not answer.
    func status() async throws -> DeploymentStatus {
        if let trouble { throw trouble }
        return try await self.client.status()
    }

    /// Those whose control socket answers.
    private static func all(under root: String) async -> [RunningDeployment] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root))?.sorted() ?? []
        var running: [RunningDeployment] = []
        for name in names {
            if let found = await self.look(for: name, under: root) { running.append(found) }
        }
        return running
    }

    /// The launcher of a deployment that was killed, or crashed, and has no successor yet.
    static func lostLauncher(of name: String) -> Int32? {
        let environment = ProcessInfo.processInfo.environment
        return self.client(
            of: name,
            under: DeploymentDirectories.runtimeRoot(environment: environment, userID: getuid())
        ).lostLauncher
    }

    private static func client(of name: String, under root: String) -> ControlClient {
        ControlClient(socket: "\(root)/\(name)/control.sock")
    }

    private static func look(for name: String, under root: String) async -> RunningDeployment? {
        let client = self.client(of: name, under: root)
        guard !name.contains("/"), FileManager.default.fileExists(atPath: client.socket) else { return nil }
        do {
            _ = try await client.status()
            return RunningDeployment(name: name, client: client, trouble: nil)
        } catch let failure as ControlClient.Failure {
            return failure.isNotRunning ? nil : RunningDeployment(name: name, client: client, trouble: failure)
        } catch {
            return nil
        }
    }

    /// This deployment, if its launcher answered.
    private func answering() throws -> RunningDeployment {
        if let trouble { throw Self.failure("error: deployment \(self.name): \(trouble)") }
        return self
    }

    /// Whether its launcher still answers.
    var isRunning: Bool {
        get async { (try? await self.client.status()) != nil }
    }

    static func failure(_ message: String) -> ExitCode {
        Terminal.printError(message)
        return ExitCode(1)
    }

    /// Asks, and turns a failure into words and an exit code.
    func ask<Value>(_ question: (ControlClient) async throws -> Value) async throws -> Value {
        do {
            return try await question(self.client)
        } catch let failure as ControlClient.Failure {
            throw Self.failure("error: deployment \(self.name): \(failure)")
        }
    }
}
