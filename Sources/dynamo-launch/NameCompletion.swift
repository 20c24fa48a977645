import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc

/// Names that a shell completes: what runs, and what has run.
///
/// Found in the folders of deployments alone, so that a launcher that does not answer holds nobody's shell up.
enum NameCompletion {
    /// Deployments that have a launcher, or go on without one.
    static var running: CompletionKind { .custom { _, _, _ in self.runningNames } }

    /// Deployments of which something is kept.
    static var known: CompletionKind { .custom { _, _, _ in self.knownNames } }

    /// Processes and replicas of the deployment that the words name, else of those that run.
    static var processes: CompletionKind { .custom { words, _, _ in self.replicas(words, isCount: false) } }

    /// `worker=` for each process.
    static var counts: CompletionKind { .custom { words, _, _ in self.replicas(words, isCount: true) } }

    private static var runningNames: [String] {
        let root = DeploymentDirectories.runtimeRoot(environment: ProcessInfo.processInfo.environment, userID: getuid())
        return self.folders(of: root) { folder in
            ["control.sock", "keeper.sock", "gateway-keeper.sock"].contains { access("\(folder)/\($0)", F_OK) == 0 }
        }
    }

    private static var knownNames: [String] {
        self.folders(of: self.stateRoot) {
            access(DeploymentDirectories(state: $0, runtime: "").events, F_OK) == 0
        }
    }

    private static var stateRoot: String {
        let environment = ProcessInfo.processInfo.environment
        return DeploymentDirectories.stateRoot(environment: environment, homeDirectory: environment["HOME"] ?? "/")
    }

    /// From the names of their log files: `worker-1.log` is of a replica of `worker`.
    private static func replicas(_ words: [String], isCount: Bool) -> [String] {
        let named = self.knownNames.filter(words.contains)
        let files = (named.isEmpty ? self.runningNames : named).flatMap { name in
            let folder = DeploymentDirectories(state: "\(self.stateRoot)/\(name)", runtime: "").logs
            return (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        }
        let replicas = files.filter { $0.hasSuffix(".log") }.map { String($0.dropLast(4)) }
        let processes = replicas.map { $0.replacing(/-[0-9]+$/, with: "") }
        return isCount ? Set(processes).sorted().map { "\($0)=" } : Set(replicas + processes).sorted()
    }

    private static func folders(of root: String, _ isWanted: (String) -> Bool) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return names.filter { isWanted("\(root)/\($0)") }.sorted()
    }
}
