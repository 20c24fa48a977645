import Deployment
import Glibc
import Subprocess
import Supervisor
import SystemPackage

/// Asks nvidia-smi what processes keep in the memory of GPUs.
struct TopGPUMemory: Sendable {
    private let program: FilePath

    /// More processes than any machine has.
    private static let outputLimit = 1 << 20
    /// One that hangs, as it does when a GPU has fallen off the bus, must not hang its callers.
    private static let patience = Duration.seconds(5)

    /// Nil when it is not on PATH.
    static func find(_ environment: [String: String]) -> TopGPUMemory? {
        for folder in environment["PATH", default: ""].split(separator: ":") {
            let path = "\(folder)/nvidia-smi"
            if access(path, X_OK) == 0 { return TopGPUMemory(program: FilePath(path)) }
        }
        return nil
    }

    /// Bytes by replica; nil when it does not answer.
    func byReplica(_ status: DeploymentStatus) async -> [String: Int]? {
        guard let byProcess = await self.byProcess() else { return nil }
        let leaders = status.replicas.compactMap { replica in replica.pid.map { (replica.name, $0) } }
        let trees = ProcessUse.measure(Set(leaders.map(\.1)))
        var result: [String: Int] = [:]
        for (name, pid) in leaders {
            let memory = (trees[pid]?.pids ?? []).compactMap { byProcess[$0] }
            if !memory.isEmpty { result[name] = memory.reduce(0, +) }
        }
        return result
    }

    private func byProcess() async -> [Int32: Int]? {
        try? await withThrowingTaskGroup(of: [Int32: Int]?.self) { group in
            group.addTask {
                let result = try await run(
                    .path(self.program),
                    arguments: ["--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"],
                    output: .string(limit: Self.outputLimit),
                    error: .discarded
                )
                guard case .exited(0) = result.terminationStatus else { return nil }
                return Self.parse(result.standardOutput)
            }
            group.addTask {
                try await Task.sleep(for: Self.patience)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    /// `4711, 10240`: a pid and mebibytes; a process on two GPUs has two lines.
    static func parse(_ text: String) -> [Int32: Int] {
        var result: [Int32: Int] = [:]
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ",").map { $0.filter { !$0.isWhitespace } }
            // Where the driver does not tell, there are words in the place of a number.
            guard fields.count == 2, let pid = Int32(fields[0]), let mebibytes = Int(fields[1]) else { continue }
            result[pid, default: 0] += mebibytes << 20
        }
        return result
    }
}
