import NIOCore

/// Holds the first bytes of a connection until they show whether the peer speaks HTTP/2 or HTTP/1.
final class HTTPProtocolDetector: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    static let preface = ByteBuffer(string: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    private var received = ByteBuffer()
    private var timer: Scheduled<Void>?
    private let limit: Duration
    private let install: (any Channel, Bool) throws -> Void

    /// Creates a detector.
    ///
    /// - Parameters:
    ///   - limit: how long the peer may take to show what it speaks.
    ///   - install: adds the handlers of HTTP/2 (true) or HTTP/1 (false).
    init(limit: Duration, install: @escaping (any Channel, Bool) throws -> Void) {
        self.limit = limit
        self.install = install
    }

    /// Whether the bytes begin an HTTP/2 connection; nil when there are too few of them.
    static func isHTTP2(_ bytes: ByteBuffer) -> Bool? {
        let count = min(bytes.readableBytes, Self.preface.readableBytes)
        guard bytes.readableBytesView.prefix(count).elementsEqual(Self.preface.readableBytesView.prefix(count)) else {
            return false
        }
        return count == Self.preface.readableBytes ? true : nil
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        self.timer = context.eventLoop.scheduleTask(in: TimeAmount(self.limit)) { channel.close(promise: nil) }
        context.fireChannelActive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.timer?.cancel() }

    func channelInactive(context: ChannelHandlerContext) {
        self.timer?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        if self.received.readableBytes == 0 { self.received = bytes } else { self.received.writeImmutableBuffer(bytes) }
        guard let isHTTP2 = Self.isHTTP2(self.received) else { return }
        do {
            try self.install(context.channel, isHTTP2)
        } catch {
            context.close(promise: nil)
            return
        }
        context.fireChannelRead(self.wrapInboundOut(self.received))
        context.fireChannelReadComplete()
        self.received = ByteBuffer()
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    /// A connection that is being drained before it has said anything has nothing to finish.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }
}
