import NIOCore

/// A connection between a launcher and a gateway in another process.
struct ControlConnection: Sendable {
    let channel: any Channel
    /// What comes; ends with the connection.
    let bytes: AsyncStream<ByteBuffer>

    /// Makes one of a channel that is not active yet.
    ///
    /// To be called on the channel's event loop.
    init(_ channel: any Channel) throws {
        let (bytes, sink) = AsyncStream.makeStream(of: ByteBuffer.self)
        try channel.pipeline.syncOperations.addHandler(Receiver(sink))
        (self.channel, self.bytes) = (channel, bytes)
    }

    /// Sends a message; messages arrive in the order of the calls.
    func send(_ message: some Encodable) { self.channel.writeAndFlush(MessageFrames.encode(message), promise: nil) }

    func close() { self.channel.close(promise: nil) }

    private final class Receiver: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let sink: AsyncStream<ByteBuffer>.Continuation

        init(_ sink: AsyncStream<ByteBuffer>.Continuation) { self.sink = sink }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { self.sink.yield(self.unwrapInboundIn(data)) }

        func channelInactive(context: ChannelHandlerContext) { self.sink.finish() }

        func handlerRemoved(context: ChannelHandlerContext) { self.sink.finish() }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
