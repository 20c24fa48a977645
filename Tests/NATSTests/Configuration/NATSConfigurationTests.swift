import Foundation
import NATS
import TestSupport
import Testing

@Suite struct NATSConfigurationTests {
    @Test func `nothing set means a server on this machine and Dynamo's default user`() throws {
        let configuration = try NATSConfiguration(environment: ["NATS_SERVER": "", "NATS_AUTH_TOKEN": ""])
        #expect(configuration.serverList == "nats://localhost:4222")
        #expect(configuration.credentials == .userPassword(user: "user", password: "user"))
        #expect(configuration.tls == nil)
    }

    @Test func `credentials are taken in Dynamo's order`() async throws {
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "user.creds").path()
            try Data(credentialsText.utf8).write(to: URL(filePath: file))
            var environment = [
                "NATS_AUTH_USERNAME": "u", "NATS_AUTH_PASSWORD": "p", "NATS_AUTH_TOKEN": "t", "NATS_AUTH_NKEY": seed,
                "NATS_AUTH_CREDENTIALS_FILE": file,
            ]
            try self.expect(environment, .userPassword(user: "u", password: "p"))
            environment["NATS_AUTH_PASSWORD"] = nil
            try self.expect(environment, .token("t"))
            environment["NATS_AUTH_TOKEN"] = nil
            try self.expect(environment, .nkey(seed: seed))
            environment["NATS_AUTH_NKEY"] = nil
            try self.expect(environment, .credentialsFile(file))
        }
    }

    @Test func `addresses`() throws {
        func address(_ text: String) throws -> NATSServerAddress { try NATSServerAddress(url: text) }
        #expect(try address("nats://a.b-c:1") == .init(host: "a.b-c", port: 1))
        #expect(try address("TLS://h/") == .init(host: "h", port: 4222, isEncrypted: true))
        #expect(try address("nats://[::1]:5") == .init(host: "::1", port: 5))
        #expect(try address("nats://[::1]:5").description == "nats://[::1]:5")
        let list = try NATSConfiguration(environment: ["NATS_SERVER": "nats://a, nats://b:1"])
        #expect(list.serverList == "nats://a:4222, nats://b:1")
    }

    @Test(
        arguments: [
            "localhost:4222", "http://a", "nats://", "nats://a:0", "nats://a:65536", "nats://a:b", "nats://a b",
            "nats://a/path", "nats://::1", "nats://[::1", "nats://\u{0}", "nats://a,tls://b", ",",
        ]
    )
    func `wrong addresses are refused`(text: String) {
        let error = #expect(throws: NATSError.self) { try NATSConfiguration(environment: ["NATS_SERVER": text]) }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.contains("nats://") == true, "says what to write: \(String(describing: error))")
    }

    @Test func `a password in an address is refused and not repeated`() {
        let error = #expect(throws: NATSError.self) {
            try NATSConfiguration(environment: ["NATS_SERVER": "nats://me:secret@host"])
        }
        #expect(error?.message.contains("NATS_AUTH_PASSWORD") == true)
        #expect(error?.message.contains("secret") == false)
    }

    @Test(
        arguments: [
            (["NATS_AUTH_USERNAME": "u"], "NATS_AUTH_PASSWORD is not"),
            (["NATS_AUTH_PASSWORD": "p"], "NATS_AUTH_USERNAME is not"),
            (["NATS_AUTH_NKEY": "SUnonsense"], "nkey seed"),
            (["NATS_AUTH_CREDENTIALS_FILE": "/no/such/file"], "'/no/such/file'"),
            (["NATS_TLS_INSECURE": "true"], "tls://"),
            (["NATS_TLS_INSECURE": "maybe", "NATS_SERVER": "tls://a"], "NATS_TLS_INSECURE='maybe'"),
            (["NATS_TLS_CA_CERT_PATH": "/no/ca", "NATS_SERVER": "tls://a"], "'/no/ca'"),
            (["NATS_TLS_CA_CERT_PATH": "/", "NATS_SERVER": "tls://a"], "'/'"),
            (["NATS_TLS_CLIENT_CERT_PATH": "/dev/zero", "NATS_SERVER": "tls://a"], "NATS_TLS_CLIENT_KEY_PATH"),
            (["NATS_TLS_CLIENT_KEY_PATH": "/dev/zero", "NATS_SERVER": "tls://a"], "NATS_TLS_CLIENT_CERT_PATH"),
        ]
    )
    func `contradictions are refused with the variable`(environment: [String: String], expected: String) {
        let error = #expect(throws: NATSError.self) { try NATSConfiguration(environment: environment) }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.contains(expected) == true, "\(String(describing: error))")
    }

    @Test func `TLS variables`() throws {
        try withFile { file in
            let configuration = try NATSConfiguration(environment: [
                "NATS_SERVER": "tls://host", "NATS_TLS_CA_CERT_PATH": file, "NATS_TLS_CLIENT_CERT_PATH": file,
                "NATS_TLS_CLIENT_KEY_PATH": file, "NATS_TLS_INSECURE": "TRUE",
            ])
            let expected = NATSConfiguration.TLS(
                authorityFile: file,
                certificateFile: file,
                keyFile: file,
                skipsVerification: true
            )
            #expect(configuration.tls == expected)
        }
    }

    @Test func `secrets are in no description`() {
        let all: [NATSCredentials] = [
            .userPassword(user: "hidden", password: "hidden"), .token("hidden"), .nkey(seed: "hidden"),
        ]
        for credentials in all {
            #expect(!"\(credentials)".contains("hidden"))
            #expect(!String(reflecting: credentials).contains("hidden"))
            let configuration = NATSConfiguration(credentials: credentials)
            #expect(!"\(configuration)".contains("hidden"))
        }
    }

    private func expect(_ environment: [String: String], _ expected: NATSCredentials) throws {
        let credentials = try NATSConfiguration(environment: environment).credentials
        #expect(credentials == expected)
    }

    private func withFile(_ body: (String) throws -> Void) throws { try body("/proc/self/cmdline") }
}

/// From the documentation of nats-server.
let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
/// A token that no server takes.
let credentialsText = """
    -----BEGIN NATS USER JWT-----
    a.b.c
    ------END NATS USER JWT------

    - a note
    -----BEGIN USER NKEY SEED-----
    \(seed)
    ------END USER NKEY SEED------
    """
let publicKey = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
