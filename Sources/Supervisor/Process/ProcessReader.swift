package import Deployment
internal import Glibc

/// Reads what is to be known of the running processes of this user.
///
/// Blocking calls, all of them short.
package struct ProcessReader: Sendable {
    private let root: String
    private let user: UInt32

    package init() { self.init(root: "/proc", user: getuid()) }

    /// Reads a folder that looks like /proc.
    init(root: String, user: UInt32) {
        self.root = root
        self.user = user
    }

    /// The processes of this user whose command lines fit.
    ///
    /// - Parameters:
    ///   - leaders: processes that a launcher has started: only these and their descendants; nil: only what no launcher runs.
    ///   - fits: gets argv.
    /// - Returns: those that fit, and the pids of others that fit and that a launcher runs.
    package func processes(
        under leaders: Set<Int32>? = nil,
        _ fits: ([String]) -> Bool
    ) -> (found: [RunningProcess], launched: [Int32]) {
        let listeners = self.listeners()
        var found: [RunningProcess] = []
        var launched: [Int32] = []
        for pid in self.pids() {
            let words = self.words(of: pid)
            guard !words.isEmpty, fits(words), self.isMine(pid), let entry = self.entry(of: pid), !entry.isZombie else {
                continue
            }
            let environment = self.environment(of: pid)
            if let leaders {
                guard leaders.contains(pid) || self.ancestors(of: pid).contains(where: leaders.contains) else {
                    continue
                }
            } else if environment?[StrayFinder.marker] != nil {
                launched.append(pid)
                continue
            }
            let folder = self.link("\(pid)/cwd")
            found.append(
                RunningProcess(
                    pid: pid,
                    parent: entry.parent,
                    startTime: entry.startTime,
                    arguments: words,
                    environment: environment,
                    workingDirectory: folder,
                    executable: self.link("\(pid)/exe"),
                    listeners: self.sockets(of: pid).compactMap { listeners[$0] }.sorted(),
                    unit: self.unit(of: pid),
                    program: self.program(words[0], path: environment?["PATH"]),
                    parentArguments: self.words(of: entry.parent)
                )
            )
        }
        // What a process has forked has its command line too.
        let pids = Set(found.map(\.pid))
        found.removeAll { process in self.ancestors(of: process.pid).contains(where: pids.contains) }
        return (found.sorted { $0.pid < $1.pid }, launched.sorted())
    }

    /// Whether the process is still the one that was found.
    package static func isRunning(_ pid: Int32, startTime: UInt64) -> Bool {
        ProcessTable.entry(of: pid).map { $0.startTime == startTime && !$0.isZombie } ?? false
    }

    // MARK: One process

    private func pids() -> [Int32] {
        guard let directory = opendir(self.root) else { return [] }
        defer { closedir(directory) }
        var pids: [Int32] = []
        while let record = readdir(directory) {
            if let pid = Int32(Self.name(record)) { pids.append(pid) }
        }
        return pids
    }

    private func isMine(_ pid: Int32) -> Bool {
        var status = stat()
        return stat("\(self.root)/\(pid)", &status) == 0 && status.st_uid == self.user
    }

    private func entry(of pid: Int32) -> ProcessEntry? {
        ProcessTable.read("\(self.root)/\(pid)/stat").flatMap { ProcessEntry(stat: $0) }
    }

    private func ancestors(of pid: Int32) -> [Int32] {
        var result: [Int32] = []
        var pid = pid
        while let parent = self.entry(of: pid)?.parent, parent > 1, result.count < 64 {
            result.append(parent)
            pid = parent
        }
        return result
    }

    /// argv; without trailing empty words, which a program leaves that has written over its title.
    private func words(of pid: Int32) -> [String] {
        guard pid > 0, let bytes = ProcessTable.read("\(self.root)/\(pid)/cmdline") else { return [] }
        var words = bytes.split(separator: 0, omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        // The last word ends with a NUL.
        if words.last?.isEmpty ?? false { words.removeLast() }
        return words
    }

    private func environment(of pid: Int32) -> [String: String]? {
        guard let bytes = ProcessTable.read("\(self.root)/\(pid)/environ") else { return nil }
        var result: [String: String] = [:]
        for entry in bytes.split(separator: 0) {
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let name = String(decoding: entry[..<equals], as: UTF8.self)
            // As getenv(3) does it, the first one counts.
            if result[name] == nil { result[name] = String(decoding: entry[(equals + 1)...], as: UTF8.self) }
        }
        return result
    }

    private func unit(of pid: Int32) -> RunningProcess.Unit? {
        let lines = ProcessTable.read("\(self.root)/\(pid)/cgroup") ?? []
        for line in lines.split(separator: UInt8(ascii: "\n")) {
            let fields = String(decoding: line, as: UTF8.self).split(
                separator: ":",
                maxSplits: 2,
                omittingEmptySubsequences: false
            )
            // The unified hierarchy, or systemd's own in the old layout.
            guard fields.count == 3, fields[0] == "0" || fields[1] == "name=systemd" else { continue }
            if let unit = RunningProcess.Unit(controlGroup: String(fields[2])) { return unit }
        }
        return nil
    }

    private func program(_ name: String, path: String?) -> String? {
        if name.contains("/") { return name.hasPrefix("/") ? name : nil }
        for folder in (path ?? "").split(separator: ":") where access("\(folder)/\(name)", X_OK) == 0 {
            return "\(folder)/\(name)"
        }
        return nil
    }

    // MARK: Sockets

    private func sockets(of pid: Int32) -> Set<UInt64> {
        guard let directory = opendir("\(self.root)/\(pid)/fd") else { return [] }
        defer { closedir(directory) }
        var result: Set<UInt64> = []
        while let record = readdir(directory) {
            guard let target = self.link("\(pid)/fd/\(Self.name(record))"), target.hasPrefix("socket:[") else {
                continue
            }
            if let inode = UInt64(target.dropFirst(8).dropLast()) { result.insert(inode) }
        }
        return result
    }

    /// Every listening TCP socket by its inode.
    private func listeners() -> [UInt64: RunningProcess.Listener] {
        var result: [UInt64: RunningProcess.Listener] = [:]
        for file in ["tcp", "tcp6"] {
            let bytes = ProcessTable.read("\(self.root)/net/\(file)") ?? []
            for line in bytes.split(separator: UInt8(ascii: "\n")).dropFirst() {
                let fields = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
                // 0A is LISTEN.
                guard fields.count > 9, fields[3] == "0A", let inode = UInt64(fields[9]) else { continue }
                let parts = fields[1].split(separator: ":")
                guard parts.count == 2, let port = Int(parts[1], radix: 16), let host = Self.host(parts[0]) else {
                    continue
                }
                result[inode] = RunningProcess.Listener(host: host, port: port)
            }
        }
        return result
    }

    /// An address from words of 32 bits in the machine's own order.
    private static func host(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text
        while rest.count >= 8 {
            guard let word = UInt32(rest.prefix(8), radix: 16) else { return nil }
            withUnsafeBytes(of: word) { bytes += $0 }
            rest = rest.dropFirst(8)
        }
        guard rest.isEmpty, bytes.count == 4 || bytes.count == 16 else { return nil }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
            let family = bytes.count == 4 ? AF_INET : AF_INET6
            guard inet_ntop(family, bytes, buffer.baseAddress, socklen_t(buffer.count)) != nil else { return nil }
            return buffer.baseAddress.map { String(cString: $0) }
        }
    }

    private func link(_ path: String) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            guard let start = buffer.baseAddress else { return nil }
            let count = readlink("\(self.root)/\(path)", start, buffer.count)
            guard count > 0 else { return nil }
            return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    private static func name(_ record: UnsafeMutablePointer<dirent>) -> String {
        withUnsafePointer(to: &record.pointee.d_name) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
    }
}
