import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Supervisor

/// Finds a deployment that runs on this machine.
struct RunningDeployment {
    let name: String
    let client: ControlClient

    /// The named deployment, or the only one that runs.
    ///
    /// - Parameters:
    ///   - name: nil for the only one.
    ///   - patience: how long it may take to come up; nil: it must run.
    /// - Returns: the deployment.
    /// - Throws: an exit code, after saying what is wrong.
    static func find(_ name: String?, waiting patience: Duration? = nil) async throws -> RunningDeployment {
        let root = DeploymentDirectories.runtimeRoot(environment: ProcessInfo.processInfo.environment, userID: getuid())
        var running = await self.all(under: root)
        let deadline = ContinuousClock.now + (patience ?? .zero)
        while !running.contains(where: { name == nil || $0.name == name }), ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(50))
            running = await self.all(under: root)
        }
        guard let name else {
            switch running.count {
            case 1: return running[0]
            case 0:
                throw self.failure(
                    "error: no deployment runs here (looked under \(root)); start one with: dynamo-launch up"
                )
            default:
                let names = running.map(\.name).joined(separator: ", ")
                throw self.failure("error: several deployments run: \(names); name one of them")
            }
        }
        if let found = running.first(where: { $0.name == name }) { return found }
        let names = running.map(\.name)
        let hint =
            Spelling.nearest(to: name, among: names).map { "did you mean '\($0)'?" }
            ?? (names.isEmpty ? "none runs here (looked under \(root))" : "running: \(names.joined(separator: ", "))")
        throw self.failure("error: no deployment '\(name)' runs; \(hint)")
    }

    /// Those whose control socket answers.
    private static func all(under root: String) async -> [RunningDeployment] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root))?.sorted() ?? []
        var running: [RunningDeployment] = []
        for name in names {
            let client = ControlClient(socket: "\(root)/\(name)/control.sock")
            guard FileManager.default.fileExists(atPath: client.socket) else { continue }
            do {
                _ = try await client.status()
                running.append(RunningDeployment(name: name, client: client))
            } catch let failure as ControlClient.Failure where failure.isNotRunning {
                continue
            } catch {
                running.append(RunningDeployment(name: name, client: client))
            }
        }
        return running
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
