import NIOCore
import RequestPlane

/// Reads request frames from one connection and writes their acknowledgements, in order.
final class TCPServerHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    private var machine: TCPServerConnection
    private let dispatch: (String, TCPRequestFrame) -> TCPAcknowledgement
    private var acknowledgements = ByteBuffer()
    /// A peer that sends requests but does not read acknowledgements is not read from either.
    private var isReadHeld = false

    init(_ machine: TCPServerConnection, dispatch: @escaping (String, TCPRequestFrame) -> TCPAcknowledgement) {
        self.machine = machine
        self.dispatch = dispatch
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.machine.append(self.unwrapInboundIn(data))
        while let action = self.machine.next() {
            switch action {
            case .dispatch(let path, let frame):
                self.acknowledgements.writeTCPAcknowledgement(self.dispatch(path, frame))
            case .refuse(let text):
                self.acknowledgements.writeTCPAcknowledgement(.refused(text))
            case .refuseAndClose(let text):
                self.acknowledgements.writeTCPAcknowledgement(.refused(text))
                self.flushAcknowledgements(context)
                context.close(promise: nil)
            }
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.flushAcknowledgements(context)
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if context.channel.isWritable { context.read() } else { self.isReadHeld = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, self.isReadHeld {
            self.isReadHeld = false
            context.read()
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func flushAcknowledgements(_ context: ChannelHandlerContext) {
        guard self.acknowledgements.readableBytes > 0 else { return }
        context.writeAndFlush(self.wrapOutboundOut(self.acknowledgements), promise: nil)
        self.acknowledgements = ByteBuffer()
    }
}
