import Foundation
import Glibc

/// The processes and listening ports of this machine, read from /proc.
package enum SystemProcesses {
    /// Whether a process exists and is no zombie.
    package static func isRunning(_ pid: Int32) -> Bool {
        guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let end = stat.lastIndex(of: ")")
        else { return false }
        let state = stat[stat.index(after: end)...].split(separator: " ").first
        return state != "Z" && state != "X"
    }

    /// The processes whose environment has a text, which must have been given at their start.
    package static func withEnvironment(containing text: String) -> [Int32] {
        self.all.filter { pid in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/environ") else { return false }
            return String(decoding: data, as: UTF8.self).contains(text) && self.isRunning(pid)
        }
    }

    /// The environment that a process was started with.
    package static func environment(of pid: Int32) -> [String: String] {
        let data = FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data()
        var variables: [String: String] = [:]
        for entry in String(decoding: data, as: UTF8.self).split(separator: "\0") {
            guard let end = entry.firstIndex(of: "=") else { continue }
            variables[String(entry[..<end])] = String(entry[entry.index(after: end)...])
        }
        return variables
    }

    /// The command line of a process, for messages.
    package static func command(of pid: Int32) -> String {
        let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
        return String(decoding: data, as: UTF8.self).split(separator: "\0").joined(separator: " ")
    }

    /// Children of a process.
    package static func children(of pid: Int32) -> [Int32] {
        self.all.filter { candidate in
            guard let stat = try? String(contentsOfFile: "/proc/\(candidate)/stat", encoding: .utf8),
                let end = stat.lastIndex(of: ")")
            else { return false }
            let fields = stat[stat.index(after: end)...].split(separator: " ")
            return fields.count > 1 && Int32(fields[1]) == pid && fields[0] != "Z"
        }
    }

    /// Whether somebody listens on a TCP port.
    package static func isListening(port: Int) -> Bool {
        let suffix = String(port, radix: 16, uppercase: true)
        let wanted = String(repeating: "0", count: 4 - suffix.count) + suffix
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            for line in self.lines(of: table).dropFirst() {
                let fields = line.split(separator: " ")
                if fields.count > 3, fields[1].hasSuffix(":" + wanted), fields[3] == "0A" { return true }
            }
        }
        return false
    }

    /// The names of Linux's abstract namespace that sockets of this network namespace have.
    package static var abstractNames: [String] {
        self.lines(of: "/proc/net/unix").compactMap { line in
            line.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).dropFirst().first.map(
                String.init
            )
        }
    }

    /// All lines of a table that the system makes while it is read: it gives a page at a time, and Foundation takes a part for the end.
    package static func lines(of table: String) -> [Substring] {
        let descriptor = open(table, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = read(descriptor, &part, part.count), count > 0 { bytes += part[..<count] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    }

    private static var all: [Int32] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
    }
}
