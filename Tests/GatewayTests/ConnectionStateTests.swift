import Glibc
import NIOCore
import NIOPosix
import TestSupport
import Testing

@testable import Gateway

/// What the system tells of a connection whose other side has closed: the proof that a request was not read.
@Suite struct ConnectionStateTests {
    private enum Order {
        case endFirst, writtenAndUnread, writtenAndRead
    }

    @Test func anEndBeforeTheRequestIsProof() async throws {
        let seen = try await Self.exchange(.endFirst)
        #expect(!seen.wasEstablished, "the end had come before the request was written")
        #expect(seen.isProof)
    }

    @Test func aRequestThatTheSystemHasTakenIsNoProof() async throws {
        let seen = try await Self.exchange(.writtenAndUnread)
        #expect(seen.wasEstablished && !seen.isProof)
    }

    @Test func anEndAfterTheRequestWasReadIsNoProof() async throws {
        let seen = try await Self.exchange(.writtenAndRead)
        #expect(seen.wasEstablished && !seen.isProof)
    }

    fileprivate struct Seen: Sendable {
        var wasEstablished = false
        var isProof = false
        var isOver = false
    }

    /// Sends four bytes that are read, then three, while the other side closes.
    private static func exchange(_ order: Order) async throws -> Seen {
        let listener = try SilentListener()
        let seen = Recorded(Seen())
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.autoRead, value: false)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Watcher(seen))
                }
            }
            .connect(host: "127.0.0.1", port: listener.port).get()
        let peer = listener.accept()
        try await channel.writeAndFlush(ByteBuffer(string: "head"))
        try await eventually("the first bytes are read") { Self.read(peer) == 4 }
        // The channel does not read before it is told to: only the system knows of an end.
        if order == .endFirst { close(peer) }
        try await channel.eventLoop.submit {
            let context = try channel.pipeline.syncOperations.context(handlerType: Watcher.self)
            seen.value.wasEstablished = ConnectionState.descriptor(context).map(ConnectionState.isEstablished) ?? false
            channel.writeAndFlush(ByteBuffer(string: "abc"), promise: nil)
        }.get()
        if order == .writtenAndRead { try await eventually("the rest is read") { Self.read(peer) == 3 } }
        if order != .endFirst { close(peer) }
        channel.read()
        try await eventually("over") { seen.value.isOver }
        try? await channel.close()
        return seen.value
    }

    private static func read(_ peer: Int32) -> Int {
        var bytes = [UInt8](repeating: 0, count: 16)
        return recv(peer, &bytes, bytes.count, Int32(MSG_DONTWAIT))
    }
}

/// Asks the same questions as a connection to a backend, at the same moments.
private final class Watcher: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let seen: Recorded<ConnectionStateTests.Seen>

    init(_ seen: Recorded<ConnectionStateTests.Seen>) { self.seen = seen }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { self.end(context, hasEnded: true) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.end(context, hasEnded: (error as? IOError).map { ConnectionState.cameAfterEnd($0) } ?? false)
    }

    func channelInactive(context: ChannelHandlerContext) { self.end(context, hasEnded: false) }

    private func end(_ context: ChannelHandlerContext, hasEnded: Bool) {
        guard !self.seen.value.isOver else { return }
        self.seen.value.isProof = hasEnded && ConnectionState.hasAcknowledgedExactly(4, context.channel)
        self.seen.value.isOver = true
    }
}
