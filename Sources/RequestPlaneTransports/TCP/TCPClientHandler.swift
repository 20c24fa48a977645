import NIOCore
import RequestPlane

/// One request connection: writes requests, and gives each acknowledgement to its request.
final class TCPClientHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Bodies up to this size are copied behind their head, so that the kernel gets one piece.
    private static let copyLimit = 8192

    private var machine: TCPClientConnection
    private var calls: [TCPClientConnection.Token: TCPCall] = [:]
    private var context: ChannelHandlerContext?
    private var timer: Scheduled<Void>?
    private var isFlushScheduled = false
    private let target: HostPort
    private let requestTimeout: Duration
    private let onChange: (Bool) -> Void
    private let onRetry: (TCPCall) -> Void
    private let onClose: (Bool, String?) -> Void
    /// Why the connection broke, when the socket or TLS has said so.
    private var breakReason: String?
    /// Whether the peer has ever answered; only then can a close mean no more than that the connection was idle.
    private var hasServed = false

    init(
        configuration: TCPConfiguration,
        target: HostPort,
        onChange: @escaping (Bool) -> Void,
        onRetry: @escaping (TCPCall) -> Void,
        onClose: @escaping (Bool, String?) -> Void
    ) {
        self.machine = TCPClientConnection(
            capacity: configuration.channelBuffer,
            maximumAcknowledgementSize: configuration.maximumMessageSize
        )
        self.target = target
        self.requestTimeout = configuration.requestTimeout
        self.onChange = onChange
        self.onRetry = onRetry
        self.onClose = onClose
    }

    /// Whether another request may be sent: there is room for its acknowledgement, and the peer reads.
    var isReady: Bool {
        guard let context = self.context, context.channel.isActive else { return false }
        return self.machine.hasCapacity && context.channel.isWritable
    }

    /// Writes a request; false when this connection cannot take it.
    func send(_ call: TCPCall) -> Bool {
        guard self.isReady, let context = self.context, let token = self.machine.send(deadline: call.deadline) else {
            return false
        }
        self.calls[token] = call
        if call.request.body.readableBytes <= Self.copyLimit {
            var frame = call.request.head
            frame.writeImmutableBuffer(call.request.body)
            context.write(self.wrapOutboundOut(frame), promise: nil)
        } else {
            context.write(self.wrapOutboundOut(call.request.head), promise: nil)
            context.write(self.wrapOutboundOut(call.request.body), promise: nil)
        }
        self.scheduleFlush(context)
        self.setTimer(context)
        return true
    }

    /// Closes; requests without an acknowledgement fail.
    func close() { self.context?.close(promise: nil) }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.machine.append(self.unwrapInboundIn(data))
        while let action = self.machine.next() { self.perform(action, context) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.onChange(self.isReady)
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.onChange(self.isReady)
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What is pending is settled when the channel has become inactive.
        self.breakReason = "\(error)"
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let retries = self.takeRetries()
        let reason = self.breakReason ?? "the instance closed the connection"
        self.perform(self.machine.closed(self.failure(reason)), context)
        self.onClose(self.hasServed, self.breakReason)
        for call in retries { self.onRetry(call) }
        context.fireChannelInactive()
    }

    // MARK: Actions

    private func perform(_ action: TCPClientConnection.Action, _ context: ChannelHandlerContext) {
        switch action {
        case .complete(let token, let acknowledgement):
            self.hasServed = true
            self.calls.removeValue(forKey: token)?.acknowledged(acknowledgement)
        case .fail(let tokens, let failure):
            if self.breakReason == nil { self.breakReason = failure.message }
            for token in tokens { self.calls.removeValue(forKey: token)?.fail(failure) }
            context.close(promise: nil)
        case .close: context.close(promise: nil)
        }
    }

    /// Removes and returns the requests that another connection may take.
    private func takeRetries() -> [TCPCall] {
        guard self.hasServed else { return [] }
        var retries: [TCPCall] = []
        for (token, call) in self.calls.sorted(by: { $0.key < $1.key }) {
            guard let retry = call.secondAttempt else { continue }
            self.calls[token] = nil
            retries.append(retry)
        }
        return retries
    }

    private func failure(_ reason: String) -> PlaneFailure {
        PlaneFailure(.connectFailed, "the connection to \(self.target) broke before the acknowledgement: \(reason)")
    }

    /// Requests that are written in one turn of the event loop leave together.
    private func scheduleFlush(_ context: ChannelHandlerContext) {
        guard !self.isFlushScheduled else { return }
        self.isFlushScheduled = true
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.execute {
            handler.value.isFlushScheduled = false
            handler.value.context?.flush()
        }
    }

    /// One timer, for the oldest request.
    private func setTimer(_ context: ChannelHandlerContext) {
        guard self.timer == nil, let deadline = self.machine.nextDeadline else { return }
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(deadline: deadline) { handler.value.timeIsOver() }
    }

    private func timeIsOver() {
        self.timer = nil
        let failure = PlaneFailure(.timedOut, "no acknowledgement from \(self.target) within \(self.requestTimeout)")
        for token in self.machine.expire(now: .now()) { self.calls.removeValue(forKey: token)?.fail(failure) }
        guard let context = self.context else { return }
        if self.machine.closeIfUnwanted() { context.close(promise: nil) } else { self.setTimer(context) }
        self.onChange(self.isReady)
    }
}
