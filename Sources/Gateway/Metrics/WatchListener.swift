import NIOCore
import NIOPosix
import Synchronization

/// A port where programs that watch the launcher ask for its pages.
package final class WatchListener: Sendable {
    private let listener: GatewayListener
    private let channel: Mutex<(any Channel)?> = Mutex(nil)
    private let questions: AsyncStream<WatchQuestion>
    private let ask: AsyncStream<WatchQuestion>.Continuation

    /// Creates a listener that does not listen yet.
    ///
    /// - Parameters:
    ///   - host: an address of this machine.
    ///   - port: 0 is assigned by the system.
    package init(host: String, port: Int) {
        self.listener = .tcp(host: host, port: port)
        (self.questions, self.ask) = AsyncStream.makeStream(
            of: WatchQuestion.self,
            bufferingPolicy: .bufferingOldest(64)
        )
    }

    /// Opens the port; questions wait until ``run(_:)``.
    ///
    /// - Throws: `GatewayError` when it cannot be had.
    package func bind() async throws(GatewayError) {
        guard case .tcp(let host, let port, _) = self.listener else { return }
        let ask = self.ask
        do {
            let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(WatchConnection(ask))
                    }
                }
                .bind(host: host, port: port).get()
            self.channel.withLock { $0 = channel }
        } catch { throw self.listener.error(error) }
    }

    /// The port it listens on.
    package var port: Int? { self.channel.withLock { $0?.localAddress?.port } }

    /// Answers until the task is cancelled.
    ///
    /// - Parameter answer: makes the page; nil when there is nothing to say any more.
    package func run(_ answer: @Sendable (WatchPage) async -> WatchAnswer?) async {
        for await question in self.questions { question.answer(await answer(question.page)) }
        self.ask.finish()
        try? await self.channel.withLock { $0 }?.close()
    }
}

/// Somebody who waits for a page; without an answer its connection is closed in time.
private struct WatchQuestion: Sendable {
    let page: WatchPage
    let answer: @Sendable (WatchAnswer?) -> Void
}

/// One connection: one question, one answer.
private final class WatchConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// How long a question and its answer may take.
    private static let limit = TimeAmount.seconds(10)

    private let ask: AsyncStream<WatchQuestion>.Continuation
    private var reader = RequestReader(headLimit: 16 << 10, targetLimit: 4096, bodyLimit: 4096)
    private var head: RequestHead?
    private var isAnswered = false
    private var timer: Scheduled<Void>?
    private var names = NameGenerator()

    init(_ ask: AsyncStream<WatchQuestion>.Continuation) { self.ask = ask }

    func channelActive(context: ChannelHandlerContext) {
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(in: Self.limit) { bound.value.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) { self.timer?.cancel() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isAnswered else { return }
        self.reader.append(self.unwrapInboundIn(data))
        do throws(Refusal) {
            while !self.isAnswered, let event = try self.reader.next() {
                switch event {
                case .head(let head): self.head = head
                case .body: break
                case .end: self.answer(context)
                }
            }
        } catch {
            self.refuse(error, context)
        }
    }

    private func answer(_ context: ChannelHandlerContext) {
        guard let head = self.head else { return }
        guard let page = WatchPage(rawValue: String(head.target.prefix { $0 != "?" })) else {
            let pages = WatchPage.allCases.map(\.rawValue).joined(separator: ", ")
            return self.refuse(Refusal(404, "not_found", "there is only \(pages) here"), context)
        }
        guard head.isHead || head.method == "GET" else {
            return self.refuse(Refusal(405, "method_not_allowed", "\(page.rawValue) can only be read"), context)
        }
        self.isAnswered = true
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let question = WatchQuestion(page: page) { answer in
            bound.eventLoop.execute {
                let (connection, context) = bound.value
                connection.answer(answer, context)
            }
        }
        if case .enqueued = self.ask.yield(question) { return }
        self.refuse(Self.ended, context)
    }

    private func answer(_ page: WatchAnswer?, _ context: ChannelHandlerContext) {
        guard let page else { return self.refuse(Self.ended, context) }
        var answer =
            "HTTP/1.1 \(page.status) \(page.status == 200 ? "OK" : "Service Unavailable")\r\n"
            + "content-type: \(page.contentType)\r\n"
            + "content-length: \(page.text.utf8.count)\r\nconnection: close\r\n\r\n"
        if !(self.head?.isHead ?? false) { answer += page.text }
        self.write(ByteBuffer(string: answer), context)
    }

    private static let ended = Refusal(503, "ended", "the deployment has ended, or too many ask", retryAfter: 5)

    private func refuse(_ refusal: Refusal, _ context: ChannelHandlerContext) {
        self.isAnswered = true
        let isHead = self.head?.isHead ?? false
        let answer = refusal.answer(requestID: self.names.uuid(), withBody: !isHead, connection: "close")
        self.write(answer, context)
    }

    private func write(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
        context.writeAndFlush(self.wrapOutboundOut(bytes), promise: promise)
    }
}
