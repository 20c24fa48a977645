import Foundation
import TestSupport
import Testing

@testable import NATS

/// Connecting, with every way to log in, right and wrong.
@Suite struct ConnectTests {
    @Test func `nobody listens`() async throws {
        let port = try freePort()
        let error = await connectError(NATSConfiguration(servers: [.init(host: "127.0.0.1", port: port)]))
        #expect(error?.code == .connectFailed)
        #expect(error?.message.contains("nats://127.0.0.1:\(port)") == true)
        #expect(error?.message.contains("start nats-server") == true)
    }

    @Test func `a server that says nothing`() async throws {
        let listener = try SilentListener()
        defer { listener.close() }
        var configuration = NATSConfiguration(servers: [.init(host: "127.0.0.1", port: listener.port)])
        configuration.connectTimeout = .milliseconds(300)
        let error = await connectError(configuration)
        #expect(error?.code == .connectFailed, "\(String(describing: error))")
    }

    @Test func `a waiting caller can be cancelled`() async throws {
        let listener = try SilentListener()
        defer { listener.close() }
        var configuration = NATSConfiguration(servers: [.init(host: "127.0.0.1", port: listener.port)])
        configuration.connectTimeout = .seconds(3)
        let wanted = configuration
        let task = Task { await connectError(wanted) }
        task.cancel()
        #expect(await task.value?.code == .cancelled)
    }

    @Test func `the second server of a list is used when the first is down`() async throws {
        try await NATSServerFixture.run { server in
            var configuration = server.configuration()
            configuration.servers.insert(.init(host: "127.0.0.1", port: try freePort()), at: 0)
            try await connected(configuration) { try await $0.flush() }
        }
    }

    @Test func `a server without authentication takes Dynamo's default user`() async throws {
        try await NATSServerFixture.run { server in
            let configuration = try NATSConfiguration(environment: ["NATS_SERVER": server.url])
            try await connected(configuration) { connection in
                try await connection.flush()
                #expect(connection.maximumPayload == 1_048_576)
                #expect(connection.statistics.phase == .connected)
            }
        }
    }

    @Test func `user and password, with characters that JSON escapes`() async throws {
        let password = #"p"a\s's"#
        let file = #"authorization { user: "u", password: "p\"a\\s's" }"#
        try await NATSServerFixture.run(configuration: file) { server in
            try await connected(server.configuration(.userPassword(user: "u", password: password))) {
                try await $0.flush()
            }
            let error = await connectError(server.configuration(.userPassword(user: "u", password: "wrong-secret")))
            #expect(error?.code == .authenticationFailed)
            #expect(error?.message.contains("NATS_AUTH_PASSWORD") == true)
            #expect(error?.message.contains("wrong-secret") == false)
            #expect(await connectError(server.configuration())?.code == .authenticationFailed)
        }
    }

    @Test func `token`() async throws {
        try await NATSServerFixture.run(configuration: "authorization { token: \"t-1\" }") { server in
            try await connected(server.configuration(.token("t-1"))) { try await $0.flush() }
            #expect(await connectError(server.configuration(.token("t-2")))?.code == .authenticationFailed)
        }
    }

    @Test func `nkey`() async throws {
        let file = "authorization { users: [ { nkey: \(publicKey) } ] }"
        try await NATSServerFixture.run(configuration: file) { server in
            try await connected(server.configuration(.nkey(seed: seed))) { try await $0.flush() }
            let other = NATSOperator.Key(prefix: 20 << 3).seed
            #expect(await connectError(server.configuration(.nkey(seed: other)))?.code == .authenticationFailed)
        }
    }

    /// One of 256 signatures begins with a zero byte.
    ///
    /// libnats 3.4 leaves such a one out of its login.
    @Test(arguments: [false, true])
    func `a nonce whose signature libnats would not send is not used`(isFile: Bool) async throws {
        let unusable = "sqj-ZapFacFL2yo"
        #expect(try NKey(seed: seed).signature(of: Array(unusable.utf8))?.first == 0)
        let signature = try Data(#require(NKey(seed: seed).signature(of: Array("nonce".utf8)))).base64EncodedString()
            .replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_").prefix(86)
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "user.creds")
            try Data(credentialsText.replacing("\n", with: "\r\n").utf8).write(to: file)
            let credentials: NATSCredentials = isFile ? .credentialsFile(file.path()) : .nkey(seed: seed)
            try await ScriptedServer.run(nonces: [unusable, unusable, "nonce"]) { server in
                let address = NATSServerAddress(host: "127.0.0.1", port: server.port)
                try await connected(NATSConfiguration(servers: [address], credentials: credentials)) { _ in }
                let login = try #require(server.logins.values.first)
                #expect(login.contains(#""sig":"\#(signature)""#), "\(login)")
                #expect(login.contains(isFile ? #""jwt":"a.b.c""# : #""nkey":"\#(publicKey)""#), "\(login)")
            }
            // A server that never sends another nonce is given up.
            try await ScriptedServer.run(nonces: [unusable]) { server in
                let address = NATSServerAddress(host: "127.0.0.1", port: server.port)
                let error = await connectError(NATSConfiguration(servers: [address], credentials: credentials))
                #expect(error?.code == .connectFailed)
                #expect(server.logins.values == [])
            }
        }
    }

    @Test func `credentials file`() async throws {
        let (right, wrong) = (try NATSOperator(), try NATSOperator())
        try await withTemporaryDirectory { directory in
            func file(_ name: String, _ text: String) throws -> String {
                let url = directory.appending(path: name)
                try Data(text.utf8).write(to: url)
                return url.path()
            }
            try await NATSServerFixture.run(configuration: right.serverConfiguration) { server in
                let good = try file("good.creds", right.credentials)
                try await connected(server.configuration(.credentialsFile(good))) { try await $0.flush() }

                let foreign = try file("foreign.creds", wrong.credentials)
                let refused = await connectError(server.configuration(.credentialsFile(foreign)))
                #expect(refused?.code == .authenticationFailed)
                #expect(refused?.message.contains(foreign) == true)

                let garbage = try file("garbage.creds", "hello")
                let unusable = await connectError(server.configuration(.credentialsFile(garbage)))
                #expect(unusable?.code == .invalidConfiguration, "\(String(describing: unusable))")
                #expect(unusable?.message.contains(garbage) == true)

                let missing = await connectError(server.configuration(.credentialsFile("/no/such.creds")))
                #expect(missing?.code == .invalidConfiguration)
                #expect(missing?.message.contains("/no/such.creds") == true)
            }
        }
    }
}
