internal import FoundationEssentials
internal import Glibc

/// Why the memory of a replica cannot be bounded, and what to do.
struct ControlGroupTrouble: Error, Sendable, Hashable, CustomStringConvertible {
    var reason: String

    var description: String {
        "'limits.memory' cannot be kept: \(self.reason). Start the launcher where a part of cgroup v2 is its own "
            + "('systemd-run --user --scope -p Delegate=yes dynamo-launch up', or the unit that 'generate systemd' writes), "
            + "or remove 'limits.memory'"
    }
}

/// The control groups (cgroup v2) below the launcher's own: one for each replica whose memory is bounded.
///
/// A group that hands controllers on may have no processes itself, so the launcher, its keepers and what they run already move into
/// a group below it. What is there (`cgroup.procs`, `memory.max` and so on) is described in the kernel's cgroup-v2.rst.
struct ControlGroups: Sendable {
    /// Where the launcher itself is.
    private static let launcher = "dynamo-launch"

    /// Absolute path of the group that the launcher was given.
    let path: String

    /// The launcher's own, ready for groups of replicas.
    static func own() throws(ControlGroupTrouble) -> Self {
        let groups = try Self.find()
        try groups.handMemoryOn()
        return groups
    }

    /// The launcher's own; nothing is changed.
    ///
    /// - Parameters:
    ///   - root: where the process file system is.
    ///   - isOwn: whether a process belongs to this launcher.
    /// - Returns: the groups, of which none is made yet.
    /// - Throws: why no groups can be made below it.
    static func find(
        root: String = "/proc",
        isOwn: (Int32) -> Bool = Self.isOwn
    ) throws(ControlGroupTrouble) -> Self {
        guard let mount = Self.mount(Self.lines("\(root)/self/mountinfo")) else {
            throw ControlGroupTrouble(reason: "this machine has no cgroup v2")
        }
        guard let entry = Self.lines("\(root)/self/cgroup").first(where: { $0.hasPrefix("0::/") }) else {
            throw ControlGroupTrouble(reason: "the launcher is in no group of cgroup v2")
        }
        var path = entry == "0::/" ? mount : mount + entry.dropFirst(3)
        // An earlier generation of this launcher, or a launcher that this one took the place of, has moved already.
        if path.hasSuffix("/\(Self.launcher)") { path.removeLast(Self.launcher.utf8.count + 1) }
        let controllers = Self.lines("\(path)/cgroup.controllers").first?.split(separator: " ") ?? []
        guard controllers.contains("memory") else {
            throw ControlGroupTrouble(reason: "\(path) has no memory controller")
        }
        for file in ["", "/cgroup.procs", "/cgroup.subtree_control"] where access(path + file, W_OK) != 0 {
            throw ControlGroupTrouble(reason: "\(path)\(file): \(errorText(errno))")
        }
        let groups = Self(path: path)
        if let stranger = groups.processes.first(where: { !isOwn($0) }) {
            throw ControlGroupTrouble(
                reason: "\(path) is not the launcher's alone: pid \(stranger) is in it too"
            )
        }
        return groups
    }

    /// Opens a group for the processes of a replica, and bounds its memory.
    ///
    /// - Returns: its `cgroup.procs`, to be closed by the caller.
    func open(_ name: String, memory: UInt64) throws(ControlGroupTrouble) -> Int32 {
        let group = "\(self.path)/\(name)"
        try Self.make(group)
        try Self.write(String(memory), to: "\(group)/memory.max")
        // A program that lost one of its processes to the kernel is worse than one that ended; kernels before 4.19 cannot.
        try? Self.write("1", to: "\(group)/memory.oom.group")
        let descriptor = Glibc.open("\(group)/cgroup.procs", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw ControlGroupTrouble(reason: "\(group)/cgroup.procs: \(errorText(errno))")
        }
        return descriptor
    }

    /// Removes the groups of a deployment's generation that are empty.
    func remove(_ prefix: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: self.path)) ?? []
        where name.hasPrefix(prefix) { rmdir("\(self.path)/\(name)") }
    }

    func handMemoryOn() throws(ControlGroupTrouble) {
        let controllers = Self.lines("\(self.path)/cgroup.subtree_control").first?.split(separator: " ") ?? []
        guard !controllers.contains("memory") else { return }
        let inner = "\(self.path)/\(Self.launcher)"
        try Self.make(inner)
        // One that is started meanwhile is in its parent's group, so nothing is left after two rounds.
        for _ in 0..<2 {
            for pid in self.processes { try Self.write(String(pid), to: "\(inner)/cgroup.procs") }
        }
        try Self.write("+memory", to: "\(self.path)/cgroup.subtree_control")
    }

    private var processes: [Int32] { Self.lines("\(self.path)/cgroup.procs").compactMap { Int32($0) } }

    /// This process and all its descendants.
    static func isOwn(_ pid: Int32) -> Bool {
        var pid = pid
        for _ in 0..<100 where pid > 1 {
            if pid == getpid() { return true }
            guard let parent = ProcessTable.entry(of: pid)?.parent else { return true }
            pid = parent
        }
        return pid == getpid()
    }

    /// Where cgroup v2 is mounted: fields 4 and 5 of a line are the root and the place, the type follows a lone `-`.
    private static func mount(_ lines: [String]) -> String? {
        for line in lines {
            let fields = line.split(separator: " ").map(String.init)
            guard let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count, fields[dash + 1] == "cgroup2",
                fields.count > 4
            else { continue }
            return fields[4]
        }
        return nil
    }

    private static func lines(_ path: String) -> [String] {
        (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n").map(String.init) ?? []
    }

    private static func make(_ path: String) throws(ControlGroupTrouble) {
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else {
            throw ControlGroupTrouble(reason: "cannot make \(path): \(errorText(errno))")
        }
    }

    /// In one piece, as the kernel wants it.
    private static func write(_ text: String, to path: String) throws(ControlGroupTrouble) {
        let descriptor = Glibc.open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ControlGroupTrouble(reason: "\(path): \(errorText(errno))") }
        defer { close(descriptor) }
        // A process that ended meanwhile needs no group.
        guard Glibc.write(descriptor, text, text.utf8.count) >= 0 || errno == ESRCH else {
            throw ControlGroupTrouble(reason: "cannot write \(text) to \(path): \(errorText(errno))")
        }
    }
}
