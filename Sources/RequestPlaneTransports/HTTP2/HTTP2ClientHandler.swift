import NIOCore
import NIOHTTP2
import RequestPlane

/// One HTTP/2 connection to a host: opens a stream for each request, watches what concerns the whole connection, and sends pings.
final class HTTP2ClientHandler: ChannelInboundHandler, HTTPClientConnection {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    private var machine: HTTP2ClientConnection
    private let target: HostPort
    private let configuration: HTTPConfiguration
    private let onEvent: (HTTPConnectionEvent) -> Void
    private var context: ChannelHandlerContext?
    private var multiplexer: NIOHTTP2Handler.StreamMultiplexer?
    private var settingsTimer: Scheduled<Void>?
    private var pingTimer: Scheduled<Void>?
    private var pongTimer: Scheduled<Void>?
    private var hasAnsweredInHTTP1 = false
    /// Whether a request was ever answered; only then can a close mean no more than that the connection was idle.
    private(set) var hasServed = false
    private(set) var closeReason = "the instance closed the connection"

    init(target: HostPort, configuration: HTTPConfiguration, onEvent: @escaping (HTTPConnectionEvent) -> Void) {
        self.machine = HTTP2ClientConnection(maximumStreams: configuration.maximumConcurrentStreams)
        self.target = target
        self.configuration = configuration
        self.onEvent = onEvent
    }

    /// Adds the handlers of a connection to a channel.
    func install(in channel: any Channel) throws {
        let http2 = NIOHTTP2Handler(
            mode: .client,
            eventLoop: channel.eventLoop,
            connectionConfiguration: self.configuration.http2Connection(settings: [
                HTTP2Setting(parameter: .enablePush, value: 0),
                HTTP2Setting(parameter: .maxConcurrentStreams, value: 0),
            ]),
            streamConfiguration: self.configuration.http2Stream
        ) { stream in stream.close() }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(HTTP2AnswerGuard { [weak self] in self?.answeredInHTTP1() })
        try pipeline.addHandler(http2)
        try pipeline.addHandler(self)
        self.multiplexer = try http2.syncMultiplexer()
    }

    // MARK: Requests

    func send(_ exchange: HTTPExchange) -> Bool {
        guard self.machine.takesRequests, let context = self.context, let multiplexer = self.multiplexer else {
            return false
        }
        self.machine.streamOpened()
        let connection = NIOLoopBound(self, eventLoop: context.eventLoop)
        let opened = context.eventLoop.makePromise(of: (any Channel).self)
        opened.futureResult.whenFailure { error in
            let failure = PlaneFailure(.connectFailed, "cannot open a stream to \(connection.value.target): \(error)")
            connection.value.perform(connection.value.machine.exhausted())
            connection.value.settle(exchange, .unprocessed(failure))
        }
        multiplexer.createStreamChannel(promise: opened) { stream in
            stream.eventLoop.makeCompletedFuture {
                let handler = HTTP2StreamHandler(exchange, target: connection.value.target) { outcome in
                    connection.value.settle(exchange, outcome)
                } isUnprocessed: { id in
                    connection.value.machine.isUnprocessed(id)
                } hasServed: {
                    connection.value.hasServed
                }
                try stream.pipeline.syncOperations.addHandler(handler)
            }
        }
        return true
    }

    func close() { self.context?.close(promise: nil) }

    private func settle(_ exchange: HTTPExchange, _ outcome: HTTPConnectionEvent.Outcome) {
        if case .response = outcome { self.hasServed = true }
        let action = self.machine.streamClosed()
        self.onEvent(.settled(exchange, outcome))
        guard action != nil, let context = self.context else { return }
        // The last stream may be ending within the HTTP/2 handler; let it finish.
        let connection = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.execute { connection.value.perform(action) }
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        let connection = NIOLoopBound(self, eventLoop: context.eventLoop)
        let limit = TimeAmount(self.configuration.connectTimeout)
        self.settingsTimer = context.eventLoop.scheduleTask(in: limit) { connection.value.close() }
        self.schedulePing(context)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data).payload {
        case .settings(.settings(let settings)):
            self.settingsTimer?.cancel()
            let maximum = settings.last { $0.parameter == .maxConcurrentStreams }?.value
            self.perform(self.machine.receiveSettings(maximumStreams: maximum))
        case .goAway(let last, let code, _):
            self.closeReason = "the instance is going away (\(code))"
            self.perform(self.machine.receiveGoAway(last: Int(last)))
        case .ping(let data, ack: true): self.machine.receivePong(data.integer)
        default: break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if HTTP2Fault.concernsOneStream(error) { return }
        self.closeReason = "\(error)"
        // What is running is settled when the channel has become inactive.
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        for timer in [self.settingsTimer, self.pingTimer, self.pongTimer] { timer?.cancel() }
        if self.machine.isConnecting {
            self.onEvent(.notHTTP2(isCertain: self.hasAnsweredInHTTP1))
        } else {
            self.onEvent(.closed(hasServed: self.hasServed))
        }
        context.fireChannelInactive()
    }

    private func answeredInHTTP1() {
        self.hasAnsweredInHTTP1 = true
        self.close()
    }

    // MARK: Actions

    private func perform(_ action: HTTP2ClientConnection.Action?) {
        switch action {
        case nil: break
        case .opened(let capacity): self.onEvent(.opened(capacity: capacity))
        case .capacityChanged(let capacity): self.onEvent(.capacityChanged(capacity))
        case .retire: self.onEvent(.retired)
        case .retireAndClose:
            self.onEvent(.retired)
            self.close()
        case .sendPing(let ping): self.sendPing(ping)
        case .close: self.close()
        }
    }

    private func schedulePing(_ context: ChannelHandlerContext) {
        let connection = NIOLoopBound(self, eventLoop: context.eventLoop)
        self.pingTimer = context.eventLoop.scheduleTask(in: TimeAmount(self.configuration.keepAliveInterval)) {
            guard let context = connection.value.context else { return }
            connection.value.perform(connection.value.machine.pingIsDue())
            connection.value.schedulePing(context)
        }
    }

    private func sendPing(_ ping: UInt64) {
        guard let context = self.context else { return }
        let frame = HTTP2Frame(
            streamID: .rootStream,
            payload: .ping(HTTP2PingData(withInteger: ping), ack: false)
        )
        context.writeAndFlush(self.wrapOutboundOut(frame), promise: nil)
        let connection = NIOLoopBound(self, eventLoop: context.eventLoop)
        let limit = self.configuration.keepAliveTimeout
        self.pongTimer = context.eventLoop.scheduleTask(in: TimeAmount(limit)) {
            guard let action = connection.value.machine.pingIsOverdue(ping) else { return }
            connection.value.closeReason = "no answer to a keep-alive ping within \(limit)"
            connection.value.perform(action)
        }
    }
}

/// Notices a peer that answers in HTTP/1: the first byte of its first HTTP/2 frame would be zero.
private final class HTTP2AnswerGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let onHTTP1: () -> Void

    init(onHTTP1: @escaping () -> Void) { self.onHTTP1 = onHTTP1 }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        guard let first = bytes.readableBytesView.first else { return }
        if first == 0 {
            context.fireChannelRead(data)
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
        } else if first == UInt8(ascii: "H") {
            self.onHTTP1()
        } else {
            context.close(promise: nil)
        }
    }
}
