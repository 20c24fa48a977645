internal import CProcess
internal import Glibc

/// What came to this process when the keeper ended: the leaders were killed by the kernel, their descendants were not.
enum AbandonedProcesses {
    /// Kills every process below this one whose marker begins so, and what is below it.
    ///
    /// Blocks, at most three seconds.
    ///
    /// - Parameters:
    ///   - marker: the beginning of the marker's value.
    ///   - leaders: pids that are known to be meant; a dead one shows no environment, and has to be reaped.
    /// - Returns: those that could not be killed.
    static func kill(marker: String, leaders: Set<Int32>) -> [Stray] {
        let deadline = ContinuousClock.now + .seconds(3)
        while true {
            let left = Self.find(marker: marker, leaders: leaders, in: ProcessTable.all())
            if left.isEmpty { return [] }
            guard ContinuousClock.now < deadline else {
                return left.map {
                    Stray(pid: $0.pid, startTime: $0.startTime, command: ProcessTable.command(of: $0.pid))
                }
            }
            for entry in left { _ = dynamo_signal_process(entry.pid, entry.startTime, SIGKILL) }
            for entry in left {
                // Only those whose parents are gone are children of this process; the others follow in the next round.
                var status: Int32 = 0
                _ = dynamo_reap(entry.pid, 20, &status)
            }
        }
    }

    private static func find(marker: String, leaders: Set<Int32>, in table: [ProcessEntry]) -> [ProcessEntry] {
        let children = Dictionary(grouping: table) { $0.parent }
        var found: [ProcessEntry] = []
        var open: [(entry: ProcessEntry, isOurs: Bool)] = (children[getpid()] ?? []).map { ($0, false) }
        while !open.isEmpty {
            let (entry, parentIsOurs) = open.removeLast()
            let value = ProcessTable.variable(StrayFinder.marker, of: entry.pid)
            let isOurs = parentIsOurs || leaders.contains(entry.pid) || value?.hasPrefix(marker) == true
            if isOurs { found.append(entry) }
            open += (children[entry.pid] ?? []).map { ($0, isOurs) }
        }
        return found
    }
}
