import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Supervisor

/// Names that a shell completes: what runs, and what has run.
///
/// Found in the folders of deployments alone, so that a launcher that does not answer holds nobody's shell up.
enum NameCompletion {
    /// Deployments that have a launcher, or go on without one.
    static var running: CompletionKind { .custom { _, _, _ in self.runningNames } }

    /// Deployments of which something is kept.
    static var known: CompletionKind { .custom { _, _, _ in KeptDeployments.names } }

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

    private static func replicas(_ words: [String], isCount: Bool) -> [String] {
        let named = KeptDeployments.names.filter(words.contains)
        let sources = (named.isEmpty ? self.runningNames : named).flatMap(KeptDeployments.logs)
        let processes = Set(sources.map(\.process))
        return isCount ? processes.sorted().map { "\($0)=" } : processes.union(sources.map(\.replica)).sorted()
    }

    private static func folders(of root: String, _ isWanted: (String) -> Bool) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return names.filter { isWanted("\(root)/\($0)") }.sorted()
    }
}
