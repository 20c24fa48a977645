import NIOCore
import NIOPosix

/// Drives a bare connection to the worker.
struct BareLoad: Sendable {
    let port: Int

    /// Receives messages that the worker sends as fast as they are taken.
    ///
    /// - Returns: how long that took, from the first byte on.
    func flow(_ mode: BareCommand.Mode, count: Int, size: Int) async throws -> Duration {
        try await self.run(BareCommand(mode: mode, count: count, size: size), inFlight: 0)
    }

    /// Sends messages that come back, so many at a time.
    ///
    /// - Returns: how long that took.
    func echo(count: Int, size: Int, inFlight: Int) async throws -> Duration {
        try await self.run(BareCommand(mode: .echo, count: count, size: size), inFlight: inFlight)
    }

    private func run(_ command: BareCommand, inFlight: Int) async throws -> Duration {
        let result = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: Duration.self)
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        BareLoadHandler(command, inFlight: inFlight, result)
                    )
                }
            }
            .connect(host: "127.0.0.1", port: self.port).get()
        let duration = try await result.futureResult.get()
        try await channel.close()
        return duration
    }
}

private final class BareLoadHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let command: BareCommand
    private let inFlight: Int
    private let result: EventLoopPromise<Duration>
    private var start: ContinuousClock.Instant?
    private var message = ByteBuffer()
    private var received = 0
    private var sent = 0

    init(_ command: BareCommand, inFlight: Int, _ result: EventLoopPromise<Duration>) {
        self.command = command
        self.inFlight = inFlight
        self.result = result
    }

    func channelActive(context: ChannelHandlerContext) {
        self.message.writeRepeatingByte(UInt8(ascii: "x"), count: self.command.size)
        context.writeAndFlush(self.wrapOutboundOut(self.command.encoded), promise: nil)
        self.send(context, upTo: self.inFlight)
    }

    private func send(_ context: ChannelHandlerContext, upTo end: Int) {
        while self.sent < min(end, self.command.count) {
            self.start = self.start ?? .now
            self.sent += 1
            context.writeAndFlush(self.wrapOutboundOut(self.message), promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let start = self.start ?? .now
        self.start = start
        self.received += self.unwrapInboundIn(data).readableBytes
        if self.received == self.command.count * self.command.size { self.result.succeed(.now - start) }
        guard self.command.mode == .echo else { return }
        self.send(context, upTo: self.received / self.command.size + self.inFlight)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.result.fail(error)
        context.close(promise: nil)
    }
}
