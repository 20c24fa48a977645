import NIOCore
import NIOHTTP1
import RequestPlane

/// One HTTP/1.1 connection to a host that cannot speak HTTP/2: one request at a time.
final class HTTP1ClientHandler: ChannelInboundHandler, HTTPClientConnection {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let target: HostPort
    private let onEvent: (HTTPConnectionEvent) -> Void
    private var context: ChannelHandlerContext?
    private var exchange: HTTPExchange?
    private var response: HTTPResponse?
    private var keepsAlive = true
    private var hasServed = false
    private var timer: Scheduled<Void>?

    init(target: HostPort, onEvent: @escaping (HTTPConnectionEvent) -> Void) {
        self.target = target
        self.onEvent = onEvent
    }

    /// Adds the handlers of a connection to a channel.
    func install(in channel: any Channel) throws {
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(HTTPRequestEncoder())
        try pipeline.addHandler(ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes)))
        try pipeline.addHandler(self)
    }

    // MARK: Requests

    func send(_ exchange: HTTPExchange) -> Bool {
        guard self.exchange == nil, let context = self.context, context.channel.isActive else { return false }
        self.exchange = exchange
        self.response = nil
        context.write(self.wrapOutboundOut(.head(exchange.request.http1Head)), promise: nil)
        for piece in exchange.request.pieces {
            context.write(self.wrapOutboundOut(.body(.byteBuffer(piece))), promise: nil)
        }
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(deadline: exchange.deadline) {
            let handler = handler.value
            handler.settle(
                .failed(PlaneFailure(.timedOut, "no acknowledgement from \(handler.target) in time"))
            )
            handler.close()
        }
        return true
    }

    func close() { self.context?.close(promise: nil) }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        self.onEvent(.opened(capacity: 1))
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            let limit = head.headers.first(name: HTTPAnswer.maximumBodyHeader).flatMap { Int($0) }
            self.response = HTTPResponse(status: Int(head.status.code), maximumBody: limit)
            self.keepsAlive = head.isKeepAlive
        case .body(let bytes): self.response?.append(bytes)
        case .end:
            guard let response = self.response else { return }
            self.hasServed = true
            if !self.keepsAlive { self.onEvent(.retired) }
            self.settle(.response(response))
            if !self.keepsAlive { context.close(promise: nil) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A broken connection says so; one that was only closed may have been idle too long.
        if error is HTTPParserError { self.settle(.failed(self.failure("the response is not HTTP: \(error)"))) }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let failure = self.failure("the instance closed the connection")
        let mayRepeat = self.hasServed && self.response == nil
        self.settle(mayRepeat ? .unprocessed(failure) : .failed(failure))
        self.onEvent(.closed(hasServed: self.hasServed))
        context.fireChannelInactive()
    }

    private func settle(_ outcome: HTTPConnectionEvent.Outcome) {
        guard let exchange = self.exchange else { return }
        self.exchange = nil
        self.timer?.cancel()
        self.onEvent(.settled(exchange, outcome))
    }

    private func failure(_ reason: String) -> PlaneFailure {
        PlaneFailure(.connectFailed, "the connection to \(self.target) broke before the acknowledgement: \(reason)")
    }
}
