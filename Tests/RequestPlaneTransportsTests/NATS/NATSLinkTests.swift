import Logging
import NATS
import RequestPlane
import TestSupport
import Testing

@testable import RequestPlaneTransports

/// The one connection of a process, wanted by many.
@Suite struct NATSLinkTests {
    /// A link to a server that accepts connections and says nothing.
    private func silent(
        timeout: Duration,
        _ body: (NATSLink, RawSocket.Listener) async throws -> Void
    ) async throws {
        try await RawSocket.listen { listener in
            var settings = try NATSSettings(server: "nats://127.0.0.1:\(listener.port)")
            var connection = try settings.connection.get()
            connection.connectTimeout = timeout
            settings.connection = .success(connection)
            let link = NATSLink(settings: settings, logger: quietLogger)
            try await body(link, listener)
            await link.close()
        }
    }

    private func connect(_ link: NATSLink) -> Task<RequestPlaneError.Code?, Never> {
        Task {
            do throws(RequestPlaneError) {
                _ = try await link.connection()
                return nil
            } catch {
                return error.code
            }
        }
    }

    @Test func `many who want a server that is stuck share one attempt and its failure`() async throws {
        try await self.silent(timeout: .seconds(1)) { link, listener in
            let start = ContinuousClock.now
            let tasks = (0..<20).map { _ in self.connect(link) }
            for task in tasks { #expect(await task.value == .connectFailed) }
            #expect(ContinuousClock.now - start < .seconds(5))
            #expect(listener.accepted.count == 1)
        }
    }

    @Test func `who is cancelled does not take the others along`() async throws {
        try await self.silent(timeout: .seconds(2)) { link, listener in
            let first = self.connect(link)
            _ = try await listener.connection(0)
            let second = self.connect(link)
            let third = self.connect(link)
            let start = ContinuousClock.now
            third.cancel()
            #expect(await third.value == .cancelled)
            first.cancel()
            #expect(await first.value == .cancelled)
            #expect(ContinuousClock.now - start < .seconds(1))
            // Now it is the second one's turn to connect.
            #expect(await second.value == .connectFailed)
            #expect(listener.accepted.count == 2)
        }
    }

    @Test func `closing ends every wait`() async throws {
        try await self.silent(timeout: .seconds(5)) { link, listener in
            let tasks = (0..<3).map { _ in self.connect(link) }
            _ = try await listener.connection(0)
            await link.close()
            #expect(await self.connect(link).value == .unavailable)
            var codes: [RequestPlaneError.Code?] = []
            for task in tasks {
                // The one who connects hears of it when the attempt is over.
                task.cancel()
                codes.append(await task.value)
            }
            #expect(codes.allSatisfy { $0 == .unavailable || $0 == .cancelled }, "\(codes)")
        }
    }

    @Test func `a connection that was closed for good is made again`() async throws {
        try await NATSServerFixture.run { server in
            let link = NATSLink(settings: try NATSSettings(server: server.url), logger: quietLogger)
            #expect(link.statistics == nil)
            let first = try await link.connection()
            #expect(link.statistics?.isConnected == true)
            await first.close()
            #expect(link.statistics?.isConnected == false)
            let second = try await link.connection()
            #expect(second !== first)
            try await second.flush()
            await link.close()
        }
    }
}
