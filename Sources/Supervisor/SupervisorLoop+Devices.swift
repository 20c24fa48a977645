internal import Deployment
internal import NIOPosix

/// What replicas hold of GPUs, where `nvidia-smi` tells.
extension SupervisorLoop {
    private func usesGPU(_ index: Int) -> Bool {
        self.options.gpuTool != nil && !self.plan.replicas[index].gpus.isEmpty
    }

    /// Takes note of the processes that a replica has now: engines have several, and it is them who hold the memory.
    func rememberProcesses(of index: Int, in group: inout DiscardingTaskGroup) {
        guard self.usesGPU(index), let launch = self.launchOfReplica[index], let leader = self.pids[launch] else {
            return
        }
        let (sender, threads) = (self.sender, self.threads)
        group.addTask {
            let found = try? await threads.runIfActive { ProcessTree.below(leader, in: ProcessTable.all()) }
            sender.yield(.processesSeen(replica: index, leader: leader, found ?? [:]))
        }
    }

    /// A process of the replica is known to exist.
    func remember(_ pid: Int32, startTime: UInt64 = 0, of index: Int) {
        guard self.usesGPU(index) else { return }
        let known = self.gpuProcesses[index]?[pid] ?? 0
        self.gpuProcesses[index, default: [:]][pid] = known == 0 ? startTime : known
    }

    func processesSeen(of index: Int, leader: Int32, _ processes: [Int32: UInt64]) {
        // Of an earlier run, that was over before the answer came.
        guard self.gpuProcesses[index]?[leader] != nil else { return }
        for (pid, start) in processes { self.remember(pid, startTime: start, of: index) }
    }

    /// Nothing is left of a run but, perhaps, its memory on GPUs.
    func finishRun(_ index: Int, run: Int, in group: inout DiscardingTaskGroup) {
        let processes = self.gpuProcesses.removeValue(forKey: index) ?? [:]
        guard let tool = self.options.gpuTool, !processes.isEmpty else {
            // Nobody waits any more when everything is to be gone at once.
            self.memoryWaits[index] = nil
            return self.cleared(index, run: run, in: &group)
        }
        self.memoryWaits[index] = run
        // A deployment that is being stopped only has to say what it leaves; the next generation waits for this one's memory.
        let isEnd = self.machine.isStopping && !self.shared.isRetiring
        let limit = isEnd ? min(self.options.gpuMemoryLimit, .seconds(3)) : self.options.gpuMemoryLimit
        let wait = GPUMemoryWait(tool: tool, processes: processes, limit: limit)
        let sender = self.sender
        group.addTask { sender.yield(.memorySeen(replica: index, run: run, await wait.run())) }
    }

    func memorySeen(_ index: Int, run: Int, _ users: [GPUTool.User]?, in group: inout DiscardingTaskGroup) {
        guard self.memoryWaits[index] == run else { return }
        self.memoryWaits[index] = nil
        let name = self.plan.replicas[index].name
        if let users, !users.isEmpty {
            let end = self.machine.isStopping ? "" : "; it is started all the same"
            self.warn("\(name) has ended, and memory of GPUs is still held: \(GPUMemoryWait.words(users))\(end)")
        } else if users == nil {
            self.warn("nvidia-smi does not answer: whether \(name) has given its GPU memory back is not known")
        }
        self.cleared(index, run: run, in: &group)
    }

    private func cleared(_ index: Int, run: Int, in group: inout DiscardingTaskGroup) {
        self.feed(.cleared(replica: index, run: run), in: &group)
        if self.machine.replicas[index].isRetired, self.machine.replicas[index].isGone { self.forgetKept(of: index) }
    }

    /// Names processes that cannot be ended, and what they hold.
    func warn(of survivors: [Stray], _ words: String, in group: inout DiscardingTaskGroup) {
        let names = survivors.map { "\($0.command) (pid \($0.pid))" }
        guard let tool = self.options.gpuTool else { return self.warn(words + names.joined(separator: ", ")) }
        let sender = self.sender
        group.addTask {
            let memory = GPUTool.memory(await tool.users() ?? [])
            let all = zip(survivors, names).map { stray, name in
                name + (memory[stray.pid].map { ", which holds \($0) MiB of GPU memory" } ?? "")
            }
            sender.yield(.warning(words + all.joined(separator: ", ")))
        }
    }

    /// What is said at the end of processes that could not be ended has their memory.
    func completeSurvivors() async {
        guard let tool = self.options.gpuTool, let survivors = self.outcome?.survivors, !survivors.isEmpty else {
            return
        }
        let memory = GPUTool.memory(await tool.users() ?? [])
        for index in survivors.indices { self.outcome?.survivors[index].gpuMemory = memory[survivors[index].pid] }
    }
}

/// A process and what it has started.
enum ProcessTree {
    /// The start times of a process and of all below it.
    static func below(_ root: Int32, in table: [ProcessEntry]) -> [Int32: UInt64] {
        let children = Dictionary(grouping: table) { $0.parent }
        var found: [Int32: UInt64] = [:]
        var open = table.filter { $0.pid == root }
        while let entry = open.popLast() {
            guard found.updateValue(entry.startTime, forKey: entry.pid) == nil else { continue }
            open += children[entry.pid] ?? []
        }
        return found
    }
}
