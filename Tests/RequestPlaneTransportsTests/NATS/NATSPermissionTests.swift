import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import Synchronization
import TestSupport
import Testing

/// A NATS server that does not let a worker subscribe to the subjects of its endpoints.
@Suite struct NATSPermissionTests {
    /// Runs a manager against a server whose user may subscribe to so much.
    private func withManager(
        allowed: String,
        _ body: (NetworkManager, @escaping @Sendable () -> RequestPlaneError?) async throws -> Void
    ) async throws {
        let permissions = "{ subscribe: [\"_INBOX.>\", \"\(allowed)\"], publish: \">\" }"
        let file = "authorization { users: [ { user: user, password: user, permissions: \(permissions) } ] }"
        try await NATSServerFixture.run(configuration: file) { server in
            var configuration = NetworkManager.Configuration.loopback
            configuration.mode = .nats
            configuration.nats = try NATSSettings(server: server.url)
            let manager = NetworkManager(configuration: configuration, logger: quietLogger)
            let failure = Failure()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { do { try await manager.run() } catch { failure.set(error) } }
                try await body(manager) { failure.error }
                group.cancelAll()
            }
        }
    }

    private final class Failure: Sendable {
        private let state = Mutex<RequestPlaneError?>(nil)
        var error: RequestPlaneError? { self.state.withLock { $0 } }
        func set(_ error: any Error) { self.state.withLock { $0 = error as? RequestPlaneError } }
    }

    /// Either already registers in vain or, when the server's refusal comes later than that, ends to run.
    @Test func servingFailsAndSaysWhatToGrant() async throws {
        try await self.withManager(allowed: "other.>") { manager, failure in
            var refusal: RequestPlaneError?
            do {
                let endpoint = EndpointID(namespace: "test", component: "echo", name: "run")
                _ = try await manager.server.register(
                    endpoint,
                    id: InstanceID(rawValue: 0xAB),
                    handler: items { _ in [] }
                )
                try await eventually("serving has failed") { failure() != nil }
                refusal = failure()
            } catch let error as RequestPlaneError {
                refusal = error
            }
            let error = try #require(refusal)
            #expect(error.code == .invalidConfiguration)
            #expect(error.message.contains("'test_echo.run-ab'"))
            #expect(error.message.contains("grant 'subscribe' on 'test_echo.*'"))
        }
    }

    @Test func whatTheErrorAsksForIsEnough() async throws {
        try await self.withManager(allowed: "test_echo.*") { manager, failure in
            let loopback = Loopback(manager: manager)
            let instance = try await loopback.serve(handler: items { [.data($0.payload)] })
            #expect(try await loopback.send("1", to: instance).texts() == ["1"])
            #expect(failure() == nil)
        }
    }
}
