/// Waits until the processes of a run that has ended hold no memory of GPUs any more: the driver may take a while, and who starts
/// a worker before that starts it with too little.
struct GPUMemoryWait: Sendable {
    static let interval: Duration = .milliseconds(500)

    var tool: GPUTool
    /// The processes that the run had, with their start times; 0: not known.
    var processes: [Int32: UInt64]
    var limit: Duration

    /// - Returns: who still holds memory at the end of the limit; nil: `nvidia-smi` does not answer.
    func run() async -> [GPUTool.User]? {
        let deadline = ContinuousClock.now + self.limit
        while true {
            guard let users = await self.tool.users() else { return nil }
            let left = users.filter(self.isOfRun)
            if left.isEmpty || ContinuousClock.now >= deadline { return left }
            do { try await Task.sleep(for: min(Self.interval, deadline - ContinuousClock.now)) } catch { return left }
        }
    }

    /// Not so when the number is another process's by now.
    private func isOfRun(_ user: GPUTool.User) -> Bool {
        guard let start = self.processes[user.pid] else { return false }
        guard start != 0, let entry = ProcessTable.entry(of: user.pid) else { return true }
        return entry.startTime == start
    }

    /// Who holds how much, in words.
    static func words(_ users: [GPUTool.User]) -> String {
        users.map { user in
            let command =
                ProcessTable.entry(of: user.pid) == nil
                ? "a process that has ended" : ProcessTable.command(of: user.pid)
            let amount = user.memory.map { "\($0) MiB" } ?? "an unknown amount"
            return "\(command) (pid \(user.pid)): \(amount) of \(user.device)"
        }.joined(separator: ", ")
    }
}
