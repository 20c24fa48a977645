import Deployment
import Foundation
import TestSupport
import Testing

@testable import Supervisor

/// A real nats-server; the tests are started with one on the PATH.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct NATSPingTests {
    private func server(_ port: String, _ arguments: String...) throws -> Stranger {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let program = path.split(separator: ":").map { "\($0)/nats-server" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
        let command = [try #require(program, "nats-server is not on the PATH"), "-l", "/dev/null"]
        return try Stranger(command + ["-a", "127.0.0.1", "-p", port] + arguments)
    }

    @Test func aServerAnswers() async throws {
        let port = "\(20_000 + Int.random(in: 0..<10_000))"
        let server = try self.server(port)
        try await eventually("answers") {
            await NATSPing.ask(url: "nats://127.0.0.1:\(port)", timeout: .seconds(1)) == .success
        }
        withExtendedLifetime(server) {}
    }

    @Test func credentialsOfTheURLAreGiven() async throws {
        let port = "\(20_000 + Int.random(in: 0..<10_000))"
        let server = try self.server(port, "--user", "me", "--pass", "secret")
        try await eventually("answers") {
            await NATSPing.ask(url: "nats://me:secret@127.0.0.1:\(port)", timeout: .seconds(1)) == .success
        }
        let outcome = await NATSPing.ask(url: "nats://127.0.0.1:\(port)", timeout: .seconds(1))
        #expect(outcome == .failure("the server says -ERR 'Authorization Violation'"))
        withExtendedLifetime(server) {}
    }

    @Test func whatAServerSaysOfItselfNeedsNoCredentials() async throws {
        let port = "\(20_000 + Int.random(in: 0..<10_000))"
        let server = try self.server(port, "--user", "me", "--pass", "secret")
        var answer = DoctorFacts.NATSAnswer.silence("not asked")
        try await eventually("answers") {
            answer = await NATSPing.info(url: "nats://127.0.0.1:\(port)", timeout: .seconds(1))
            if case .server = answer { return true }
            return false
        }
        guard case .server(let info) = answer else { return }
        #expect(info.version.hasPrefix("2.") && info.maxPayload == 1 << 20 && info.hasHeaders && !info.hasJetStream)
        let silence = await NATSPing.info(url: "nats://127.0.0.1:1", timeout: .seconds(1))
        #expect(silence == .silence("connection refused"))
        withExtendedLifetime(server) {}
    }

    @Test func anOldServerSaysLess() {
        let info = NATSPing.server(info: #"INFO {"version":"2.1.9","max_payload":1048576} "#)
        #expect(info == .init(version: "2.1.9", maxPayload: 1 << 20, hasHeaders: false, hasJetStream: false))
        #expect(NATSPing.server(info: "HTTP/1.1 400 Bad Request") == nil)
    }
}
