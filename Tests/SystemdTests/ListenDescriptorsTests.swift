import Foundation
import TestSupport
import Testing

/// Sockets that were passed by `systemd-socket-activate`, a real process, to a program that takes them.
@Suite struct ListenDescriptorsTests {
    private static let activate = "/usr/bin/systemd-socket-activate"

    @Test func `several sockets, TCP and Unix, arrive with names and addresses, and serve`() async throws {
        try await withTemporaryDirectory { directory in
            let port = try freePort()
            let path = directory.appending(path: "public.sock").path()
            let arguments = [
                "-l", "127.0.0.1:\(port)", "-l", path, "-l", "@dl-\(port)", "--fdname=http:local:abstract", subject,
                "listen",
            ]
            let run = try await withProgram(Self.activate, arguments) { program in
                try await program.waitForOutput("@dl-\(port) as 5")
                #expect(try Self.read(path) == "hello from local\n")
                try await program.waitForExit()
                return program.output
            }
            #expect(run.exit == .code(0))
            #expect(run.value.contains("took 3 http (127.0.0.1:\(port)) cloexec=true\n"), "\(run.value)")
            #expect(run.value.contains("took 4 local (\(path)) cloexec=true\n"), "\(run.value)")
            #expect(run.value.contains("took 5 abstract (@dl-\(port)) cloexec=true\n"), "\(run.value)")
            #expect(run.value.contains("took 3; again 0; left 0"), "\(run.value)")
        }
    }

    @Test(arguments: [
        (["--datagram"], "no stream socket: in its socket unit, use ListenStream=, not ListenDatagram="),
        (["--accept"], "is a connection, not a listener: in its socket unit, set Accept=no"),
        (["--seqpacket"], "no stream socket"),
    ])
    func `a socket of the wrong kind is named, with what to change`(options: [String], expected: String) async throws {
        try await withTemporaryDirectory { directory in
            let path = directory.appending(path: "s").path()
            let arguments = options + ["-l", path, "--fdname=http", subject, "listen"]
            let output = try await withProgram(Self.activate, arguments) { program in
                try await program.waitForOutput("Listening on \(path)")
                try Self.knock(path, options)
                try await program.waitForOutput("error: badDescriptor: descriptor 3 (")
                return program.output
            }.value
            #expect(output.contains(expected), "\(output)")
        }
    }

    @Test(arguments: [
        (
            "exec 3</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=file", "descriptor 3 ('file')",
            "is no socket"
        ),
        ("export LISTEN_PID=$$ LISTEN_FDS=2", "error: badVariable", "LISTEN_FDS=2"),
        ("export LISTEN_PID=$$ LISTEN_FDS=many", "error: badVariable", "LISTEN_FDS=many"),
        ("export LISTEN_PID=1 LISTEN_FDS=1", "took 0; again 0; left 0", ""),
        ("true", "took 0; again 0; left 0", ""),
    ])
    func `variables that do not fit are an error, those of another process are none`(
        setting: String,
        first: String,
        second: String
    ) async throws {
        let output = try await withProgram("/bin/bash", ["-c", "\(setting); exec \(subject) listen 3<&3"]) {
            try await $0.waitForExit()
            return $0.output
        }.value
        #expect(output.contains(first) && (second.isEmpty || output.contains(second)), "\(output)")
    }

    /// Connects and reads to the end.
    private static func read(_ path: String) throws -> String {
        let descriptor = try self.connected(path, SOCK_STREAM)
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }

    /// Makes the activator start its program.
    private static func knock(_ path: String, _ options: [String]) throws {
        let type =
            options.contains("--datagram") ? SOCK_DGRAM : options.contains("--seqpacket") ? SOCK_SEQPACKET : SOCK_STREAM
        let descriptor = try self.connected(path, type)
        defer { close(descriptor) }
        _ = send(descriptor, "x", 1, 0)
    }

    private static func connected(_ path: String, _ type: __socket_type) throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(type.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        return descriptor
    }
}
