import Foundation
import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// TLS between callers and workers, on request connections and on response streams.
@Suite(.timeLimit(.minutes(1))) struct TransportSecurityTests {
    /// What `TransportSecurity` is for a process that shows a certificate and trusts the authority.
    private func security(
        _ certificates: Certificates,
        server: String = "server",
        trusts: String = "ca"
    )
        -> TransportSecurity
    {
        var security = TransportSecurity()
        security.certificatePath = certificates.certificate(server)
        security.keyPath = certificates.key(server)
        security.authorityPath = certificates.certificate(trusts)
        return security
    }

    private func withCertificates(_ body: (Certificates) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in try await body(try await Certificates(in: folder)) }
    }

    /// Sends one request from a process to another one; returns the answer or the error's text.
    private func call(
        worker: TransportSecurity,
        caller: TransportSecurity,
        handler: @escaping RequestHandler = counting(to: 3),
        configure: (inout NetworkManager.Configuration) -> Void = { _ in }
    ) async throws -> String {
        try await Loopback.run({ $0.security = worker }) { worker in
            let instance = try await worker.serve(handler: handler)
            return try await Loopback.run({
                $0.security = caller
                $0.responseStream.callHomeTimeout = .seconds(2)
                configure(&$0)
            }) { caller in
                do {
                    return try await caller.send("{}", to: instance).texts().joined(separator: " ")
                } catch {
                    return "\(error)"
                }
            }
        }
    }

    @Test func everythingIsEncrypted() async throws {
        try await self.withCertificates { certificates in
            let security = self.security(certificates)
            #expect(try await self.call(worker: security, caller: security) == "0 1 2")
            try await Loopback.run({ $0.security = security }) { loopback in
                let instance = try await loopback.serve(handler: counting(to: 1000))
                try await withThrowingTaskGroup(of: Int.self) { group in
                    for number in 0..<20 {
                        group.addTask {
                            try await loopback.send("{}", to: instance, id: "r\(number)").texts().count
                        }
                    }
                    for try await count in group { #expect(count == 1000) }
                }
                // A big request and its echo cross many TLS records.
                let echo = try await loopback.serve("echo", handler: items { [.data($0.payload)] })
                let big = "\"" + String(repeating: "x", count: 8_000_000) + "\""
                #expect(try await loopback.send(big, to: echo).texts() == [big])
                // A peer that does not speak TLS gets nothing.
                let port = String(instance.transport.value.split(separator: "/")[0])
                let plain = try await RawSocket.connect(to: port)
                try await plain.send(try requestFrame(path: "x", address: "127.0.0.1:1"))
                try await plain.waitForClose()
                #expect(plain.received.readableBytes < 64, "at most an alert")
            }
        }
    }

    @Test func readerThatLeavesCancelsTheHandler() async throws {
        try await self.withCertificates { certificates in
            try await Loopback.run({ $0.security = self.security(certificates) }) { loopback in
                let endless = EndlessHandler(pause: .milliseconds(1))
                let instance = try await loopback.serve(handler: endless.handler)
                for stops in [true, false] {
                    let stream = try await loopback.send("{}", to: instance)
                    var iterator: ResponseStream.AsyncIterator? = stream.makeAsyncIterator()
                    _ = try await iterator?.next()
                    if stops {
                        stream.stop()
                        while try await iterator?.next() != nil {}
                    }
                    iterator = nil
                    try await eventually("the handler is cancelled") { loopback.manager.server.inFlight == 0 }
                }
            }
        }
    }

    @Test func serverOfAnotherAuthorityIsRefused() async throws {
        try await self.withCertificates { certificates in
            let text = try await self.call(
                worker: self.security(certificates),
                caller: self.security(certificates, trusts: "other")
            )
            #expect(text.contains("does not come from an authority in DYN_TCP_TLS_CA_CERT_PATH"), "\(text)")
        }
    }

    @Test func nameOfTheCertificateIsChecked() async throws {
        try await self.withCertificates { certificates in
            let worker = self.security(certificates, server: "named")
            var caller = self.security(certificates)
            let refused = try await self.call(worker: worker, caller: caller)
            #expect(
                refused.contains("is not for the address") && refused.contains("DYN_TCP_TLS_SERVER_NAME"),
                "\(refused)"
            )
            // The worker compares the caller's certificate with the address, the caller the worker's with the name.
            caller.serverName = "worker.test"
            let answer = try await self.call(worker: worker, caller: caller)
            #expect(answer == "0 1 2")
        }
    }

    @Test func insecureChecksNothing() async throws {
        try await self.withCertificates { certificates in
            var caller = self.security(certificates, trusts: "other")
            caller.isInsecure = true
            let answer = try await self.call(worker: self.security(certificates), caller: caller)
            #expect(answer == "0 1 2")
        }
    }

    @Test func clientCertificates() async throws {
        try await self.withCertificates { certificates in
            func mutual(_ client: String?) -> TransportSecurity {
                var security = self.security(certificates)
                security.clientAuthorityPath = certificates.certificate("ca")
                security.clientCertificatePath = client.map(certificates.certificate)
                security.clientKeyPath = client.map(certificates.key)
                return security
            }
            #expect(try await self.call(worker: mutual("client"), caller: mutual("client")) == "0 1 2")
            let without = try await self.call(worker: mutual("client"), caller: mutual(nil))
            #expect(without.contains("demands a client certificate: set DYN_TCP_TLS_CLIENT_CERT_PATH"), "\(without)")
            let wrong = try await self.call(worker: mutual("client"), caller: mutual("stranger"))
            #expect(wrong.contains("does not trust our client certificate"), "\(wrong)")
            // The worker is the client of the response stream.
            let worker = try await self.call(worker: mutual(nil), caller: mutual("client"))
            #expect(worker.contains("the client shows no certificate"), "\(worker)")
        }
    }

    // MARK: One side without TLS

    @Test func plainCallerOfATLSWorker() async throws {
        try await self.withCertificates { certificates in
            let text = try await self.call(worker: self.security(certificates), caller: TransportSecurity())
            #expect(text.contains("the instance speaks TLS on this port"), "\(text)")
        }
    }

    @Test func tlsCallerOfAPlainWorker() async throws {
        try await self.withCertificates { certificates in
            let text = try await self.call(worker: TransportSecurity(), caller: self.security(certificates))
            #expect(text.contains("the server does not speak TLS"), "\(text)")
        }
    }

    @Test func plainCallHomeToATLSCaller() async throws {
        try await self.withCertificates { certificates in
            var worker = self.security(certificates)
            worker.authorityPath = nil
            let text = try await self.call(worker: worker, caller: self.security(certificates))
            #expect(text.contains("did not call home in time") && text.contains("does not speak TLS"), "\(text)")
        }
    }

    @Test func tlsCallHomeToAPlainCaller() async throws {
        try await self.withCertificates { certificates in
            var caller = self.security(certificates)
            caller.certificatePath = nil
            caller.keyPath = nil
            let text = try await self.call(worker: self.security(certificates), caller: caller)
            #expect(text.contains("did not call home in time") && text.contains("the worker speaks TLS"), "\(text)")
        }
    }

    @Test func handshakeThatNeverEnds() async throws {
        try await self.withCertificates { certificates in
            var security = self.security(certificates)
            security.handshakeTimeout = .seconds(1)
            try await Loopback.run({ $0.security = security }) { loopback in
                try await RawSocket.listen { listener in
                    let error = await #expect(throws: RequestPlaneError.self) {
                        try await loopback.send("{}", to: listener.instance)
                    }
                    #expect(error?.message.contains("DYN_TCP_TLS_HANDSHAKE_TIMEOUT_SECS") == true)
                }
                let instance = try await loopback.serve(handler: counting(to: 1))
                let silent = try await RawSocket.connect(to: String(instance.transport.value.split(separator: "/")[0]))
                try await silent.waitForClose()
            }
        }
    }

    // MARK: Settings

    @Test func everyVariableIsRead() async throws {
        try await self.withCertificates { certificates in
            let configuration = try NetworkManager.Configuration(
                environment: [
                    "DYN_TCP_TLS_CERT_PATH": certificates.certificate("server"),
                    "DYN_TCP_TLS_KEY_PATH": certificates.key("server"),
                    "DYN_TCP_TLS_CLIENT_CA_CERT_PATH": certificates.certificate("other"),
                    "DYN_TCP_TLS_CA_CERT_PATH": certificates.certificate("ca"),
                    "DYN_TCP_TLS_CLIENT_CERT_PATH": certificates.certificate("client"),
                    "DYN_TCP_TLS_CLIENT_KEY_PATH": certificates.key("client"),
                    "DYN_TCP_TLS_INSECURE": "True", "DYN_TCP_TLS_SERVER_NAME": "worker.test",
                    "DYN_TCP_TLS_HANDSHAKE_TIMEOUT_SECS": "7",
                ],
                logger: quietLogger
            )
            var expected = self.security(certificates)
            expected.clientAuthorityPath = certificates.certificate("other")
            expected.clientCertificatePath = certificates.certificate("client")
            expected.clientKeyPath = certificates.key("client")
            expected.isInsecure = true
            expected.serverName = "worker.test"
            expected.handshakeTimeout = .seconds(7)
            #expect(configuration.security == expected)
        }
    }

    /// What is set, and what the error must say; values are names of files.
    private static let mistakes: [([String: String], [String])] = [
        (["CERT_PATH": "server.pem"], ["DYN_TCP_TLS_CERT_PATH is set without DYN_TCP_TLS_KEY_PATH", "both"]),
        (["KEY_PATH": "server.key"], ["DYN_TCP_TLS_KEY_PATH is set without DYN_TCP_TLS_CERT_PATH"]),
        (
            ["CA_CERT_PATH": "ca.pem", "CLIENT_CERT_PATH": "client.pem"],
            ["DYN_TCP_TLS_CLIENT_CERT_PATH is set without DYN_TCP_TLS_CLIENT_KEY_PATH"]
        ),
        (
            ["CLIENT_CERT_PATH": "client.pem", "CLIENT_KEY_PATH": "client.key"],
            ["DYN_TCP_TLS_CLIENT_CERT_PATH is set without DYN_TCP_TLS_CA_CERT_PATH"]
        ),
        (["CLIENT_CA_CERT_PATH": "ca.pem"], ["DYN_TCP_TLS_CLIENT_CA_CERT_PATH is set without DYN_TCP_TLS_CERT_PATH"]),
        (["CA_CERT_PATH": "missing.pem"], ["DYN_TCP_TLS_CA_CERT_PATH='", "missing.pem", "No such file"]),
        (["CA_CERT_PATH": "ca.key"], ["DYN_TCP_TLS_CA_CERT_PATH='", "holds no certificate in PEM form"]),
        (
            ["CERT_PATH": "server.pem", "KEY_PATH": "server.pem"],
            ["DYN_TCP_TLS_KEY_PATH='", "holds no private key in PEM form"]
        ),
        (
            ["CERT_PATH": "server.pem", "KEY_PATH": "client.key"],
            ["DYN_TCP_TLS_KEY_PATH does not fit the certificate in DYN_TCP_TLS_CERT_PATH"]
        ),
        (
            ["CA_CERT_PATH": "ca.pem", "SERVER_NAME": "127.0.0.1"],
            ["DYN_TCP_TLS_SERVER_NAME='127.0.0.1' is an address", "unset it"]
        ),
    ]

    @Test func mistakesAreNamed() async throws {
        try await withTemporaryDirectory { folder in
            _ = try await Certificates(in: folder)
            for (settings, parts) in Self.mistakes {
                var environment: [String: String] = [:]
                for (name, value) in settings {
                    environment["DYN_TCP_TLS_\(name)"] =
                        name == "SERVER_NAME" ? value : folder.appending(path: value).path
                }
                let error = #expect(throws: RequestPlaneError.self) {
                    try NetworkManager.Configuration(environment: environment, logger: quietLogger)
                }
                #expect(error?.code == .invalidConfiguration)
                for part in parts { #expect(error?.message.contains(part) == true, "\(error?.message ?? "")") }
            }
        }
    }
}
