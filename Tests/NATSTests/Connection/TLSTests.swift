import Logging
import NATS
import NIOCore
import TestSupport
import Testing

@Suite struct TLSTests {
    private func serve(
        verify: Bool,
        _ body: @Sendable (NATSServerFixture, Certificates) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let certificates = try await Certificates(in: directory)
            let file = """
                tls {
                  cert_file: "\(certificates.certificate("server"))"
                  key_file: "\(certificates.key("server"))"
                  ca_file: "\(certificates.certificate("ca"))"
                  verify: \(verify)
                }
                max_payload: 8MB
                """
            try await NATSServerFixture.run(configuration: file) { try await body($0, certificates) }
        }
    }

    private func configuration(_ server: NATSServerFixture, _ tls: NATSConfiguration.TLS?) -> NATSConfiguration {
        var configuration = server.configuration()
        configuration.servers = [.init(host: "127.0.0.1", port: server.port, isEncrypted: true)]
        configuration.tls = tls
        return configuration
    }

    @Test func `the server's certificate is checked`() async throws {
        try await self.serve(verify: false) { server, certificates in
            let right = self.configuration(server, .init(authorityFile: certificates.certificate("ca")))
            try await connected(right) { connection in
                let subscription = try await connection.answer("echo") { $0 }
                // Many TLS records in both directions.
                let payload = ByteBuffer(repeating: 0x61, count: 5_000_000)
                let reply = try await connection.request("echo", payload: payload)
                #expect(reply.payload == payload)
                subscription.unsubscribe()
            }
            let stranger = await connectError(
                self.configuration(server, .init(authorityFile: certificates.certificate("other")))
            )
            #expect(stranger?.code == .tlsFailed, "\(String(describing: stranger))")
            #expect(stranger?.message.contains("NATS_TLS_CA_CERT_PATH") == true)
            #expect(await connectError(self.configuration(server, nil))?.code == .tlsFailed)

            let otherName = NATSConfiguration.TLS(
                authorityFile: certificates.certificate("ca"),
                serverName: "elsewhere"
            )
            #expect(await connectError(self.configuration(server, otherName))?.code == .tlsFailed)
            let rightName = NATSConfiguration.TLS(
                authorityFile: certificates.certificate("ca"),
                serverName: "localhost"
            )
            #expect(await connectError(self.configuration(server, rightName)) == nil)
            #expect(await connectError(self.configuration(server, .init(skipsVerification: true))) == nil)
        }
    }

    @Test func `the client's certificate is sent`() async throws {
        try await self.serve(verify: true) { server, certificates in
            let both = NATSConfiguration.TLS(
                authorityFile: certificates.certificate("ca"),
                certificateFile: certificates.certificate("client"),
                keyFile: certificates.key("client")
            )
            #expect(await connectError(self.configuration(server, both)) == nil)
            let none = await connectError(
                self.configuration(server, .init(authorityFile: certificates.certificate("ca")))
            )
            #expect(none != nil)
            var mismatch = both
            mismatch.keyFile = certificates.key("server")
            let error = await connectError(self.configuration(server, mismatch))
            #expect(error?.code == .invalidConfiguration, "\(String(describing: error))")
        }
    }

    @Test func `a server without TLS is named as such`() async throws {
        try await NATSServerFixture.run { server in
            let error = await connectError(self.configuration(server, nil))
            #expect(error?.code == .tlsFailed)
            #expect(error?.message.contains("nats:// instead of tls://") == true, "\(String(describing: error))")
        }
    }

    @Test func `reconnects with TLS, and again in the middle of large messages`() async throws {
        let port = try freePort()
        try await withTemporaryDirectory { directory in
            let certificates = try await Certificates(in: directory)
            let file = """
                tls { cert_file: "\(certificates.certificate("server"))", key_file: "\(certificates.key("server"))" }
                """
            let connection = try await NATSServerFixture.run(port: port, configuration: file) { server in
                let connection = try await NATSConnection.connect(
                    self.configuration(server, .init(authorityFile: certificates.certificate("ca"))),
                    logger: Logger(label: "test")
                )
                _ = try await connection.answer("echo") { $0 }
                for _ in 0..<20 {
                    let payload = ByteBuffer(repeating: 1, count: 1_000_000)
                    connection.startRequest("echo", payload: payload, timeout: .seconds(20)) { _ in }
                }
                return connection
            }
            try await eventually("the loss is noticed") { connection.statistics.phase == .reconnecting }
            try await NATSServerFixture.run(port: port, configuration: file) { _ in
                let reply = try await connection.request(
                    "echo",
                    payload: ByteBuffer(string: "x"),
                    timeout: .seconds(20)
                )
                #expect(String(buffer: reply.payload) == "x")
                #expect(connection.statistics.reconnects == 1)
                await connection.close()
            }
        }
    }
}
