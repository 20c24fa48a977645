/// What each process of a replica may use, and how the system treats it; set between its birth and its program.
package struct ProcessLimits: Sendable, Hashable, Codable {
    /// What `unlimited` is.
    package static let unlimited = UInt64.max

    /// `RLIMIT_NOFILE`, the soft and the hard limit, as those below are; nil: the launcher's own.
    package var openFiles: UInt64?
    /// `RLIMIT_CORE`, in bytes.
    package var coreSize: UInt64?
    /// `RLIMIT_MEMLOCK`, in bytes.
    package var lockedMemory: UInt64?
    /// Of all its processes together, in bytes: `memory.max` of a control group of its own (cgroup v2).
    package var memory: UInt64?
    /// -20 (first) to 19 (last).
    package var nice: Int32?
    /// The processors that it may run on, ascending; empty: the launcher's own.
    package var cpus: [Int]

    package init(
        openFiles: UInt64? = nil,
        coreSize: UInt64? = nil,
        lockedMemory: UInt64? = nil,
        memory: UInt64? = nil,
        nice: Int32? = nil,
        cpus: [Int] = []
    ) {
        self.openFiles = openFiles
        self.coreSize = coreSize
        self.lockedMemory = lockedMemory
        self.memory = memory
        self.nice = nice
        self.cpus = cpus
    }

    /// One line for people, in the manifest's words.
    package var rendered: String {
        var words: [String] = []
        if let openFiles { words.append("openFiles \(Self.number(openFiles))") }
        if let coreSize { words.append("coreSize \(Self.bytes(coreSize))") }
        if let lockedMemory { words.append("lockedMemory \(Self.bytes(lockedMemory))") }
        if let memory { words.append("memory \(Self.bytes(memory))") }
        if let nice { words.append("nice \(nice)") }
        if !self.cpus.isEmpty { words.append("cpus \(Self.ranges(self.cpus))") }
        return words.joined(separator: ", ")
    }

    package static func number(_ value: UInt64) -> String {
        value == self.unlimited ? "unlimited" : String(value)
    }

    /// `32Gi`, or the number where no unit divides it.
    package static func bytes(_ value: UInt64) -> String {
        guard value != self.unlimited else { return "unlimited" }
        for (unit, shift) in [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)] as [(String, UInt64)]
        where value != 0 && value % (1 << shift) == 0 {
            return "\(value >> shift)\(unit)"
        }
        return String(value)
    }

    /// `0-3,8`.
    package static func ranges(_ cpus: [Int]) -> String {
        var ranges: [ClosedRange<Int>] = []
        for cpu in cpus {
            if let last = ranges.last, last.upperBound + 1 == cpu {
                ranges[ranges.count - 1] = last.lowerBound...cpu
            } else {
                ranges.append(cpu...cpu)
            }
        }
        return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ",")
    }
}
