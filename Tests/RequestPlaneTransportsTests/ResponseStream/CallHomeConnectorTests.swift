import NIOCore
import NIOPosix
import RequestPlane
import TestSupport
import Testing

@testable import RequestPlaneTransports

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A caller with more connections waiting than it accepts, as in a burst of thousands of requests.
@Suite struct CallHomeConnectorTests {
    private func connector(_ timeout: Duration) -> CallHomeConnector {
        CallHomeConnector(
            group: MultiThreadedEventLoopGroup.singleton,
            timeout: timeout,
            security: ConnectionSecurity(TransportSecurity())
        )
    }

    private func address(_ port: Int) -> CallHomeAddress {
        CallHomeAddress(address: "127.0.0.1:\(port)", subject: "s", context: "r")
    }

    @Test func aFullBacklogIsTriedOnceMore() async throws {
        let listener = try FullListener()
        let (connector, address) = (self.connector(.seconds(2)), self.address(listener.port))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { _ = try await connector.connect(to: address) }
            var seen: Set<Substring> = []
            try await eventually("there is a second attempt") {
                seen.formUnion(try listener.attempts())
                return seen.count == 2
            }
            // The kernel repeats what was dropped after a second, within the limit of the second attempt.
            try listener.takeOne()
            try await group.next()
        }
    }

    @Test func thereAreTwoAttemptsOnly() async throws {
        let listener = try FullListener()
        let start = ContinuousClock.now
        let error = await #expect(throws: RequestPlaneError.self) {
            _ = try await self.connector(.milliseconds(200)).connect(to: self.address(listener.port))
        }
        #expect(error?.code == .connectFailed)
        #expect(ContinuousClock.now - start >= .milliseconds(400), "two attempts")
        #expect(try listener.attempts().isEmpty)
    }

    /// A request that nobody waits for any more does not hold up its worker's end.
    @Test func cancellationEndsAnAttempt() async throws {
        let listener = try FullListener()
        let (connector, address) = (self.connector(.seconds(60)), self.address(listener.port))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { _ = try? await connector.connect(to: address) }
            try await eventually("it connects") { try listener.attempts().count == 1 }
            group.cancelAll()
            try await group.next()
        }
        #expect(try listener.attempts().isEmpty)
    }

    /// Where nobody listens, nobody will at once after.
    @Test(arguments: [(ECONNREFUSED, false), (EHOSTUNREACH, false), (ETIMEDOUT, true), (ECONNRESET, true)])
    func whatIsTriedAgain(_ code: CInt, _ isRepeated: Bool) {
        #expect(CallHomeConnector.isFullBacklog(IOError(errnoCode: code, reason: "connect")) == isRepeated)
    }

    @Test func aTimeoutIsTriedAgain() {
        #expect(CallHomeConnector.isFullBacklog(ChannelError.connectTimeout(.seconds(1))))
        #expect(!CallHomeConnector.isFullBacklog(ChannelError.ioOnClosedChannel))
    }

    @Test func itsLimitIsItsOwn() throws {
        let environment = ["DYN_TCP_CONNECT_TIMEOUT": "1"]
        let configuration = try NetworkManager.Configuration(environment: environment, logger: quietLogger)
        #expect(configuration.responseStream.connectTimeout == .seconds(10))
        #expect(configuration.responseStream.connectTimeout * 2 < configuration.responseStream.callHomeTimeout)
    }
}
