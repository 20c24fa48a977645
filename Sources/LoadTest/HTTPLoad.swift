import NIOCore
import NIOHTTP1
import NIOPosix
import RequestPlane
import Synchronization

/// Drives an OpenAI-compatible server over kept-alive HTTP/1.1 connections, one request at a time on each.
package struct HTTPLoad: LoadTarget {
    private let host: String
    private let port: Int
    private let model: String
    private let group: any EventLoopGroup

    /// Names a server.
    ///
    /// - Parameters:
    ///   - host: where it listens.
    ///   - port: where it listens.
    ///   - model: whom to ask.
    package init(host: String, port: Int, model: String) {
        self.host = host
        self.port = port
        self.model = model
        self.group = MultiThreadedEventLoopGroup.singleton
    }

    package func run(_ shape: LoadShape) async -> LoadResult {
        let request = self.request(shape)
        let budget = LoadBudget(shape.extent)
        return await withTaskGroup(of: LoadResult.self) { group in
            for _ in 0..<shape.concurrency {
                group.addTask { await self.connection(request, budget, isStreamed: shape.isStreamed) }
            }
            var total = LoadResult()
            for await result in group { total.add(result) }
            return total
        }
    }

    /// Keeps one request in flight until the budget is used up, over as many connections as the server needs.
    private func connection(_ request: Request, _ budget: LoadBudget, isStreamed: Bool) async -> LoadResult {
        let recorder = LoadRecorder()
        while !Task.isCancelled, recorder.hasPatience {
            do {
                let channel = try await ClientBootstrap(group: self.group)
                    .connectTimeout(.seconds(10))
                    .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try channel.pipeline.syncOperations.addHTTPClientHandlers()
                            try channel.pipeline.syncOperations.addHandler(
                                HTTPLoadHandler(request, budget, recorder, isStreamed: isStreamed)
                            )
                        }
                    }
                    .connect(host: self.host, port: self.port).get()
                try await withTaskCancellationHandler {
                    try await channel.closeFuture.get()
                } onCancel: {
                    channel.close(promise: nil)
                }
            } catch {
                recorder.record { $0.fail("cannot connect to \(self.host):\(self.port): \(error)") }
            }
        }
        return recorder.result
    }

    struct Request: Sendable {
        var head: HTTPRequestHead
        var body: ByteBuffer
    }

    private func request(_ shape: LoadShape) -> Request {
        let stream = shape.isStreamed ? #","stream":true,"stream_options":{"include_usage":true}"# : ""
        var body = ByteBuffer(string: #"{"model":"#)
        body.writeJSONString(self.model)
        body.writeString(
            #","messages":[{"role":"user","content":"\#(shape.prompt)"}],"max_tokens":\#(shape.tokens)\#(stream)}"#
        )
        var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/v1/chat/completions")
        head.headers.add(name: "host", value: "\(self.host):\(self.port)")
        head.headers.add(name: "content-type", value: "application/json")
        head.headers.add(name: "content-length", value: String(body.readableBytes))
        return Request(head: head, body: body)
    }
}

/// Keeps what one connection, or several one after the other, have measured.
final class LoadRecorder: Sendable {
    private let state = Mutex((result: LoadResult(), isOver: false, failuresInARow: 0))

    /// A server that fails this often in a row is not asked again.
    private static let patience = 20

    var result: LoadResult { self.state.withLock { $0.result } }

    /// Whether another connection makes sense.
    var hasPatience: Bool { self.state.withLock { !$0.isOver && $0.failuresInARow < Self.patience } }

    func record(_ body: (inout LoadResult) -> Void) {
        self.state.withLock { state in
            let completed = state.result.completed
            body(&state.result)
            state.failuresInARow = state.result.completed > completed ? 0 : state.failuresInARow + 1
        }
    }

    /// The budget is used up.
    func finish() { self.state.withLock { $0.isOver = true } }
}

/// One connection: sends the next request as soon as the last answer has ended.
private final class HTTPLoadHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let request: HTTPLoad.Request
    private let budget: LoadBudget
    private let recorder: LoadRecorder
    private let isStreamed: Bool
    private var meter: AnswerMeter?
    private var sent: UInt64 = 0

    init(_ request: HTTPLoad.Request, _ budget: LoadBudget, _ recorder: LoadRecorder, isStreamed: Bool) {
        self.request = request
        self.budget = budget
        self.recorder = recorder
        self.isStreamed = isStreamed
    }

    func channelActive(context: ChannelHandlerContext) { self.sendNext(context) }

    private func sendNext(_ context: ChannelHandlerContext) {
        guard self.budget.take() else {
            self.recorder.finish()
            context.close(promise: nil)
            return
        }
        self.sent = NIODeadline.now().uptimeNanoseconds
        self.meter = AnswerMeter(isStreamed: self.isStreamed, sent: self.sent)
        context.write(self.wrapOutboundOut(.head(self.request.head)), promise: nil)
        context.write(self.wrapOutboundOut(.body(.byteBuffer(self.request.body))), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head): self.meter?.begin(status: Int(head.status.code))
        case .body(let bytes): self.meter?.receive(bytes, at: NIODeadline.now().uptimeNanoseconds)
        case .end:
            self.answerEnded()
            self.sendNext(context)
        }
    }

    private func answerEnded() {
        guard var meter = self.meter else { return }
        self.meter = nil
        let duration = NIODeadline.now().uptimeNanoseconds - self.sent
        let answer = meter.end()
        self.recorder.record { result in
            if let failure = answer.failure {
                result.fail(failure)
                return
            }
            result.completed += 1
            result.tokens += answer.tokens
            result.duration.record(duration)
            result.firstToken.record(meter.firstEvent ?? duration)
            for gap in meter.gaps { result.betweenTokens.record(gap) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.abandon("the connection failed: \(error)")
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.abandon("the server closed the connection before the answer had ended")
        context.fireChannelInactive()
    }

    private func abandon(_ reason: String) {
        guard self.meter != nil else { return }
        self.meter = nil
        self.recorder.record { $0.fail(reason) }
    }
}
