import NIOCore

/// Answers a bare connection: sends back what comes, or sends messages as fast as they are taken.
///
/// The first 24 bytes say what to do: a `BareCommand`.
final class BareWorkerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var received = ByteBuffer()
    private var command: BareCommand?
    private var message = ByteBuffer()
    private var rest = 0

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard self.command == nil else { return context.writeAndFlush(data, promise: nil) }
        self.received.writeImmutableBuffer(self.unwrapInboundIn(data))
        guard let command = BareCommand(&self.received) else { return }
        self.command = command
        self.message.writeRepeatingByte(UInt8(ascii: "x"), count: command.size)
        self.rest = command.count
        if command.mode == .echo, self.received.readableBytes > 0 {
            context.writeAndFlush(self.wrapOutboundOut(self.received), promise: nil)
        }
        self.send(context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.send(context)
        context.fireChannelWritabilityChanged()
    }

    private func send(_ context: ChannelHandlerContext) {
        guard let command = self.command, command.mode != .echo else { return }
        while self.rest > 0, context.channel.isWritable {
            self.rest -= 1
            context.write(self.wrapOutboundOut(self.message), promise: nil)
            if command.mode == .flowFlushed || self.rest.isMultiple(of: 32) { context.flush() }
        }
        context.flush()
    }
}

/// What a bare connection is for.
struct BareCommand: Sendable {
    enum Mode: Int, Sendable {
        case echo
        /// Each message is flushed.
        case flowFlushed
        /// Every 32nd message is flushed.
        case flowJoined
    }

    var mode: Mode
    var count: Int
    var size: Int

    init(mode: Mode, count: Int, size: Int) {
        self.mode = mode
        self.count = count
        self.size = size
    }

    init?(_ buffer: inout ByteBuffer) {
        guard let (mode, count, size) = buffer.readMultipleIntegers(as: (Int64, Int64, Int64).self),
            let mode = Mode(rawValue: Int(mode))
        else { return nil }
        self.init(mode: mode, count: Int(count), size: Int(size))
    }

    var encoded: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeMultipleIntegers(Int64(self.mode.rawValue), Int64(self.count), Int64(self.size))
        return buffer
    }
}
