import Foundation
import Gateway
import Logging
import TestSupport
import Testing

/// Every kind of listener, and what is said when one cannot be had.
@Suite struct ListenerTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func aUnixSocketIsServedAndATornOneReplaced() async throws {
        let backend = try await TestBackend { .text($0.line) }
        try await withTemporaryDirectory { folder in
            let path = folder.appending(path: "gateway.sock").path
            for _ in 0..<2 {
                try await withGateway {
                    $0.listeners = [.unix(path: path, mode: 0o620)]
                } _: { gateway, _ in
                    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
                    #expect(mode == 0o620)
                    #expect(gateway.addresses == ["unix:\(path)"])
                    gateway.setBackends([backend.backend])
                    let client = try RawClient(path: path)
                    try client.send(Self.get)
                    #expect(await client.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
                    #expect(backend.seen.last?.has("x-forwarded-for: unknown") ?? false)
                    await #expect(throws: GatewayError.self) {
                        try await withGateway {
                            $0.listeners = [.unix(path: path)]
                        } _: { _, _ in
                        }
                    }
                }
                #expect(!FileManager.default.fileExists(atPath: path), "it is removed in the end")
                try Self.leaveSocket(path)
            }
        }
        await backend.kill()
    }

    @Test func anInheritedSocketIsServed() async throws {
        let backend = try await TestBackend { _ in .text("ok") }
        let listener = try SilentListener()
        // Connected before anybody accepts: it is not refused.
        let early = try RawClient(port: listener.port)
        try early.send(Self.get)
        try await withGateway {
            $0.listeners = [.inherited(descriptor: listener.duplicate(), name: "http")]
        } _: { gateway, port in
            #expect(port == listener.port)
            gateway.setBackends([backend.backend])
            #expect(await early.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
        }
        await backend.kill()
    }

    @Test func theErrorSaysWhatToDo() async throws {
        let listener = try SilentListener()
        let long = "/tmp/" + String(repeating: "a", count: 120)
        let cases: [(GatewayListener, String, String)] = [
            (.tcp(host: "127.0.0.1", port: listener.port), "the port is taken", "ss -ltnp"),
            (.tcp(host: "192.0.2.1", port: 0), "no such address", "0.0.0.0"),
            (.unix(path: long), "at most 107", "shorter"),
            (.unix(path: "/tmp/no/such/folder/x"), "folder does not exist", "create it"),
            (.unix(path: "/etc/passwd"), "no socket", "remove it"),
            (.inherited(descriptor: 9999, name: "http"), "no socket", "stream socket"),
        ]
        for (where_, reason, remedy) in cases {
            let gateway = Gateway(GatewayConfiguration(listeners: [where_]), logger: Logger(label: "gateway"))
            do throws(GatewayError) {
                try await gateway.bind()
                Issue.record("opened \(where_)")
            } catch {
                #expect(error.description.contains("\(where_)") && error.reason.contains(reason), "\(error)")
                #expect(error.remedy.contains(remedy), "\(error)")
            }
        }
    }

    @Test func certificatesAreReplacedWithoutARestart() async throws {
        let backend = try await TestBackend { _ in .text("ok") }
        try await withTemporaryDirectory { folder in
            let certificates = try await Certificates(in: folder)
            let (certificate, key) = (folder.appending(path: "live.pem").path, folder.appending(path: "live.key").path)
            try Self.copy(certificates.certificate("server"), certificate)
            try Self.copy(certificates.key("server"), key)
            try await withGateway {
                let files = GatewayTLS(certificatePath: certificate, keyPath: key)
                $0.listeners = [.tcp(host: "127.0.0.1", port: 0, tls: files)]
            } _: { gateway, port in
                gateway.setBackends([backend.backend])
                #expect(try await Self.ask(port).contains("CN=server"))
                #expect(backend.seen.last?.has("x-forwarded-proto: https") ?? false)
                try Self.copy(certificates.certificate("named"), certificate)
                #expect(throws: GatewayError.self, "the key belongs to the other one") {
                    try gateway.reloadCertificates()
                }
                #expect(try await Self.ask(port).contains("CN=server"), "what was there stays")
                try Self.copy(certificates.key("named"), key)
                try gateway.reloadCertificates()
                #expect(try await Self.ask(port).contains("CN=named"))
            }
        }
        await backend.kill()
    }

    @Test func aClientOfTLSThatStopsReadingIsCutOffAtOnce() async throws {
        let listener = try SilentListener()
        try await withTemporaryDirectory { folder in
            let certificates = try await Certificates(in: folder)
            try await withGateway {
                let files = GatewayTLS(
                    certificatePath: certificates.certificate("server"),
                    keyPath: certificates.key("server")
                )
                $0.listeners = [.tcp(host: "127.0.0.1", port: 0, tls: files)]
                $0.limits.writeTimeout = .milliseconds(400)
            } _: { gateway, port in
                gateway.setBackends([Backend(id: "x", generation: 1, host: "127.0.0.1", port: listener.port)])
                // Nobody reads the pipe, so openssl stops in the middle.
                let script = """
                    printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' \
                      | openssl s_client -ign_eof -connect 127.0.0.1:\(port) 2>/dev/null | sleep 15
                    """
                _ = try await withProgram("/bin/bash", ["-c", script]) { program in
                    let backend = RawClient(accepted: listener.accept())
                    try backend.send("HTTP/1.1 200 OK\r\ncontent-length: \(64 << 20)\r\n\r\n")
                    let bytes = [UInt8](repeating: 120, count: 1 << 20)
                    try await eventually("the request is ended") {
                        _ = backend.sendSome(bytes)
                        return gateway.status.inFlight == 0
                    }
                    // A polite end of TLS would wait five seconds.
                    try await eventually(within: .seconds(2), "the connection is gone") {
                        gateway.status.connections == 0
                    }
                    #expect(gateway.status.backends.first?.stalled == 1)
                    program.send(SIGKILL)
                }
            }
        }
    }

    /// What a process leaves that died.
    private static func leaveSocket(_ path: String) throws {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(result == 0)
    }

    /// Asks with the `openssl` command.
    private static func ask(_ port: Int) async throws -> String {
        let script = """
            printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' \
              | openssl s_client -ign_eof -connect 127.0.0.1:\(port) -alpn http/1.1 2>&1 | tr -d ' '; echo done
            """
        return try await withProgram("/bin/bash", ["-c", script]) { program in
            try await program.waitForOutput("done\n", within: .seconds(15))
            let output = program.output
            #expect(output.contains("HTTP/1.1200OK"), "\(output)")
            return output
        }.value
    }

    private static func copy(_ from: String, _ to: String) throws {
        try Data(contentsOf: URL(filePath: from)).write(to: URL(filePath: to))
    }
}
