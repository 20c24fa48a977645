internal import CProcess
internal import Glibc

/// Who listens on a port.
package struct PortHolder: Sendable, Hashable {
    package var pid: Int32
    package var command: String
    /// The one that started it; nil: none of this user.
    package var deployment: String?
    /// Whether the launcher of that deployment is gone.
    package var isOrphaned = false
    /// Whose that deployment is; nil: not known.
    var user: UInt32?

    /// In words: `pid 812 (python3 -m http.server)`, and whose it is.
    package var words: String {
        let own = "pid \(self.pid) (\(self.command))"
        guard let deployment else { return own }
        return "\(own) of deployment '\(deployment)'"
            + (self.isOrphaned ? ", \(OrphanedDeployment.remedy(deployment, of: self.user ?? getuid()))" : "")
    }

    /// The same with the deployment that started it, which its keeper knows: it has the lock of the deployment's folder open.
    func withDeployment() -> PortHolder {
        var pid = self.pid
        for _ in 0..<64 {
            guard let parent = ProcessTable.entry(of: pid)?.parent, parent > 1 else { return self }
            pid = parent
            guard ProcessTable.read("/proc/\(pid)/comm").map({ $0.starts(with: Self.keeper) }) ?? false,
                let lock = PortListeners.link("/proc/\(pid)/fd/\(DYNAMO_KEEPER_LOCK)"), lock.hasSuffix("/lock"),
                let name = lock.split(separator: "/").dropLast().last
            else { continue }
            var holder = self
            holder.deployment = String(name)
            holder.isOrphaned = DeploymentLock.hasNoLauncher(path: lock)
            holder.user = ProcessTable.user(of: pid)
            return holder
        }
        return self
    }

    private static let keeper = Array("dynamo-keeper".utf8)

    /// Whether a process has started it, or one of those that it started.
    package func isBelow(_ ancestor: Int32) -> Bool {
        var pid = self.pid
        // As deep as trees of processes are, and not for ever: numbers are given again.
        for _ in 0..<64 {
            guard let parent = ProcessTable.entry(of: pid)?.parent, parent > 1 else { return false }
            if parent == ancestor { return true }
            pid = parent
        }
        return false
    }
}

/// What listens on this machine, read from /proc in one go.
package struct PortListeners: Sendable {
    private var inodes: [Int: Set<UInt64>] = [:]

    package init() {
        for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
            ProcessTable.eachLine(of: path) { self.read($0) }
        }
    }

    /// Takes the text of such a file.
    init(table: String) {
        for line in table.utf8.split(separator: UInt8(ascii: "\n")) {
            Array(line).withUnsafeBytes { self.read($0) }
        }
    }

    private mutating func read(_ line: UnsafeRawBufferPointer) {
        // 0A is LISTEN. Nothing is made of the others: behind a busy port there are tens of thousands of them.
        guard
            line.indices.dropFirst(2).contains(where: {
                line[$0 - 2] == 0x20 && line[$0 - 1] == 0x30 && line[$0] == 0x41
            })
        else { return }
        let fields = line.split(separator: UInt8(ascii: " "))
        guard fields.count > 9, fields[3].elementsEqual("0A".utf8),
            let colon = fields[1].lastIndex(of: UInt8(ascii: ":")),
            let port = Int(String(decoding: fields[1][(colon + 1)...], as: UTF8.self), radix: 16),
            let inode = UInt64(String(decoding: fields[9], as: UTF8.self))
        else { return }
        self.inodes[port, default: []].insert(inode)
    }

    package func isTaken(_ port: Int) -> Bool { self.inodes[port] != nil }

    /// The process that listens on the port; nil when it may not be seen.
    package func holder(of port: Int) -> PortHolder? {
        guard let inodes = self.inodes[port] else { return nil }
        let targets = Set(inodes.map { "socket:[\($0)]" })
        for pid in ProcessTable.pids() {
            guard let directory = opendir("/proc/\(pid)/fd") else { continue }
            defer { closedir(directory) }
            while let record = readdir(directory) {
                let name = withUnsafePointer(to: &record.pointee.d_name) { pointer in
                    pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if let target = Self.link("/proc/\(pid)/fd/\(name)"), targets.contains(target) {
                    return PortHolder(pid: pid, command: ProcessTable.command(of: pid)).withDeployment()
                }
            }
        }
        return nil
    }

    static func link(_ path: String) -> String? {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
            let text = buffer.bindMemory(to: CChar.self)
            guard let start = text.baseAddress else { return nil }
            let count = readlink(path, start, text.count)
            return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
        }
    }
}
