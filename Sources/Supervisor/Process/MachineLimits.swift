internal import CProcess
package import Deployment
internal import Glibc

/// What the launcher may give to its processes on this machine.
package struct MachineLimits: Sendable, Hashable {
    /// Hard limits of the launcher; above them only who has CAP_SYS_RESOURCE may go.
    package var openFiles: UInt64
    package var coreSize: UInt64
    package var lockedMemory: UInt64
    package var mayRaise: Bool
    /// Nobody has more open files (`fs.nr_open`).
    package var highestOpenFiles: UInt64
    package var lowestNice: Int32
    package var cpus: Set<Int>
    /// Why memory cannot be bounded; nil: it can.
    package var memoryTrouble: String?

    package init(
        openFiles: UInt64,
        coreSize: UInt64,
        lockedMemory: UInt64,
        mayRaise: Bool,
        highestOpenFiles: UInt64,
        lowestNice: Int32,
        cpus: Set<Int>,
        memoryTrouble: String?
    ) {
        self.openFiles = openFiles
        self.coreSize = coreSize
        self.lockedMemory = lockedMemory
        self.mayRaise = mayRaise
        self.highestOpenFiles = highestOpenFiles
        self.lowestNice = lowestNice
        self.cpus = cpus
        self.memoryTrouble = memoryTrouble
    }

    /// Of this process.
    package static func current() -> Self {
        let capabilities = Self.number("/proc/self/status", after: "CapEff:", radix: 16) ?? 0
        var memoryTrouble: String?
        do throws(ControlGroupTrouble) { _ = try ControlGroups.find() } catch { memoryTrouble = error.description }
        var words = [UInt64](repeating: 0, count: Int(DYNAMO_CPU_WORDS))
        dynamo_usable_cpus(&words)
        let cpus = (0..<words.count * 64).filter { words[$0 / 64] & (1 << UInt64($0 % 64)) != 0 }
        let own = getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0)
        let mayBeNasty = capabilities & (1 << 23) != 0
        let niceLimit = Int32(clamping: min(Self.limit(__RLIMIT_NICE, hard: false), 40))
        return Self(
            openFiles: Self.limit(RLIMIT_NOFILE),
            coreSize: Self.limit(RLIMIT_CORE),
            lockedMemory: Self.limit(__RLIMIT_MEMLOCK),
            mayRaise: capabilities & (1 << 24) != 0,
            highestOpenFiles: Self.number("/proc/sys/fs/nr_open", after: "", radix: 10) ?? ProcessLimits.unlimited,
            lowestNice: mayBeNasty ? -20 : min(own, 20 - niceLimit),
            cpus: Set(cpus),
            memoryTrouble: memoryTrouble
        )
    }

    /// What of a process's limits cannot be set, and what to do about each.
    package func obstacles(to limits: ProcessLimits) -> [String] {
        var obstacles: [String] = []
        func compare(_ key: String, _ wanted: UInt64?, _ hard: UInt64, _ text: (UInt64) -> String, _ unit: String) {
            guard let wanted, wanted > hard, !self.mayRaise else { return }
            obstacles.append(
                "'limits.\(key)' is \(text(wanted)), and the launcher's own hard limit is \(text(hard)); write at most "
                    + "that, or raise the launcher's: \(unit)"
            )
        }
        if let wanted = limits.openFiles, wanted > self.highestOpenFiles {
            obstacles.append(
                "'limits.openFiles' is \(wanted), and the kernel gives nobody more than \(self.highestOpenFiles); write "
                    + "at most that, or raise it: sysctl fs.nr_open"
            )
        } else {
            compare(
                "openFiles",
                limits.openFiles,
                self.openFiles,
                ProcessLimits.number,
                "'ulimit -Hn', or LimitNOFILE= of its unit"
            )
        }
        compare(
            "coreSize",
            limits.coreSize,
            self.coreSize,
            ProcessLimits.bytes,
            "'ulimit -Hc', or LimitCORE= of its unit"
        )
        compare(
            "lockedMemory",
            limits.lockedMemory,
            self.lockedMemory,
            ProcessLimits.bytes,
            "'ulimit -Hl', or LimitMEMLOCK= of its unit"
        )
        if let nice = limits.nice, nice < self.lowestNice {
            obstacles.append(
                "'limits.nice' is \(nice), and the launcher may give no less than \(self.lowestNice); write at least "
                    + "that, or allow it: CAP_SYS_NICE, or LimitNICE= of its unit"
            )
        }
        let missing = limits.cpus.filter { !self.cpus.contains($0) }
        if !missing.isEmpty {
            obstacles.append(
                "'limits.cpus' has \(ProcessLimits.ranges(missing)), and the launcher may use "
                    + "\(ProcessLimits.ranges(self.cpus.sorted())); write some of these"
            )
        }
        if limits.memory != nil, let memoryTrouble { obstacles.append(memoryTrouble) }
        return obstacles
    }

    private static func limit(_ resource: __rlimit_resource, hard: Bool = true) -> UInt64 {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0 else { return 0 }
        let value = hard ? limit.rlim_max : limit.rlim_cur
        return value == rlim_t.max ? ProcessLimits.unlimited : UInt64(value)
    }

    /// The first number of a file, or the one that follows a word at the beginning of a line.
    private static func number(_ path: String, after word: String, radix: Int) -> UInt64? {
        let text = String(decoding: ProcessTable.read(path) ?? [], as: UTF8.self)
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(word) }) else { return nil }
        return UInt64(line.dropFirst(word.count).filter { !$0.isWhitespace }, radix: radix)
    }
}
