internal import Glibc

/// What a process and all that it has started use at one moment.
package struct ProcessUse: Sendable, Hashable {
    /// Processor time since the process was started, of what it has started and reaped too.
    package var cpuSeconds: Double
    /// Resident memory; what processes share counts for each of them.
    package var memoryBytes: Int
    /// The process and what it has started, ascending.
    package var pids: [Int32]

    package init(cpuSeconds: Double, memoryBytes: Int, pids: [Int32]) {
        self.cpuSeconds = cpuSeconds
        self.memoryBytes = memoryBytes
        self.pids = pids
    }

    /// Measures processes that a launcher has started, each with what it has started.
    ///
    /// Reads the whole of /proc once: blocking calls, all of them short.
    ///
    /// - Parameter leaders: their pids.
    /// - Returns: what those use that run.
    package static func measure(_ leaders: Set<Int32>) -> [Int32: ProcessUse] {
        guard !leaders.isEmpty else { return [:] }
        let samples = ProcessTable.pids().compactMap { pid in
            ProcessTable.read("/proc/\(pid)/stat").flatMap { ProcessSample(stat: $0) }
        }
        return self.trees(
            leaders,
            in: samples,
            ticks: max(1, sysconf(Int32(_SC_CLK_TCK))),
            page: max(1, sysconf(Int32(_SC_PAGESIZE)))
        )
    }

    /// The same on a given table.
    static func trees(
        _ leaders: Set<Int32>,
        in samples: [ProcessSample],
        ticks: Int,
        page: Int
    ) -> [Int32: ProcessUse] {
        let entries = Dictionary(samples.map { ($0.entry.pid, $0.entry) }) { first, _ in first }
        var uses: [Int32: ProcessUse] = [:]
        for sample in samples {
            guard let leader = self.leader(of: sample.entry, leaders, entries) else { continue }
            var use = uses[leader] ?? ProcessUse(cpuSeconds: 0, memoryBytes: 0, pids: [])
            use.cpuSeconds += Double(sample.ticks) / Double(ticks)
            use.memoryBytes += sample.pages * page
            use.pids.append(sample.entry.pid)
            uses[leader] = use
        }
        // Of one that has ended only what outlives it is there.
        return uses.filter { entries[$0.key] != nil }.mapValues { use in
            var use = use
            use.pids.sort()
            return use
        }
    }

    /// Whose tree a process is in: an ancestor's, or else its session's.
    private static func leader(
        of entry: ProcessEntry,
        _ leaders: Set<Int32>,
        _ entries: [Int32: ProcessEntry]
    ) -> Int32? {
        var current = entry
        // The table is not of one moment: pids that were given again could make a circle.
        for _ in 0..<64 {
            if leaders.contains(current.pid) { return current.pid }
            guard let parent = entries[current.parent] else { break }
            current = parent
        }
        return leaders.contains(entry.session) ? entry.session : nil
    }
}

/// What the kernel counts of one process.
struct ProcessSample: Sendable, Hashable {
    var entry: ProcessEntry
    /// Processor time, that of its reaped children too.
    var ticks: UInt64
    var pages: Int

    init(entry: ProcessEntry, ticks: UInt64, pages: Int) {
        self.entry = entry
        self.ticks = ticks
        self.pages = pages
    }

    /// Reads `/proc/PID/stat`.
    init?(stat: [UInt8]) {
        guard let entry = ProcessEntry(stat: stat), let close = stat.lastIndex(of: UInt8(ascii: ")")) else {
            return nil
        }
        let fields = stat[(close + 1)...].split(separator: UInt8(ascii: " ")).prefix(22).map {
            String(decoding: $0, as: UTF8.self)
        }
        // Fields 14 to 17 (utime, stime, cutime, cstime) and 24 (rss); the first one here is the third.
        let times = fields.count == 22 ? fields[11...14].compactMap { Int64($0) } : []
        guard times.count == 4, let pages = Int(fields[21]) else { return nil }
        self.init(entry: entry, ticks: UInt64(max(0, times.reduce(0, +))), pages: max(0, pages))
    }
}
