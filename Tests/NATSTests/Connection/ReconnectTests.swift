import Glibc
import Logging
import NIOCore
import TestSupport
import Testing

@testable import NATS

@Suite struct ReconnectTests {
    @Test func `a restarted server finds the subscriptions again, and loses no message`() async throws {
        let port = try freePort()
        let connection = try await NATSServerFixture.run(port: port) { server in
            let connection = try await NATSConnection.connect(server.configuration(), logger: Logger(label: "test"))
            _ = try await connection.answer("svc", queueGroup: "q") { $0 }
            _ = try await connection.request("svc")
            return connection
        }
        let events = connection.events()
        try await eventually("the loss is noticed") { connection.statistics.phase == .reconnecting }
        // Waits for the server.
        let waiting = Task {
            try await connection.request("svc", payload: ByteBuffer(string: "waited"), timeout: .seconds(20))
        }
        try await NATSServerFixture.run(port: port) { _ in
            #expect(String(buffer: try await waiting.value.payload) == "waited")
            try await eventually("the connection is back") { connection.statistics.reconnects == 1 }
            #expect(
                String(buffer: try await connection.request("svc", payload: ByteBuffer(string: "again")).payload)
                    == "again"
            )
            for await event in events {
                guard case .reconnected(let server) = event else { continue }
                #expect(server.contains("\(port)"))
                break
            }
            await connection.close()
        }
    }

    @Test func `what is meant for one connection is not sent on the next`() async throws {
        let (port, seen) = (try freePort(), Recorded<[String]>([]))
        let connection = try await NATSServerFixture.run(port: port) { server in
            let connection = try await NATSConnection.connect(server.configuration(), logger: Logger(label: "test"))
            _ = try await connection.answer("svc", queueGroup: "q") { message in
                seen.update { $0.append(String(buffer: message.payload)) }
                return message
            }
            #expect(await self.outcome(of: "first", on: 0, connection) == "first")
            return connection
        }
        try await eventually("the loss is noticed") { connection.statistics.phase == .reconnecting }
        let waiting = Task { await self.outcome(of: "late", on: 0, connection) }
        try await NATSServerFixture.run(port: port) { _ in
            #expect(await waiting.value == "disconnected")
            #expect(await self.outcome(of: "too late", on: 0, connection) == "disconnected")
            #expect(await self.outcome(of: "second", on: 1, connection) == "second")
            #expect(seen.value == ["first", "second"])
            await connection.close()
        }
    }

    /// What came of a request that may be sent on one connection only: its answer, or what is wrong.
    private func outcome(of text: String, on number: Int, _ connection: NATSConnection) async -> String {
        await withCheckedContinuation { continuation in
            connection.startRequest(
                "svc",
                payload: ByteBuffer(string: text),
                timeout: .seconds(20),
                connection: number
            ) { result in
                switch result {
                case .success(let message): continuation.resume(returning: String(buffer: message.payload))
                case .failure(let error): continuation.resume(returning: "\(error.code)")
                }
            }
        }
    }

    @Test func `a flush without a connection ends in its time`() async throws {
        let port = try freePort()
        let connection = try await NATSServerFixture.run(port: port) { server in
            try await NATSConnection.connect(server.configuration(), logger: Logger(label: "test"))
        }
        try await eventually("the loss is noticed") { connection.statistics.phase == .reconnecting }
        let start = ContinuousClock.now
        let error = await thrown { () throws(NATSError) in try await connection.flush(timeout: .milliseconds(200)) }
        #expect(error?.code == .timedOut)
        #expect(ContinuousClock.now - start < .seconds(5))
        let waiting = Task {
            await thrown { () throws(NATSError) in try await connection.flush(timeout: .seconds(20)) }
        }
        try await NATSServerFixture.run(port: port) { _ in
            #expect(await waiting.value == nil)
            await connection.close()
        }
    }

    @Test func `the limit of a new server counts`() async throws {
        let port = try freePort()
        let connection = try await NATSServerFixture.run(port: port) { server in
            try await NATSConnection.connect(server.configuration(), logger: Logger(label: "test"))
        }
        try await NATSServerFixture.run(port: port, configuration: "max_payload: 1000") { _ in
            try await eventually("the connection is back") { connection.maximumPayload == 1000 }
            #expect(throws: NATSError.self) {
                try connection.publish("a", payload: ByteBuffer(repeating: 1, count: 1001))
            }
        }
        await connection.close()
    }

    @Test func `a server that is stuck is given up`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected({ $0.pingInterval = .milliseconds(200) }) { connection in
                try await connection.flush()
                server.process.send(SIGSTOP)
                defer { server.process.send(SIGCONT) }
                try await eventually("the silence is noticed") { connection.statistics.phase == .reconnecting }
                server.process.send(SIGCONT)
                try await eventually("the connection is back") { connection.statistics.phase == .connected }
                try await connection.flush()
            }
        }
    }

    @Test func `a user who is refused meanwhile is let in again later`() async throws {
        let port = try freePort()
        func file(_ password: String) -> String { "authorization { user: u, password: \(password) }" }
        let connection = try await NATSServerFixture.run(port: port, configuration: file("old")) { server in
            try await NATSConnection.connect(
                server.configuration(.userPassword(user: "u", password: "old")),
                logger: Logger(label: "test")
            )
        }
        let events = connection.events()
        try await NATSServerFixture.run(port: port, configuration: file("new")) { _ in
            for await event in events {
                guard case .error(let error) = event, error.code == .authenticationFailed else { continue }
                #expect(error.message.lowercased().contains("authorization"))
                break
            }
            #expect(connection.statistics.phase == .reconnecting)
        }
        try await NATSServerFixture.run(port: port, configuration: file("old")) { _ in
            try await eventually("the connection is back") { connection.statistics.phase == .connected }
            try await connection.flush()
            await connection.close()
        }
    }

    @Test func `a connection that is cut in the middle of a message`() async throws {
        let port = try freePort()
        let connection = try await NATSServerFixture.run(port: port) { server in
            let connection = try await NATSConnection.connect(server.configuration(), logger: Logger(label: "test"))
            _ = try await connection.answer("echo") { $0 }
            for _ in 0..<20 {
                let payload = ByteBuffer(repeating: 1, count: 1_000_000)
                connection.startRequest("echo", payload: payload, timeout: .seconds(20)) { _ in }
            }
            server.process.send(SIGKILL)
            return connection
        }
        try await eventually("the loss is noticed") { connection.statistics.phase == .reconnecting }
        try await NATSServerFixture.run(port: port) { _ in
            let reply = try await connection.request("echo", payload: ByteBuffer(string: "x"), timeout: .seconds(5))
            #expect(String(buffer: reply.payload) == "x")
            await connection.close()
        }
    }
}
