import Deployment
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Supervisor

/// What is read of processes, on a folder that looks like /proc.
@Suite struct ProcessReaderTests {
    private let folder = ScratchFolder()

    private func add(
        _ pid: Int32,
        parent: Int32 = 1,
        _ words: [String],
        environment: [String: String] = [:],
        sockets: [Int] = [],
        state: String = "S"
    ) throws {
        let path = "\(self.folder.path)/\(pid)"
        try FileManager.default.createDirectory(atPath: "\(path)/fd", withIntermediateDirectories: true)
        func write(_ name: String, _ text: String) throws {
            try text.write(toFile: "\(path)/\(name)", atomically: false, encoding: .utf8)
        }
        try write("cmdline", words.map { "\($0)\0" }.joined())
        try write("environ", environment.map { "\($0.key)=\($0.value)\0" }.joined())
        let zeros = Array(repeating: "0", count: 14).joined(separator: " ")
        try write("stat", "\(pid) (py) th) \(state) \(parent) 1 \(pid) 0 \(zeros) \(pid * 10) 0 0")
        try write("cgroup", "0::/system.slice/chat.service\n")
        try FileManager.default.createSymbolicLink(atPath: "\(path)/cwd", withDestinationPath: "/srv/chat")
        for (index, inode) in sockets.enumerated() {
            try FileManager.default.createSymbolicLink(
                atPath: "\(path)/fd/\(index + 3)",
                withDestinationPath: "socket:[\(inode)]"
            )
        }
    }

    @Test func `a command line for people has no secrets in it, and nothing that a terminal obeys`() async throws {
        let stranger = try Stranger([
            "/bin/sh", "-c", "sleep 60; :", "\u{1b}[31mleaker\u{7}\n", "--api-key", "hunter5hunter5", "--token=hunter6",
            "redis://ada:hunter7@cache/", "555",
        ])
        // The program takes its place a moment after it was asked for.
        try await eventually("it runs") { ProcessTable.command(of: stranger.pid).hasPrefix("/bin/sh") }
        let words = ProcessTable.command(of: stranger.pid)
        #expect(!words.contains("hunter"), "\(words)")
        #expect(words.contains("--api-key") && words.contains("--token=") && words.hasSuffix(" 555"), "\(words)")
        #expect(!words.unicodeScalars.contains { $0.properties.generalCategory == .control }, "\(words)")
    }

    private func reader() throws -> ProcessReader {
        try FileManager.default.createDirectory(atPath: "\(self.folder.path)/net", withIntermediateDirectories: true)
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        let rest = "00000000:00000000 00:00000000 00000000  0 0"
        try """
        \(head)   0: 0100007F:1F40 00000000:0000 0A \(rest) 4711 1
           1: 0100007F:1F41 0100007F:A000 01 \(rest) 4712 1
        garbage
        """.write(toFile: "\(self.folder.path)/net/tcp", atomically: false, encoding: .utf8)
        let any = String(repeating: "0", count: 32)
        try "\(head)   0: \(any):1F42 \(any):0000 0A \(rest) 4713 1\n"
            .write(toFile: "\(self.folder.path)/net/tcp6", atomically: false, encoding: .utf8)
        return ProcessReader(root: self.folder.path, user: getuid())
    }

    private static func isPython(_ words: [String]) -> Bool { words.first == "python" }

    @Test func everythingOfAProcessIsRead() throws {
        try self.add(50, ["bash", "agg.sh"])
        try self.add(
            60,
            parent: 50,
            ["python", "-m", "x", ""],
            environment: ["A": "1=2", "PATH": "/nowhere"],
            sockets: [4711, 4712, 4713, 99]
        )
        let (found, launched) = try self.reader().processes(Self.isPython)
        let process = try #require(found.first)
        #expect(found.count == 1 && launched.isEmpty)
        #expect(process.pid == 60 && process.parent == 50 && process.startTime == 600)
        #expect(process.arguments == ["python", "-m", "x", ""])
        #expect(process.environment == ["A": "1=2", "PATH": "/nowhere"])
        #expect(process.listeners == [.init(host: "127.0.0.1", port: 8000), .init(host: "::", port: 8002)])
        #expect(process.workingDirectory == "/srv/chat")
        #expect(process.unit == .init(name: "chat.service", isUser: false))
        #expect(process.parentArguments == ["bash", "agg.sh"])
        #expect(process.program == nil)
    }

    @Test func whatALauncherRunsOthersForkedOrIsDeadIsLeftOut() throws {
        try self.add(10, ["python", "a"])
        try self.add(11, parent: 10, ["python", "a"])
        try self.add(12, parent: 11, ["python", "a"])
        try self.add(20, ["python", "b"], environment: ["DYNAMO_LAUNCH_REPLICA": "chat/worker"])
        try self.add(30, ["python", "c"], state: "Z")
        let (found, launched) = try self.reader().processes(Self.isPython)
        #expect(found.map(\.pid) == [10])
        #expect(launched == [20])
        let others = ProcessReader(root: self.folder.path, user: getuid() + 1).processes(Self.isPython)
        #expect(others.found.isEmpty && others.launched.isEmpty)
    }
}
