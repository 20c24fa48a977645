import DynamoRuntime
import Logging
import NIOCore
import TestSupport
import Testing

@Suite("A listening port whose clients read slowly", .timeLimit(.minutes(1)))
struct ConnectionListenerTests {
    /// More than the system holds for a connection.
    private static let size = 16 << 20

    /// Serves connections, each with a large answer, to a client that reads when it is told to.
    private func withLargeAnswer(
        _ body: (ConnectionListener<NIOAsyncChannel<ByteBuffer, ByteBuffer>>, SlowReader) async throws -> Void,
        then rest: (SlowReader) async throws -> Void
    ) async throws {
        let listener = try await ConnectionListener(
            host: "127.0.0.1",
            port: 0,
            remedy: "",
            logger: Logger(label: "test")
        ) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
        let (isWritten, hasEnded) = (Recorded(false), Recorded(false))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try? await listener.run { connection in
                    try? await connection.executeThenClose { _, outbound in
                        try await outbound.write(ByteBuffer(repeating: 7, count: Self.size))
                        isWritten.value = true
                        // As HTTP servers do; this does not notice that the task is cancelled.
                        try await connection.channel.closeFuture.get()
                    }
                }
                hasEnded.value = true
            }
            let client = try SlowReader(port: listener.port)
            try await eventually("the answer is written") { isWritten.value }
            try await body(listener, client)
            group.cancelAll()
            try await eventually("the listener has ended") { hasEnded.value }
            try await rest(client)
        }
    }

    @Test("a flush lets the client take what was written before the end")
    func flushed() async throws {
        let received = Recorded(0)
        try await self.withLargeAnswer { listener, client in
            let isFlushed = Recorded(false)
            async let flush: Void = {
                await listener.flush(within: .seconds(30))
                isFlushed.value = true
            }()
            try await eventually(within: .seconds(30), "flushed") {
                received.value += try client.read()?.count ?? 0
                return isFlushed.value
            }
            await flush
        } then: { client in
            try await eventually("the end") {
                guard let bytes = try client.read() else { return true }
                received.value += bytes.count
                return false
            }
        }
        #expect(received.value == Self.size)
    }

    @Test("a client that reads nothing holds up neither the flush nor the end")
    func stalled() async throws {
        let started = ContinuousClock.now
        try await self.withLargeAnswer { listener, _ in
            await listener.flush(within: .milliseconds(300))
            #expect(ContinuousClock.now - started >= .milliseconds(300))
        } then: { _ in
        }
        #expect(ContinuousClock.now - started < .seconds(10))
    }
}
