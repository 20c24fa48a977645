import Logging
import NIOCore
import NIOPosix
import RequestPlane
import TestSupport
import Testing

@testable import RequestPlaneTransports

/// Hosts that nobody calls any more.
@Suite struct TCPIdleHostTests {
    @Test func unusedHostIsForgottenAndItsConnectionsClosed() async throws {
        var configuration = NetworkManager.Configuration.loopback
        configuration.tcp.hostIdleTimeout = .milliseconds(200)
        configuration.tcp.requestTimeout = .milliseconds(300)
        configuration.tcp.connectTimeout = .milliseconds(100)
        let group = MultiThreadedEventLoopGroup.singleton
        let security = ConnectionSecurity(TransportSecurity())
        let core = CallingCore(
            configuration: configuration.responseStream,
            security: security,
            group: group,
            logger: quietLogger
        )
        let caller = TCPCaller(
            configuration: configuration.tcp,
            security: security,
            core: core,
            group: group,
            logger: quietLogger
        )
        let run = Task { try await caller.run() }
        try await RawSocket.listen { listener in
            for number in 0..<2 {
                let call = Task {
                    _ = try await caller.send(
                        OutgoingRequest(id: "r\(number)", payload: ByteBuffer(string: "{}")),
                        to: listener.instance
                    )
                }
                let socket = try await listener.connection(number)
                try await socket.waitForBytes(100)
                #expect(caller.hostCount == 1)
                var refusal = ByteBuffer()
                refusal.writeTCPAcknowledgement(.refused("no"))
                try await socket.send(refusal)
                _ = try? await call.value
                try await socket.waitForClose()
                try await eventually("the host is forgotten") { caller.hostCount == 0 }
            }
        }
        run.cancel()
        try await run.value
        await caller.close()
        await core.close()
    }
}
