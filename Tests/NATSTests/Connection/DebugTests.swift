import Logging
import NIOCore
import TestSupport
import Testing
import Synchronization

@testable import NATS

@Suite struct DebugTests {
    @Test func `plain`() async throws { try await self.go(tls: false) }
    @Test func `tls`() async throws { try await self.go(tls: true) }
    @Test func `tlsidle`() async throws { try await self.go(tls: true, count: 0) }

    func go(tls: Bool, count: Int = 20) async throws {
        let port = try freePort()
        try await withTemporaryDirectory { directory in
            let certificates = try await TestCertificates(in: directory)
            var file = "\n"
            if tls { file += """
                tls { cert_file: "\(certificates.server.certificate)", key_file: "\(certificates.server.key)" }
                """ }
            file = file.replacing("logfile", with: "#logfile")
            var logger = Logger(label: "test"); logger.logLevel = .debug
            let log = logger
            let connection = try await NATSServerFixture.run(port: port, configuration: file) { server in
                var c = server.configuration()
                c.servers = [.init(host: "127.0.0.1", port: server.port, isEncrypted: tls)]
                if tls { c.tls = .init(authorityFile: certificates.authority) }
                let connection = try await NATSConnection.connect(c, logger: log)
                _ = try await connection.answer("echo") { $0 }
                for _ in 0..<count {
                    let payload = ByteBuffer(repeating: 1, count: 1_000_000)
                    connection.startRequest("echo", payload: payload, timeout: .seconds(20)) { _ in }
                }
                return connection
            }
            try await eventually("the loss is noticed") { connection.statistics.phase == .reconnecting }
            try await NATSServerFixture.run(port: port, configuration: file) { s in
                do {
                let reply = try await connection.request("echo", payload: ByteBuffer(string: "x"), timeout: .seconds(4))
                #expect(String(buffer: reply.payload) == "x")
                } catch { print("ERR", error, connection.statistics) 
                  connection.core.state.withLock { print("WW", $0.wantsWrite, $0.socket as Any, $0.outbound.bytes, $0.isThreadAwake, $0.phase) }
                  print(s.process.output.suffix(3000))
                  Issue.record("x")
                }
                await connection.close()
            }
        }
    }
}
