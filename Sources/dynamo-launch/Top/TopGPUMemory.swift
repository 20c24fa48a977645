import Supervisor

/// What processes keep in the memory of GPUs.
struct TopGPUMemory: Sendable {
    private let tool: GPUTool

    /// Shorter than for others: who looks at the screen waits.
    private static let patience = 5.0

    /// Nil when there is no tool that tells.
    static func find(_ environment: [String: String]) -> TopGPUMemory? {
        GPUTool(environment: environment).map { TopGPUMemory(tool: $0) }
    }

    /// Bytes by replica; nil when the tool does not answer.
    func byReplica(_ status: DeploymentStatus) async -> [String: Int]? {
        guard let users = await self.tool.users(timeout: Self.patience) else { return nil }
        let memory = GPUTool.memory(users)
        let leaders = status.replicas.compactMap { replica in replica.pid.map { (replica.name, $0) } }
        let trees = ProcessUse.measure(Set(leaders.map(\.1)))
        var result: [String: Int] = [:]
        for (name, pid) in leaders {
            let parts = (trees[pid]?.pids ?? []).compactMap { memory[$0] }
            if !parts.isEmpty { result[name] = parts.reduce(0, +) << 20 }
        }
        return result
    }
}
