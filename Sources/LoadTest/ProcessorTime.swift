#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Processor time of other processes, from `/proc`.
package enum ProcessorTime {
    /// What a process and all its descendants have used since they were started, in seconds; nil when it is gone.
    package static func ofTree(_ pid: Int32) -> Double? {
        guard let own = self.of(pid) else { return nil }
        var total = own
        for thread in self.threads(of: pid) {
            let children = self.read("/proc/\(pid)/task/\(thread)/children") ?? ""
            for child in children.split(separator: " ").compactMap({ Int32($0) }) { total += self.ofTree(child) ?? 0 }
        }
        return total
    }

    private static func of(_ pid: Int32) -> Double? {
        // The name in parentheses may hold anything; the fields are counted from its end.
        guard let text = self.read("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return nil }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private static func threads(of pid: Int32) -> [String] {
        guard let folder = opendir("/proc/\(pid)/task") else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.first != "." { names.append(name) }
        }
        return names
    }

    private static func read(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
