import Foundation
import Logging
import RequestPlane
import TestSupport
import Testing

@testable import Discovery

@Suite("etcd that asks who is there", .timeLimit(.minutes(1)))
struct EtcdCredentialsTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func failure(_ configuration: EtcdConfiguration) async -> DiscoveryError? {
        await #expect(throws: DiscoveryError.self) {
            try await EtcdDiscovery(configuration, logger: Self.quiet).snapshot(.all)
        }
    }

    @Test("user and password; a token that is not known any more is replaced; errors name the variables")
    func user() async throws {
        try await withTemporaryDirectory { directory in
            let server = try EtcdServer(directory: directory)
            var configuration = EtcdConfiguration(endpoints: [server.url])
            configuration.user = .init(name: "root", password: "secret")
            let client = EtcdDiscovery(configuration, logger: Self.quiet)
            try await server.run {
                // Credentials do no harm where nobody asks for them.
                #expect(try await client.snapshot(.all) == DiscoverySnapshot())
                for (path, body) in [
                    ("user/add", #"{"name":"root","password":"secret"}"#), ("role/add", #"{"name":"root"}"#),
                    ("user/grant", #"{"user":"root","role":"root"}"#),
                    ("user/add", #"{"name":"guest","password":"g"}"#),
                    ("enable", "{}"),
                ] { try await server.call("/v3/auth/\(path)", body) }
                try await DiscoveryConformance.check(namespace: "auth") { [configuration] in
                    EtcdDiscovery(configuration, logger: Self.quiet)
                }
                _ = try await client.snapshot(.all)

                var other = configuration
                other.user = nil
                let none = await self.failure(other)
                #expect(none?.code == .invalidConfiguration)
                #expect(none?.message.hasSuffix("; set ETCD_AUTH_USERNAME and ETCD_AUTH_PASSWORD") == true)

                other.user = .init(name: "root", password: "wrong")
                let wrong = await self.failure(other)
                #expect(wrong?.code == .invalidConfiguration)
                #expect(
                    wrong?.message.hasSuffix("; check ETCD_AUTH_USERNAME (root) and ETCD_AUTH_PASSWORD") == true
                )
                // What cannot work from the start is no reason to try again for ever.
                let frontend = EtcdDiscovery(other, logger: Self.quiet)
                let watch = frontend.watch(.all)
                await #expect(throws: DiscoveryError.self) { try await frontend.run() }
                for await _ in watch {}

                other.user = .init(name: "guest", password: "g")
                let guest = await self.failure(other)
                #expect(
                    guest?.message.hasSuffix(
                        "; the user of ETCD_AUTH_USERNAME (guest) needs permission to read and write the prefix v1/"
                    ) == true,
                    "\(String(describing: guest))"
                )
            }
            // Tokens do not survive this.
            try await server.run {
                let snapshot = try await client.snapshot(.all)
                #expect(snapshot == DiscoverySnapshot())
            }
        }
    }

    @Test("TLS with certificates on both sides; errors name the variables")
    func certificates() async throws {
        try await withTemporaryDirectory { directory in
            let files = try await Certificates(in: directory)
            let server = try EtcdServer(
                directory: directory,
                secure: true,
                options: [
                    "--cert-file", files.certificate, "--key-file", files.key, "--client-cert-auth",
                    "--trusted-ca-file", files.authority,
                ]
            )
            var configuration = EtcdConfiguration(endpoints: [server.url])
            configuration.authority = files.authority
            configuration.identity = .init(certificate: files.certificate, key: files.key)
            try await server.run {
                try await DiscoveryConformance.check(namespace: "tls") { [configuration] in
                    EtcdDiscovery(configuration, logger: Self.quiet)
                }

                var other = configuration
                other.authority = nil
                let unknown = await self.failure(other)
                #expect(
                    unknown?.message.contains("over TLS; check ETCD_AUTH_CA") == true,
                    "\(String(describing: unknown))"
                )
                other = configuration
                other.identity = nil
                let nobody = await self.failure(other)
                #expect(nobody?.message.contains("ETCD_AUTH_CLIENT_CERT") == true, "\(String(describing: nobody))")

                other = configuration
                other.authority = "/nowhere.pem"
                var unread = await self.failure(other)
                #expect(
                    unread?.message
                        == "cannot read certificates in PEM format from '/nowhere.pem'; check ETCD_AUTH_CA"
                )
                other = configuration
                other.identity?.key = files.certificate
                unread = await self.failure(other)
                #expect(unread?.code == .invalidConfiguration)
                #expect(unread?.message.hasSuffix("check ETCD_AUTH_CLIENT_KEY") == true)
            }
        }
    }
}

/// An authority, and a certificate of 127.0.0.1 that serves both sides.
private struct Certificates {
    let authority: String
    let certificate: String
    let key: String

    init(in directory: URL) async throws {
        let path: (String) -> String = { directory.appending(path: $0).path }
        (self.authority, self.certificate, self.key) = (path("ca.pem"), path("cert.pem"), path("key.pem"))
        let extensions = path("extensions")
        try "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"
            .write(toFile: extensions, atomically: true, encoding: .utf8)
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        for arguments in [
            ["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", path("ca.key"), "-out", self.authority]
                + curve,
            ["req", "-subj", "/CN=member", "-keyout", self.key, "-out", path("request")] + curve,
            [
                "x509", "-req", "-days", "2", "-in", path("request"), "-CA", self.authority, "-CAkey", path("ca.key"),
                "-CAcreateserial", "-extfile", extensions, "-out", self.certificate,
            ],
        ] {
            let (output, exit) = try await withProgram("/usr/bin/openssl", arguments) { program in
                try await program.waitForExit()
                return program.output
            }
            try #require(exit == .code(0), "\(output)")
        }
    }
}
