import NIOCore
import NIOHPACK
import NIOHTTP2
import RequestPlane

/// One request on one HTTP/2 stream.
final class HTTP2StreamHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let exchange: HTTPExchange
    private let target: HostPort
    private let onOutcome: (HTTPConnectionEvent.Outcome) -> Void
    private let isUnprocessed: (Int) -> Bool
    private let hasServed: () -> Bool
    private var response: HTTPResponse?
    private var isSettled = false
    private var timer: Scheduled<Void>?

    /// Creates the handler of a stream that is about to be opened.
    ///
    /// - Parameters:
    ///   - exchange: what to send.
    ///   - target: where to, for error texts.
    ///   - onOutcome: hears once what became of it.
    ///   - isUnprocessed: whether the peer has said that it does not process a stream.
    ///   - hasServed: whether the connection has ever answered.
    init(
        _ exchange: HTTPExchange,
        target: HostPort,
        onOutcome: @escaping (HTTPConnectionEvent.Outcome) -> Void,
        isUnprocessed: @escaping (Int) -> Bool,
        hasServed: @escaping () -> Bool
    ) {
        self.exchange = exchange
        self.target = target
        self.onOutcome = onOutcome
        self.isUnprocessed = isUnprocessed
        self.hasServed = hasServed
    }

    func channelActive(context: ChannelHandlerContext) {
        let pieces = self.exchange.request.pieces
        let written = context.eventLoop.makePromise(of: Void.self)
        let handler = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        written.futureResult.whenFailure { error in
            let (handler, context) = handler.value
            handler.settle(.unprocessed(handler.failure("\(error)")))
            context.close(promise: nil)
        }
        let headers = HTTP2Frame.FramePayload.Headers(
            headers: self.exchange.request.http2Headers,
            endStream: pieces.isEmpty
        )
        context.write(self.wrapOutboundOut(.headers(headers)), promise: written)
        for (index, piece) in pieces.enumerated() {
            let data = HTTP2Frame.FramePayload.Data(data: .byteBuffer(piece), endStream: index == pieces.count - 1)
            context.write(self.wrapOutboundOut(.data(data)), promise: nil)
        }
        context.flush()
        self.timer = context.eventLoop.scheduleTask(deadline: self.exchange.deadline) {
            let (handler, context) = handler.value
            handler.settle(
                .failed(PlaneFailure(.timedOut, "no acknowledgement from \(handler.target) in time"))
            )
            context.close(promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .headers(let block):
            if self.response == nil {
                guard let status = block.headers.first(name: ":status").flatMap({ Int($0) }) else {
                    self.settle(.failed(self.failure("a response without a status")))
                    context.close(promise: nil)
                    return
                }
                if 100..<200 ~= status { return }
                let limit = block.headers.first(name: HTTPAnswer.maximumBodyHeader).flatMap { Int($0) }
                self.response = HTTPResponse(status: status, maximumBody: limit)
            }
            if block.endStream { self.responseIsWhole() }
        case .data(let data):
            if case .byteBuffer(let bytes) = data.data { self.response?.append(bytes) }
            if data.endStream { self.responseIsWhole() }
        default: break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let closed = error as? NIOHTTP2Errors.StreamClosed,
            closed.errorCode == .refusedStream || self.isUnprocessed(Int(closed.streamID))
        {
            self.settle(.unprocessed(self.failure("the instance did not take the request: \(closed.errorCode)")))
        } else {
            self.settle(.failed(self.failure("\(error)")))
        }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let failure = self.failure("the instance closed the connection")
        let mayRepeat = self.hasServed() && self.response == nil
        self.settle(mayRepeat ? .unprocessed(failure) : .failed(failure))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.timer?.cancel() }

    // MARK: Outcome

    private func responseIsWhole() {
        guard let response = self.response else { return self.settle(.failed(self.failure("an empty response"))) }
        self.settle(.response(response))
    }

    private func settle(_ outcome: HTTPConnectionEvent.Outcome) {
        guard !self.isSettled else { return }
        self.isSettled = true
        self.timer?.cancel()
        self.onOutcome(outcome)
    }

    private func failure(_ reason: String) -> PlaneFailure {
        PlaneFailure(.connectFailed, "the connection to \(self.target) broke before the acknowledgement: \(reason)")
    }
}
