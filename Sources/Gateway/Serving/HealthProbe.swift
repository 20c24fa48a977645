import NIOCore

/// One question to a backend that was ejected: GET /health on a new connection.
///
/// Any whole answer below 500 shows that it is there and speaks HTTP, which is what it was ejected for; a program that has no such path
/// says 404. Whether its model can be served is for those who decide which backends there are.
final class HealthProbe: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let backend: Backend
    private let limit: TimeAmount
    private var completion: ((Bool) -> Void)?
    private var reader = ResponseReader(headLimit: 64 * 1024)
    private var status: Int?
    private var timer: Scheduled<Void>?

    init(_ backend: Backend, _ policy: UpstreamPolicy, _ completion: @escaping (Bool) -> Void) {
        self.backend = backend
        self.limit = TimeAmount(policy.probeTimeout)
        self.completion = completion
    }

    /// Says how it went, the first time.
    func finish(_ isWell: Bool) {
        self.timer?.cancel()
        self.completion?(isWell)
        self.completion = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(in: self.limit) {
            let (probe, context) = bound.value
            probe.end(context, false)
        }
        let host = self.backend.host.utf8.contains(Bytes.colon) ? "[\(self.backend.host)]" : self.backend.host
        let request =
            "GET /health HTTP/1.1\r\nhost: \(host):\(self.backend.port)\r\nuser-agent: dynamo-launch\r\n"
            + "accept: */*\r\nconnection: close\r\n\r\n"
        self.reader.expect(answersHead: false, unframes: false)
        context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(string: request)), promise: nil)
        context.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.reader.append(self.unwrapInboundIn(data))
        do throws(Refusal) {
            while let event = try self.reader.next() {
                switch event {
                case .head(let head): if !head.isInformational { self.status = head.status }
                case .body: break
                case .end: return self.end(context, self.isWell)
                }
            }
        } catch {
            self.end(context, false)
        }
    }

    private var isWell: Bool { self.status.map { $0 < 500 } ?? false }

    func channelReadComplete(context: ChannelHandlerContext) { context.read() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else {
            return context.fireUserInboundEventTriggered(event)
        }
        self.end(context, self.reader.endsWithConnection && self.isWell)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { self.end(context, false) }

    func channelInactive(context: ChannelHandlerContext) { self.finish(false) }

    private func end(_ context: ChannelHandlerContext, _ isWell: Bool) {
        self.finish(isWell)
        context.close(promise: nil)
    }
}
