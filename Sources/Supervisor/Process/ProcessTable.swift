internal import Deployment
internal import Glibc

/// One process as /proc shows it.
struct ProcessEntry: Sendable, Hashable {
    var pid: Int32
    var parent: Int32
    var session: Int32
    /// Field 22 of the stat line; with the pid it names a process for good.
    var startTime: UInt64
    /// Dead, and only waiting to be reaped.
    var isZombie: Bool
    /// Stopped by a signal or a debugger.
    var isSuspended: Bool

    /// Reads `/proc/PID/stat`.
    ///
    /// The name in parentheses may hold anything, so the fields are counted from the last one.
    init?(stat: [UInt8]) {
        guard let close = stat.lastIndex(of: UInt8(ascii: ")")), let open = stat.firstIndex(of: UInt8(ascii: "("))
        else {
            return nil
        }
        let fields = stat[(close + 1)...].split(separator: UInt8(ascii: " "))
        guard
            fields.count > 19, let state = fields[0].first,
            let pid = Int32(String(decoding: stat[..<open], as: UTF8.self).trimmed),
            let parent = Int32(String(decoding: fields[1], as: UTF8.self)),
            let session = Int32(String(decoding: fields[3], as: UTF8.self)),
            let startTime = UInt64(String(decoding: fields[19], as: UTF8.self))
        else { return nil }
        self.pid = pid
        self.parent = parent
        self.session = session
        self.startTime = startTime
        self.isZombie = state == UInt8(ascii: "Z") || state == UInt8(ascii: "X")
        self.isSuspended = state == UInt8(ascii: "T") || state == UInt8(ascii: "t")
    }

    init(
        pid: Int32,
        parent: Int32,
        session: Int32,
        startTime: UInt64 = 0,
        isZombie: Bool = false,
        isSuspended: Bool = false
    ) {
        self.pid = pid
        self.parent = parent
        self.session = session
        self.startTime = startTime
        self.isZombie = isZombie
        self.isSuspended = isSuspended
    }
}

/// Reads /proc.
///
/// Blocking calls, all of them short.
enum ProcessTable {
    /// Every process of this machine that can be seen.
    static func all() -> [ProcessEntry] {
        Self.pids().compactMap { Self.entry(of: $0) }
    }

    static func entry(of pid: Int32) -> ProcessEntry? {
        Self.read("/proc/\(pid)/stat").flatMap { ProcessEntry(stat: $0) }
    }

    /// Whose a process is; nil when it is gone.
    static func user(of pid: Int32) -> UInt32? {
        var status = stat()
        return stat("/proc/\(pid)", &status) == 0 ? status.st_uid : nil
    }

    /// The children of a process, or nil when the kernel does not tell.
    static func children(of pid: Int32) -> [Int32]? {
        guard let bytes = Self.read("/proc/\(pid)/task/\(pid)/children") else { return nil }
        return bytes.split(separator: UInt8(ascii: " ")).compactMap {
            Int32(String(decoding: $0, as: UTF8.self).trimmed)
        }
    }

    /// The command line for people, at most 120 characters and without secrets; the name in brackets when there is none.
    static func command(of pid: Int32) -> String {
        let bytes = Self.read("/proc/\(pid)/cmdline") ?? []
        let words = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.filter { !$0.isEmpty }
        if words.isEmpty {
            let name = Self.read("/proc/\(pid)/comm").map { String(decoding: $0, as: UTF8.self).trimmed }
            return "[\(name?.printable ?? "?")]"
        }
        let line = Secrets.masking(arguments: Array(words.prefix(40))).joined(separator: " ").printable
        return line.count > 120 ? line.prefix(117) + "..." : line
    }

    /// The value of a variable that the process was started with; nil also when it may not be read.
    static func variable(_ name: String, of pid: Int32) -> String? {
        guard let bytes = Self.read("/proc/\(pid)/environ") else { return nil }
        let prefix = Array("\(name)=".utf8)
        for entry in bytes.split(separator: 0) where entry.starts(with: prefix) {
            return String(decoding: entry.dropFirst(prefix.count), as: UTF8.self)
        }
        return nil
    }

    static func pids() -> [Int32] {
        guard let directory = opendir("/proc") else { return [] }
        defer { closedir(directory) }
        var pids: [Int32] = []
        while let record = readdir(directory) {
            let name = withUnsafePointer(to: &record.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let pid = Int32(name) { pids.append(pid) }
        }
        return pids
    }

    /// Reads a file that may be long without keeping more than a part of it.
    ///
    /// - Parameters:
    ///   - path: of the file; one that cannot be read has no lines.
    ///   - body: gets one line after another, without its end; of those of 32 KiB and more not all.
    static func eachLine(of path: String, _ body: (UnsafeRawBufferPointer) -> Void) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        withUnsafeTemporaryAllocation(byteCount: 1 << 15, alignment: 1) { buffer in
            guard let base = buffer.baseAddress else { return }
            var filled = 0
            while true {
                let count = Glibc.read(descriptor, base + filled, buffer.count - filled)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { break }
                filled += count
                var start = 0
                while start < filled, let end = memchr(base + start, 0x0A, filled - start) {
                    let length = UnsafeRawPointer(end) - UnsafeRawPointer(base + start)
                    body(UnsafeRawBufferPointer(start: base + start, count: length))
                    start += length + 1
                }
                memmove(base, base + start, filled - start)
                filled = filled - start < buffer.count ? filled - start : 0
            }
            if filled > 0 { body(UnsafeRawBufferPointer(start: base, count: filled)) }
        }
    }

    /// The whole of a small file, or nil.
    static func read(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        while true {
            let count = withUnsafeTemporaryAllocation(byteCount: 8192, alignment: 1) { buffer in
                let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                if count > 0 { bytes.append(contentsOf: buffer[..<count]) }
                return count
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return bytes }
        }
    }
}

extension String {
    /// Without what moves a cursor or changes colours: words may come from processes.
    package var printable: String {
        var result = ""
        for scalar in self.unicodeScalars {
            let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
            result.unicodeScalars.append(isControl ? " " : scalar)
        }
        return result
    }

    /// Without white space at both ends.
    var trimmed: String {
        var view = self[...]
        while let first = view.first, first.isWhitespace { view.removeFirst() }
        while let last = view.last, last.isWhitespace { view.removeLast() }
        return String(view)
    }
}
