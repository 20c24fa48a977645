package import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// A small HTTP/1.1 client: one request, one connection, no TLS.
///
/// Probes ask loopback addresses a few times a second, and the control socket is a file. For that a pool, TLS and HTTP/2 are only
/// memory (the launcher has a budget), and a kept-alive connection would hide that a port no longer accepts new ones.
package enum HTTPClient {
    /// Bodies longer than this are cut.
    static let bodyLimit = 1 << 20

    /// Sends a request and collects the answer.
    ///
    /// - Parameters:
    ///   - request: what to send.
    ///   - timeout: the limit for all of it; nil waits for good.
    /// - Returns: the answer, whatever its status.
    /// - Throws: `HTTPFailure` when there is none.
    package static func send(_ request: HTTPRequest, timeout: Duration?) async throws(HTTPFailure) -> HTTPAnswer {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: HTTPAnswer.self)
        let limit = timeout.map { TimeAmount($0) }
        do {
            let channel = try await Self.connect(request.target, limit: limit, on: loop) { channel in
                try request.prepare?(channel)
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                try channel.pipeline.syncOperations.addHandler(HTTPAnswerHandler(promise: promise))
            }
            let deadline = limit.map { limit in
                loop.scheduleTask(in: limit) {
                    promise.fail(HTTPFailure("no answer within \(limit.seconds.shortWords) s"))
                    channel.close(promise: nil)
                }
            }
            Self.write(request, to: channel)
            let answer = try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
            deadline?.cancel()
            return answer
        } catch {
            // A connection that was never made leaves the promise; failing it twice has no effect.
            promise.fail(error)
            throw Self.failure(from: error)
        }
    }

    /// Sends a request and hands over the body as it comes, until it ends.
    ///
    /// - Parameters:
    ///   - request: what to send.
    ///   - pause: the longest time without any piece; nil waits for good.
    ///   - body: called with each piece of a 2xx answer; what it throws closes the connection.
    /// - Returns: the answer; its body is empty when the status is 2xx.
    /// - Throws: `HTTPFailure` when there is none, or what `body` throws.
    package static func stream(
        _ request: HTTPRequest,
        pause: Duration? = nil,
        body: (ByteBuffer) async throws -> Void
    ) async throws -> HTTPAnswer {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let (pieces, continuation) = AsyncThrowingStream.makeStream(of: HTTPClientResponsePart.self)
        let channel: any Channel
        do {
            channel = try await Self.connect(request.target, limit: .seconds(10), on: loop) { channel in
                try request.prepare?(channel)
                if let pause {
                    try channel.pipeline.syncOperations.addHandler(IdleStateHandler(readTimeout: TimeAmount(pause)))
                }
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                try channel.pipeline.syncOperations.addHandler(
                    HTTPStreamHandler(continuation: continuation, pause: pause)
                )
            }
        } catch {
            throw Self.failure(from: error)
        }
        defer { channel.close(promise: nil) }
        Self.write(request, to: channel)
        var answer = HTTPAnswer(status: 0, body: ByteBuffer())
        for try await piece in pieces {
            switch piece {
            case .head(let head): answer.status = Int(head.status.code)
            case .body(let buffer) where answer.isSuccess: try await body(buffer)
            case .body(var buffer): answer.body.writeBuffer(&buffer)
            case .end: return answer
            }
        }
        throw HTTPFailure("the connection was closed before the answer was complete")
    }

    private static func connect(
        _ target: HTTPTarget,
        limit: TimeAmount?,
        on loop: any EventLoop,
        configure: @escaping @Sendable (any Channel) throws -> Void
    ) async throws -> any Channel {
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(limit ?? .seconds(10))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try configure(channel) }
            }
        switch target {
        case .unix(let path):
            return try await ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try configure(channel) }
                }
                .connect(unixDomainSocketPath: path).get()
        case .tcp(let host, let port):
            // A numeric address needs no resolver, and no second try with another family.
            if let address = try? SocketAddress(ipAddress: host, port: port) {
                return try await bootstrap.connect(to: address).get()
            }
            return try await bootstrap.connect(host: host, port: port).get()
        }
    }

    private static func write(_ request: HTTPRequest, to channel: any Channel) {
        var headers = HTTPHeaders()
        switch request.target {
        case .tcp(let host, let port):
            headers.add(name: "host", value: host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)")
        case .unix: headers.add(name: "host", value: "localhost")
        }
        headers.add(name: "user-agent", value: "dynamo-launch")
        headers.add(name: "connection", value: "close")
        if let body = request.body {
            headers.add(name: "content-type", value: "application/json")
            headers.add(name: "content-length", value: "\(body.count)")
        }
        let head = HTTPRequestHead(
            version: .http1_1,
            method: HTTPMethod(rawValue: request.method),
            uri: request.path,
            headers: headers
        )
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        if let body = request.body {
            channel.write(HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil)
        }
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
    }

    /// An error of the network in words.
    package static func failure(from error: any Error) -> HTTPFailure {
        switch error {
        case let failure as HTTPFailure:
            return failure
        case let error as IOError:
            return HTTPFailure(
                errorText(error.errnoCode).lowercasedFirst,
                isRefused: error.errnoCode == 111 || error.errnoCode == 2
            )
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return Self.failure(from: first.error) }
            return HTTPFailure("cannot resolve \(error.host)")
        case HTTPParserError.invalidEOFState:
            return HTTPFailure("the connection was closed before the answer was complete")
        case is CancellationError:
            return HTTPFailure("cancelled")
        case let error as ChannelError:
            if case .connectTimeout(let limit) = error {
                return HTTPFailure("no connection within \(limit.seconds.shortWords) s")
            }
            return HTTPFailure("the connection was closed")
        default:
            return HTTPFailure("\(error)")
        }
    }
}

extension TimeAmount {
    fileprivate var seconds: Double { Double(self.nanoseconds) / 1e9 }
}

extension String {
    fileprivate var lowercasedFirst: String { self.prefix(1).lowercased() + self.dropFirst() }
}

/// Collects one answer.
private final class HTTPAnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let promise: EventLoopPromise<HTTPAnswer>
    private var answer = HTTPAnswer(status: 0, body: ByteBuffer())

    init(promise: EventLoopPromise<HTTPAnswer>) {
        self.promise = promise
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.answer.status = Int(head.status.code)
        case .body(var buffer):
            if self.answer.body.readableBytes < HTTPClient.bodyLimit { self.answer.body.writeBuffer(&buffer) }
        case .end:
            self.promise.succeed(self.answer)
            context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.promise.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.promise.fail(HTTPFailure("the connection was closed without an answer"))
        context.fireChannelInactive()
    }
}

/// Hands every part of an answer on.
private final class HTTPStreamHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let continuation: AsyncThrowingStream<HTTPClientResponsePart, any Error>.Continuation

    /// Seconds in words.
    private let pause: String

    init(continuation: AsyncThrowingStream<HTTPClientResponsePart, any Error>.Continuation, pause: Duration?) {
        self.continuation = continuation
        self.pause = pause.map(\.inSeconds.shortWords) ?? ""
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.continuation.yield(self.unwrapInboundIn(data))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? IdleStateHandler.IdleStateEvent, event == .read else {
            return context.fireUserInboundEventTriggered(event)
        }
        self.continuation.finish(throwing: HTTPFailure("nothing came for \(self.pause) s"))
        context.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.continuation.finish(throwing: HTTPClient.failure(from: error))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.continuation.finish()
        context.fireChannelInactive()
    }
}
