import Foundation
import Supervisor
import TestSupport

/// What a launcher and the own programs have of the machine at one moment.
struct SoakFigures: Sendable, CustomStringConvertible {
    /// Of one process, or of the launcher with its keepers.
    struct Use: Sendable, CustomStringConvertible {
        /// Resident and its own (RssAnon).
        var memory = 0
        /// Without those of `connections`.
        var descriptors = 0
        /// TCP sockets that do not listen: idle connections to others are kept for the next request.
        var connections = 0
        /// How many descriptors of what: of files, pipes, sockets.
        var kinds: [String: Int] = [:]

        var description: String {
            "\(self.memory >> 10) KiB, \(self.descriptors) descriptors, \(self.connections) connections"
        }

        fileprivate static func of(_ pids: [Int32]) -> Use {
            pids.reduce(into: Use()) { use, pid in
                let sockets = SoakFigures.connections(of: pid)
                let targets = SoakFigures.targets(of: pid)
                use.memory += SoakFigures.resident(pid)
                use.connections += targets.count { sockets.contains($0) }
                use.descriptors += targets.count { !sockets.contains($0) }
                for target in targets where !sockets.contains(target) {
                    use.kinds[target.filter { !$0.isNumber }, default: 0] += 1
                }
            }
        }
    }

    /// The launcher, its keepers with it.
    var launcher: Use
    var keepers: Int
    /// Replicas of own programs, by their names.
    var replicas: [String: Use]

    var description: String {
        "launcher: \(self.launcher), \(self.keepers) keepers; "
            + self.replicas.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: "; ")
    }

    static func of(_ launcher: Int32, _ status: DeploymentStatus) -> SoakFigures {
        let keepers = SystemProcesses.children(of: launcher)
        let own = status.replicas.filter { ["frontend", "worker"].contains($0.process) }
        return SoakFigures(
            launcher: .of([launcher] + keepers),
            keepers: keepers.count,
            replicas: own.reduce(into: [:]) { $0[$1.name] = .of($1.pid.map { [$0] } ?? []) }
        )
    }

    /// What there is more of than when the deployment was warm, and than what comes and goes.
    ///
    /// Of memory 8 MiB more are allowed, to a process and to the launcher with its keepers: the launcher remembers what was said and what has
    /// happened up to a limit, and the allocator keeps what was given back. Of descriptors, which are a few for each process and log, 4.
    ///
    /// - Parameters:
    ///   - warm: what there was once everything had been used.
    ///   - end: what there was at the end.
    /// - Returns: in words; empty when nothing has grown.
    static func growth(_ warm: SoakFigures, _ end: SoakFigures) -> [String] {
        var found: [String] = []
        func compare(_ name: String, _ warm: Use, _ end: Use) {
            if end.memory > warm.memory + 8 << 20 { found.append("memory of \(name)") }
            if end.descriptors > warm.descriptors + 4 {
                let more = end.kinds.filter { $0.value > warm.kinds[$0.key] ?? 0 }.sorted { $0.key < $1.key }
                let words = more.map { "\($0.key): \(warm.kinds[$0.key] ?? 0), then \($0.value)" }
                found.append("descriptors of \(name): \(words.joined(separator: "; "))")
            }
            if end.connections > warm.connections + 8 { found.append("connections of \(name)") }
        }
        compare("the launcher", warm.launcher, end.launcher)
        if end.keepers != warm.keepers { found.append("keepers: \(end.keepers)") }
        for (name, use) in end.replicas.sorted(by: { $0.key < $1.key }) {
            guard let before = warm.replicas[name] else {
                found.append("\(name) is new")
                continue
            }
            compare(name, before, use)
        }
        return found
    }

    /// What a process has of the memory that is its own (RssAnon).
    static func resident(_ pid: Int32) -> Int {
        let text = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
        return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }

    /// What each descriptor of a process is.
    private static func targets(of pid: Int32) -> [String] {
        let folder = "/proc/\(pid)/fd"
        return ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)")
        }
    }

    /// TCP sockets that do not listen, as descriptors name them.
    private static func connections(of pid: Int32) -> Set<String> {
        let listening = "0A"
        var found: Set<String> = []
        for table in ["tcp", "tcp6"] {
            for line in SystemProcesses.lines(of: "/proc/\(pid)/net/\(table)").dropFirst() {
                let fields = line.split(separator: " ")
                if fields.count > 9, fields[3] != listening { found.insert("socket:[\(fields[9])]") }
            }
        }
        return found
    }

    /// Children that were not reaped, of the launcher and of its keepers.
    static func zombies(of launcher: Int32) -> [Int32] {
        let parents = Set([launcher] + SystemProcesses.children(of: launcher))
        let pids = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
        return pids.filter { pid in
            guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
                let end = stat.lastIndex(of: ")")
            else { return false }
            let fields = stat[stat.index(after: end)...].split(separator: " ")
            return fields.count > 1 && fields[0] == "Z" && Int32(fields[1]).map(parents.contains) ?? false
        }
    }

    /// Processes of the deployment that are no part of what the status says that runs.
    static func strays(_ deployment: LaunchedDeployment, _ status: DeploymentStatus) -> [String] {
        let keepers = Set(SystemProcesses.children(of: deployment.program.pid))
        let trees = ProcessUse.measure(Set(status.replicas.compactMap(\.pid)))
        let known = Set(trees.values.flatMap(\.pids)).union(keepers)
        return deployment.processes.filter { !known.contains($0) && SystemProcesses.isRunning($0) }
            .map { "\($0) \(SystemProcesses.command(of: $0))" }
    }
}
