import Logging
import NIOCore
import RequestPlane

/// A caller's end of one response stream: performs what its machine says, and reads only as fast as the reader does.
final class ResponseStreamHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    /// How long a worker may take to close after it was told to stop, or until its sentinel.
    private static let lingerTimeout = TimeAmount.seconds(5)

    private var machine: ResponseStreamReceiver
    private let pending: PendingResponses
    private let handshakeTimeout: TimeAmount
    private let logger: Logger
    private var buffer: ResponseBuffer?
    /// Set until the worker has accepted the request or the answer has ended.
    private var subject: String?
    private var context: ChannelHandlerContext?
    private var timer: Scheduled<Void>?
    private var isReaderSlow = false
    private var isReadHeld = false

    init(_ machine: ResponseStreamReceiver, pending: PendingResponses, handshakeTimeout: TimeAmount, logger: Logger) {
        self.machine = machine
        self.pending = pending
        self.handshakeTimeout = handshakeTimeout
        self.logger = logger
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        self.setTimer(self.handshakeTimeout)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.machine.append(self.unwrapInboundIn(data))
        self.performAll(context)
    }

    func read(context: ChannelHandlerContext) {
        if self.isReaderSlow { self.isReadHeld = true } else { context.read() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.perform(self.machine.inputClosed("\(error)"), context)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.perform(self.machine.inputClosed("the connection was closed"), context)
        context.fireChannelInactive()
    }

    // MARK: Actions

    /// Items that arrived together reach the reader together.
    private func performAll(_ context: ChannelHandlerContext) {
        var items: [ResponseItem] = []
        while let action = self.machine.next() {
            if case .deliver(let more) = action {
                if items.isEmpty { items = more } else { items += more }
            } else {
                self.deliver(items)
                items = []
                self.perform(action, context)
            }
        }
        self.deliver(items)
    }

    private func perform(_ action: ResponseStreamReceiver.Action?, _ context: ChannelHandlerContext) {
        switch action {
        case .match(let subject): self.match(subject, context)
        case .reset(let reason):
            self.logger.debug("reset a call-home connection", metadata: ["reason": "\(reason)"])
            self.pending.refused(reason)
            context.channel.reset()
        case .accept:
            self.settle()
            self.buffer?.accept()
        case .deliver(let items): self.deliver(items)
        case .finish:
            self.finish(nil)
            self.setTimer(Self.lingerTimeout)
        case .finishAndClose:
            self.finish(nil)
            context.close(promise: nil)
        case .fail(let failure):
            self.finish(failure)
            context.close(promise: nil)
        case .killAndFail(let failure):
            self.finish(failure)
            self.write(.kill, context)
            context.close(promise: nil)
        case .close: context.close(promise: nil)
        case nil: break
        }
    }

    private func match(_ subject: String, _ context: ChannelHandlerContext) {
        guard let buffer = self.pending.take(subject) else {
            self.logger.debug("reset a call-home connection of an unknown subject", metadata: ["subject": "\(subject)"])
            context.channel.reset()
            return
        }
        self.timer?.cancel()
        self.buffer = buffer
        self.subject = subject
        self.machine.matched()
        switch buffer.attach(Producer(NIOLoopBound(self, eventLoop: context.eventLoop))) {
        case .read: break
        case .stop: self.stop()
        case .cancel: self.kill()
        }
    }

    private func deliver(_ items: [ResponseItem]) {
        guard !items.isEmpty else { return }
        switch self.buffer?.yield(items) {
        case .more, nil: break
        case .wait: self.isReaderSlow = true
        case .gone: self.kill()
        }
    }

    private func settle() {
        guard let subject = self.subject else { return }
        self.subject = nil
        self.pending.settle(subject)
    }

    private func finish(_ failure: PlaneFailure?) {
        self.settle()
        self.buffer?.finish(failure)
        self.buffer = nil
        self.isReaderSlow = false
        self.readIfHeld()
    }

    private func write(_ frame: ControlFrame, _ context: ChannelHandlerContext) {
        context.writeAndFlush(self.wrapOutboundOut(frame.encoded), promise: nil)
    }

    private func setTimer(_ delay: TimeAmount) {
        self.timer?.cancel()
        guard let context = self.context else { return }
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(in: delay) { handler.value.timeIsOver() }
    }

    private func timeIsOver() {
        guard let context = self.context else { return }
        self.perform(self.machine.lingerEnded(), context)
    }

    private func readIfHeld() {
        guard self.isReadHeld else { return }
        self.isReadHeld = false
        self.context?.read()
    }

    // MARK: Reader

    fileprivate func produceMore() {
        self.isReaderSlow = false
        self.readIfHeld()
    }

    fileprivate func stop() {
        guard let context = self.context, self.machine.stop() else { return }
        self.write(.stop, context)
        self.setTimer(Self.lingerTimeout)
    }

    fileprivate func kill() {
        guard let context = self.context else { return }
        self.settle()
        if self.machine.kill() { self.write(.kill, context) }
        self.buffer = nil
        context.close(promise: nil)
    }
}

/// Takes the reader's wishes to the handler's event loop.
private final class Producer: ResponseProducer {
    private let handler: NIOLoopBound<ResponseStreamHandler>

    init(_ handler: NIOLoopBound<ResponseStreamHandler>) { self.handler = handler }

    func produceMore() { self.handler.eventLoop.execute { self.handler.value.produceMore() } }

    func cancelGeneration() { self.handler.eventLoop.execute { self.handler.value.kill() } }

    func stopGeneration() { self.handler.eventLoop.execute { self.handler.value.stop() } }
}
