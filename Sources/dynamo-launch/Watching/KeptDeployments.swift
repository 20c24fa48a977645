import Deployment
import FoundationEssentials
import Supervisor

/// What is kept of deployments on this machine, whether they run or not: events and log files.
enum KeptDeployments {
    /// The folder that has a folder of each.
    static var root: String {
        let environment = ProcessInfo.processInfo.environment
        return DeploymentDirectories.stateRoot(environment: environment, homeDirectory: environment["HOME"] ?? "/")
    }

    /// The names of those that were started here.
    static var names: [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: self.root)) ?? []
        return names.filter { FileManager.default.fileExists(atPath: self.directories(of: $0).events) }.sorted()
    }

    static func directories(of name: String) -> DeploymentDirectories {
        DeploymentDirectories(state: "\(self.root)/\(name)", runtime: "")
    }

    /// The deployment that is meant.
    ///
    /// - Parameter name: nil: the only one of which something is kept, or that runs.
    /// - Returns: its name.
    /// - Throws: an exit code, after saying what is wrong.
    static func find(_ name: String?) throws -> String {
        let known = self.names
        if let name {
            if known.contains(name) { return name }
            let hint =
                Spelling.nearest(to: name, among: known).map { "did you mean '\($0)'?" }
                ?? (known.isEmpty
                    ? "nothing was started here (looked under \(self.root))"
                    : "there are: \(known.joined(separator: ", "))")
            throw RunningDeployment.failure("error: nothing is known of a deployment '\(name)'; \(hint)")
        }
        if known.count == 1 { return known[0] }
        if known.isEmpty {
            throw RunningDeployment.failure("error: nothing was started here (looked under \(self.root))")
        }
        let running = RunningDeployment.names.filter(known.contains)
        if running.count == 1 { return running[0] }
        throw RunningDeployment.failure(
            "error: something is kept of several deployments: \(known.joined(separator: ", ")); name one of them"
        )
    }

    /// The log files of all generations of a deployment.
    ///
    /// A file is called after its replica: `worker-1.log` is one of the process `worker`.
    static func logs(of name: String) -> [LogTail.Source] {
        let folders = (try? FileManager.default.contentsOfDirectory(atPath: self.directories(of: name).state)) ?? []
        let generations = [1] + folders.compactMap { $0.hasPrefix("g") ? Int($0.dropFirst()) : nil }.sorted()
        return generations.flatMap { generation in
            let folder = self.directories(of: name).generation(generation).logs
            let files = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
            return files.filter { $0.hasSuffix(".log") }.map { file in
                let replica = String(file.dropLast(4))
                return LogTail.Source(
                    path: "\(folder)/\(file)",
                    process: replica.replacing(/-[0-9]+$/, with: ""),
                    replica: replica,
                    generation: generation
                )
            }
        }
    }
}
