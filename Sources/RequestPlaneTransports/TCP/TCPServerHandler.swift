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
    private let stallLimit: Duration
    private var stallTimer: Scheduled<Void>?
    private var lastGrowth = NIODeadline.uptimeNanoseconds(0)

    init(_ machine: TCPServerConnection, core: ServingCore, stallLimit: Duration) {
        self.machine = machine
        self.core = core
        self.stallLimit = stallLimit
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.stallTimer?.cancel() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.machine.append(self.unwrapInboundIn(data))
        while let action = self.machine.next() { self.perform(action, context) }
    }

    private func perform(_ action: TCPServerConnection.Action, _ context: ChannelHandlerContext) {
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

    func channelReadComplete(context: ChannelHandlerContext) {
        self.watchPartialFrame(context)
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

    // MARK: Partial frames

    private func watchPartialFrame(_ context: ChannelHandlerContext) {
        guard self.machine.isInsideFrame else {
            self.stallTimer?.cancel()
            self.stallTimer = nil
            return
        }
        self.lastGrowth = .now()
        if self.stallTimer == nil { self.setStallTimer(context) }
    }

    private func setStallTimer(_ context: ChannelHandlerContext) {
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        self.stallTimer = context.eventLoop.scheduleTask(deadline: self.lastGrowth + TimeAmount(self.stallLimit)) {
            bound.value.handler.checkGrowth(bound.value.context)
        }
    }

    private func checkGrowth(_ context: ChannelHandlerContext) {
        self.stallTimer = nil
        // Not the peer's fault while it is not read from.
        if self.isReadHeld { self.lastGrowth = .now() }
        if self.lastGrowth + TimeAmount(self.stallLimit) > .now() { return self.setStallTimer(context) }
        if let action = self.machine.stalled(for: self.stallLimit) { self.perform(action, context) }
    }
}
