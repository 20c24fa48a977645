import NIOCore
import NIOHTTP1
import NIOHTTP2

/// Reads requests from one HTTP/1 connection or one HTTP/2 stream, gives them to their endpoints and writes the answers, in order.
final class HTTPServerHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = Never
    typealias OutboundOut = HTTPServerResponsePart

    /// What carries the requests.
    enum Carrier {
        /// Any number of requests, one after the other.
        case connection
        /// One request.
        case stream
    }

    private var machine: HTTPRequestReceiver
    private let core: ServingCore
    private let configuration: HTTPConfiguration
    private let budget: HTTPBodyBudget
    /// What the body that is being collected has taken of the budget.
    private var heldBytes = 0
    private let carrier: Carrier
    private var headers = HTTPHeaders()
    private var version = HTTPVersion.http1_1
    private var deadline = NIODeadline.distantFuture
    private var timer: Scheduled<Void>?
    /// A peer that sends requests but does not read answers is not read from either.
    private var isReadHeld = false

    init(core: ServingCore, configuration: HTTPConfiguration, budget: HTTPBodyBudget, carrier: Carrier) {
        self.machine = HTTPRequestReceiver(rootPath: configuration.rootPath, limit: configuration.maximumBodySize)
        self.core = core
        self.configuration = configuration
        self.budget = budget
        self.carrier = carrier
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) {
        if self.carrier == .connection { self.expect(within: self.configuration.stallTimeout, context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.giveBack()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.giveBack()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.headers = head.headers
            self.version = head.version
            self.perform(self.machine.receive(HTTPRequestReceiver.Head(head)), context)
        case .body(let bytes):
            self.takeRoom(for: bytes.readableBytes)
            self.perform(self.machine.receive(bytes), context)
        case .end:
            self.perform(self.machine.receiveEnd(), context)
        }
        if !self.machine.isCollecting { self.giveBack() }
    }

    /// Lets the machine give the body up when the server holds too much of bodies.
    private func takeRoom(for size: Int) {
        guard self.machine.isCollecting else { return }
        if self.budget.take(size) {
            self.heldBytes += size
        } else {
            self.machine.giveUpBody(.bodiesFull(limit: self.budget.limit))
        }
    }

    private func giveBack() {
        guard self.heldBytes > 0 else { return }
        self.budget.giveBack(self.heldBytes)
        self.heldBytes = 0
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if self.machine.isReceiving {
            self.expect(within: self.configuration.stallTimeout, context)
        } else if self.carrier == .stream {
            self.deadline = .distantFuture
        }
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if context.channel.isWritable || self.carrier == .stream { context.read() } else { self.isReadHeld = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, self.isReadHeld {
            self.isReadHeld = false
            context.read()
        }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent, self.carrier == .connection {
            self.perform(self.machine.quiesce(), context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard self.carrier == .connection, let error = error as? HTTPParserError else {
            context.close(promise: nil)
            return
        }
        let answer =
            error == .headerOverflow
            ? HTTPAnswer(status: .headersTooLarge, text: "the request's headers are too large")
            : .malformed("\(error)")
        self.giveBack()
        if let action = self.machine.receiveGarbage(answer) {
            self.perform(action, context)
        } else {
            context.close(promise: nil)
        }
    }

    // MARK: Actions

    private func perform(_ action: HTTPRequestReceiver.Action?, _ context: ChannelHandlerContext) {
        switch action {
        case nil: break
        case .sendContinue:
            let head = HTTPResponseHead(version: .http1_1, status: .continue)
            context.writeAndFlush(self.wrapOutboundOut(.head(head)), promise: nil)
        case .dispatch(let path, let payload):
            let headers = RequestHeaders.fields(Self.planeHeaders(self.headers))
            let admission = self.core.dispatch(path: path, headers: headers, payload: payload)
            self.write(HTTPAnswer(admission, path: path), context)
        case .answer(let answer): self.write(answer, context)
        case .close: context.close(promise: nil)
        }
    }

    private func write(_ answer: HTTPAnswer, _ context: ChannelHandlerContext) {
        var head = answer.head(maximumBody: self.configuration.maximumBodySize)
        let isConnection = self.carrier == .connection
        if isConnection {
            if self.machine.isLast {
                head.headers.add(name: "connection", value: "close")
            } else if self.version == .http1_0 {
                head.headers.add(name: "connection", value: "keep-alive")
            }
        }
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        if !answer.text.isEmpty {
            context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: answer.text)))), promise: nil)
        }
        let isOver = isConnection && self.machine.isLast && !self.machine.isReceiving
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        if isOver {
            self.closeGently(context)
        } else if isConnection {
            let limit =
                self.machine.isReceiving ? self.configuration.stallTimeout : self.configuration.idleTimeout
            self.expect(within: limit, context)
        }
    }

    /// Ends the sending side first: closing with unread bytes would reset the connection before the peer has read the answer.
    private func closeGently(_ context: ChannelHandlerContext) {
        context.close(mode: .output, promise: nil)
        self.expect(within: .seconds(1), context)
    }

    // MARK: Time

    /// Closes unless something happens within the time.
    ///
    /// The timer is not set anew for every request; when it fires early, it waits for the rest.
    private func expect(within time: Duration, _ context: ChannelHandlerContext) {
        let deadline = context.eventLoop.now + TimeAmount(time)
        let isEarlier = deadline < self.deadline
        self.deadline = deadline
        if self.timer == nil || isEarlier { self.setTimer(context) }
    }

    private func setTimer(_ context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.timer = nil
        guard self.deadline != .distantFuture else { return }
        let handler = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(deadline: self.deadline) {
            let (handler, context) = handler.value
            handler.timer = nil
            if handler.deadline <= context.eventLoop.now {
                context.close(promise: nil)
            } else {
                handler.setTimer(context)
            }
        }
    }

    // MARK: Headers

    /// What concerns HTTP and not the request.
    private static let transportHeaders: Set<String> = [
        "accept", "accept-encoding", "connection", "content-length", "content-type", "expect", "host", "http2-settings",
        "keep-alive", "te", "transfer-encoding", "upgrade", "user-agent",
    ]

    private static func planeHeaders(_ headers: HTTPHeaders) -> [String: String] {
        var fields: [String: String] = [:]
        for (name, value) in headers {
            let name = name.lowercased()
            if Self.transportHeaders.contains(name) { continue }
            fields[name] = fields[name].map { "\($0), \(value)" } ?? value
        }
        return fields
    }
}

extension HTTPRequestReceiver.Head {
    fileprivate init(_ head: HTTPRequestHead) {
        self.init(
            isPost: head.method == .POST,
            isOptions: head.method == .OPTIONS,
            target: head.uri,
            contentLength: head.headers.first(name: "content-length").flatMap { Int($0) },
            expectsContinue: head.headers.first(name: "expect")?.lowercased() == "100-continue",
            // After a request to switch protocols the parser reads nothing more.
            keepsAlive: head.isKeepAlive && !head.headers.contains(name: "upgrade")
        )
    }
}
