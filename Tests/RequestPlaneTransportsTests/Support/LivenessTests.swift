import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import RequestPlaneTransports

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The kernel is told to look after idle connections, on both ends.
@Suite struct LivenessTests {
    private func value(_ option: ChannelOptions.Types.SocketOption, _ channel: any Channel) async throws -> Int {
        // The kernel writes four bytes of the eight.
        try await channel.getOption(option).get() & 0xFFFF_FFFF
    }

    @Test(arguments: [Liveness.requestConnection, .responseStream])
    func optionsAreSetOnBothEnds(_ liveness: Liveness) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let accepted = Mutex<(any Channel)?>(nil)
        let listener = Listener(
            group: group,
            liveness: liveness,
            security: ConnectionSecurity(TransportSecurity()),
            remedy: "",
            logger: quietLogger
        ) { channel in accepted.withLock { $0 = channel } }
        let port = try await listener.start(host: "127.0.0.1", port: 0)
        let client = try await ClientBootstrap(group: group).connectionOptions(liveness)
            .connect(host: "127.0.0.1", port: port).get()
        try await eventually("the connection was accepted") { accepted.withLock { $0 != nil } }
        let server = try #require(accepted.withLock { $0 })
        for channel in [client, server] {
            #expect(try await self.value(.socketOption(.so_keepalive), channel) == 1)
            #expect(try await self.value(.tcpOption(.tcp_nodelay), channel) == 1)
            for (name, expected) in [(TCP_KEEPIDLE, 30), (TCP_KEEPINTVL, 10), (TCP_KEEPCNT, 3)] {
                #expect(try await self.value(.tcpOption(.init(rawValue: name)), channel) == expected)
            }
            let limit = try await self.value(.tcpOption(.init(rawValue: TCP_USER_TIMEOUT)), channel)
            #expect(limit == (liveness == .requestConnection ? 60_000 : 0))
        }
        try await client.close()
        await listener.close()
    }

    /// Whoever asks while the port is being bound gets the same one; a failed attempt can be repeated.
    @Test func listenerBindsOnce() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        func make() -> Listener {
            Listener(
                group: group,
                liveness: .requestConnection,
                security: ConnectionSecurity(TransportSecurity()),
                remedy: "for a test; choose another port",
                logger: quietLogger
            ) { _ in }
        }
        let first = make()
        let ports = try await withThrowingTaskGroup(of: Int.self) { tasks in
            for _ in 0..<20 { tasks.addTask { try await first.start(host: "127.0.0.1", port: 0) } }
            return try await tasks.reduce(into: Set<Int>()) { $0.insert($1) }
        }
        let port = try #require(ports.first)
        #expect(ports.count == 1)
        let second = make()
        await #expect(throws: (any Error).self) { try await second.start(host: "127.0.0.1", port: port) }
        await first.close()
        #expect(try await second.start(host: "127.0.0.1", port: port) == port)
        await second.close()
        await #expect(throws: (any Error).self) { try await second.start(host: "127.0.0.1", port: 0) }
    }
}
