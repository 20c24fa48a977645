import Foundation
import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// TLS with mutual certificates between our processes and Dynamo 1.6.1, the first release that has it.
extension RequestPlaneInteropTests {
    private static let peer = InteropPeer(release: .v161, mode: .tcp)

    private func security(_ certificates: Certificates) -> TransportSecurity {
        var security = TransportSecurity()
        security.certificatePath = certificates.certificate("server")
        security.keyPath = certificates.key("server")
        security.authorityPath = certificates.certificate("ca")
        security.clientAuthorityPath = certificates.certificate("ca")
        security.clientCertificatePath = certificates.certificate("client")
        security.clientKeyPath = certificates.key("client")
        return security
    }

    /// The same for the real process; a name that is left out is not set.
    private func variables(
        _ folder: URL,
        _ certificates: Certificates,
        client: Bool = true
    ) -> [String: String?] {
        var variables = self.environment(Self.peer, folder)
        // The certificate is for loopback; without this the real caller announces another address.
        variables["DYN_TCP_RESPONSE_STREAM_HOST"] = "lo"
        variables["DYN_TCP_TLS_CERT_PATH"] = certificates.certificate("server")
        variables["DYN_TCP_TLS_KEY_PATH"] = certificates.key("server")
        variables["DYN_TCP_TLS_CA_CERT_PATH"] = certificates.certificate("ca")
        variables["DYN_TCP_TLS_CLIENT_CA_CERT_PATH"] = certificates.certificate("ca")
        if client {
            variables["DYN_TCP_TLS_CLIENT_CERT_PATH"] = certificates.certificate("client")
            variables["DYN_TCP_TLS_CLIENT_KEY_PATH"] = certificates.key("client")
        }
        return variables
    }

    @Test(arguments: [true, false])
    func realCallerWithTLSCallsOurServer(_ hasCertificate: Bool) async throws {
        let python = try TestEnvironment.python(.v161)
        try await withTemporaryDirectory { folder in
            let certificates = try await Certificates(in: folder)
            try await self.withManager(Self.peer, security: self.security(certificates)) { manager in
                let endpoint = EndpointID(namespace: "interop", component: "echo", name: "run")
                let id = InstanceID(rawValue: 0xf1d5_488c_8665_44b8)
                let address = try await manager.server.register(endpoint, id: id, handler: Self.handler)
                let instance = Instance(endpoint: endpoint, id: id, transport: address)
                try await self.withRecord(Self.peer, instance, in: folder) {
                    let commands = [
                        #"{"request": {"n": 3}}"#, #"{"request": {"n": 1000, "delay_ms": 5}, "drop_after": 2}"#,
                        #"{"request": {"n": 10}, "times": 100}"#,
                    ]
                    let arguments = [Self.scripts.appending(path: "call_endpoint.py").path, "\(endpoint)"] + commands
                    let variables = self.variables(folder, certificates, client: hasCertificate)
                    _ = try await withProgram(python, arguments, environment: variables) { program in
                        guard hasCertificate else {
                            try await program.waitForOutput(#"{"items": [], "error": ""#)
                            return
                        }
                        try await program.waitForOutput(#"{"items": [1000], "error": null}"#)
                        let three = #"[{"i": 0, "req": {"n": 3}}, {"i": 1, "req": null}, {"i": 2, "req": null}]"#
                        #expect(program.output.contains(#"{"items": \#(three), "error": null}"#))
                        try await eventually("no request is left") { manager.server.inFlight == 0 }
                        #expect(manager.statistics.first?.cancellations == 1)
                    }
                    if !hasCertificate { #expect(manager.statistics.first?.requests == 0) }
                }
            }
        }
    }

    @Test func ourCallerCallsARealWorkerWithTLS() async throws {
        let python = try TestEnvironment.python(.v161)
        let endpoint = EndpointID(namespace: "interop", component: "echo", name: "run")
        try await withTemporaryDirectory { folder in
            let certificates = try await Certificates(in: folder)
            let arguments = [Self.scripts.appending(path: "serve_endpoint.py").path, "\(endpoint)"]
            let variables = self.variables(folder, certificates)
            _ = try await withProgram(python, arguments, environment: variables) { program in
                let instance = try await self.instance(Self.peer, of: endpoint, in: folder)
                func send(_ manager: NetworkManager, _ text: String) async throws -> ResponseStream {
                    try await manager.client.send(
                        OutgoingRequest(id: "r", payload: ByteBuffer(string: text)),
                        to: instance
                    )
                }
                try await self.withManager(Self.peer, security: self.security(certificates)) { manager in
                    #expect(
                        try await self.collect(send(manager, #"{"n":2}"#)) == [
                            #"{"i":0,"req":{"n":2}}"#, #"{"i":1,"req":null}"#,
                        ]
                    )
                    var iterator: ResponseStream.AsyncIterator? =
                        try await send(manager, #"{"n":1000,"delay_ms":5}"#).makeAsyncIterator()
                    _ = try await iterator?.next()
                    iterator = nil
                    try await program.waitForOutput("killed")
                }
                try await self.withManager(Self.peer) { manager in
                    let error = await #expect(throws: RequestPlaneError.self) { try await send(manager, #"{"n":2}"#) }
                    #expect(
                        error?.code == .connectFailed || error?.code == .protocolViolation,
                        "\(String(describing: error))"
                    )
                }
            }
        }
    }
}
