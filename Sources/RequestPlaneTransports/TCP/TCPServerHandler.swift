import NIOCore
import RequestPlane

/// Reads request frames from one connection and writes their acknowledgements, in order.
final class TCPServerHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    private var machine: TCPServerConnection
    private let core: ServingCore
    private var acknowledgements = ByteBuffer()
    /// A peer that sends requests but does not read acknowledgements is not read from either.
    private var isReadHeld = false

    init(_ machine: TCPServerConnection, core: ServingCore) {
        self.machine = machine
        self.core = core
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.machine.append(self.unwrapInboundIn(data))
        while let action = self.machine.next() {
            switch action {
            case .dispatch(let path, let frame):
                let admission = self.core.dispatch(path: path, headers: .json(frame.headers), payload: frame.payload)
                self.acknowledgements.writeTCPAcknowledgement(
                    admission == .accepted
                        ? .accepted : .refused(RequestAnswer.Refusal(admission, path: path).text)
                )
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
