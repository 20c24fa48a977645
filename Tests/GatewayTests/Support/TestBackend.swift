import Gateway
import NIOCore
import NIOPosix
import Synchronization

/// A backend that answers as a test says, and remembers what it saw.
final class TestBackend: Sendable {
    /// What to do with a request.
    struct Answer: Sendable {
        /// Written one after the other.
        var parts: [String] = []
        /// Between two parts.
        var pause = TimeAmount.zero
        /// Before each part after the first, instead of ``pause``.
        var pauses: [TimeAmount] = []
        /// After the last part.
        var closes = false
        /// Waits before the first part.
        var delay = TimeAmount.zero
        /// Everything later is sent back as it comes.
        var echoes = false

        static func text(_ body: String, _ fields: String = "") -> Answer {
            Answer(parts: ["HTTP/1.1 200 OK\r\ncontent-length: \(body.utf8.count)\r\n\(fields)\r\n\(body)"])
        }
    }

    /// A request as it came.
    struct Seen: Sendable {
        var head: String
        var body: String
        var line: String { String(self.head.prefix { $0 != "\r\n" }) }
        func has(_ field: String) -> Bool { self.head.contains("\r\n\(field)\r\n") }
    }

    private struct State {
        var seen: [Seen] = []
        var open = 0
        var accepted = 0
        var channels: [ObjectIdentifier: any Channel] = [:]
        var isStopping = false
        var bytes = 0
    }

    fileprivate let respond: @Sendable (Seen) -> Answer
    private let state = Mutex(State())
    private let listener: Mutex<(any Channel)?> = Mutex(nil)
    let id: String
    let generation: Int
    let port: Int

    init(
        id: String = "frontend-0",
        generation: Int = 1,
        port: Int = 0,
        _ respond: @escaping @Sendable (Seen) -> Answer
    ) async throws {
        self.id = id
        self.generation = generation
        self.respond = respond
        let owner = Owner()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(BackendHandler(owner))
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        self.port = channel.localAddress?.port ?? 0
        self.listener.withLock { $0 = channel }
        owner.backend.withLock { $0 = self }
    }

    final class Owner: Sendable {
        let backend = Mutex<TestBackend?>(nil)
    }

    var backend: Backend { Backend(id: self.id, generation: self.generation, host: "127.0.0.1", port: self.port) }
    var seen: [Seen] { self.state.withLock { $0.seen } }
    var openConnections: Int { self.state.withLock { $0.open } }
    var acceptedConnections: Int { self.state.withLock { $0.accepted } }
    var receivedBytes: Int { self.state.withLock { $0.bytes } }
    var isStopping: Bool { self.state.withLock { $0.isStopping } }

    /// Stops as a careful server does: no new connections, running requests are answered, idle connections are closed.
    func stop() async {
        let listener = self.listener.withLock { $0 }
        try? await listener?.close()
        let channels = self.state.withLock { state in
            state.isStopping = true
            return Array(state.channels.values)
        }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
        for channel in channels { try? await channel.closeFuture.get() }
    }

    /// Breaks every connection, as the death of the process does.
    func kill() async {
        let listener = self.listener.withLock { $0 }
        try? await listener?.close()
        for channel in self.state.withLock({ Array($0.channels.values) }) { try? await channel.close() }
    }

    fileprivate func opened(_ channel: any Channel) {
        self.state.withLock { state in
            state.open += 1
            state.accepted += 1
            state.channels[ObjectIdentifier(channel)] = channel
        }
    }

    fileprivate func closed(_ channel: any Channel) {
        self.state.withLock { state in
            state.open -= 1
            state.channels[ObjectIdentifier(channel)] = nil
        }
    }

    fileprivate func saw(_ request: Seen) { self.state.withLock { $0.seen.append(request) } }
    fileprivate func received(_ count: Int) { self.state.withLock { $0.bytes += count } }
}

private final class BackendHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let owner: TestBackend.Owner
    private var reader = RequestReader(headLimit: 1 << 20, targetLimit: 1 << 20, bodyLimit: 1 << 30)
    private var head: RequestHead?
    private var body = ""
    private var isBusy = false
    private var echoes = false

    init(_ owner: TestBackend.Owner) { self.owner = owner }

    private var backend: TestBackend? { self.owner.backend.withLock { $0 } }

    func channelActive(context: ChannelHandlerContext) { self.backend?.opened(context.channel) }
    func channelInactive(context: ChannelHandlerContext) { self.backend?.closed(context.channel) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent, !self.isBusy, self.head == nil { context.close(promise: nil) }
        if let event = event as? ChannelEvent, event == .inputClosed { context.close(mode: .all, promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        self.backend?.received(bytes.readableBytes)
        if self.echoes { return context.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil) }
        self.reader.append(bytes)
        self.read(context)
    }

    private func read(_ context: ChannelHandlerContext) {
        while !self.isBusy, let event = try? self.reader.next() {
            switch event {
            case .head(let head):
                self.head = head
                self.body = ""
                if head.expectsContinue {
                    context.writeAndFlush(
                        self.wrapOutboundOut(ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")),
                        promise: nil
                    )
                }
            case .body(let bytes): self.body += String(buffer: bytes)
            case .end: self.answer(context)
            }
        }
    }

    private func answer(_ context: ChannelHandlerContext) {
        guard let head = self.head, let backend = self.backend else { return }
        let seen = TestBackend.Seen(head: head.text, body: self.body)
        backend.saw(seen)
        let answer = backend.respond(seen)
        self.isBusy = true
        self.head = nil
        self.echoes = answer.echoes
        self.write(answer.parts[...], answer, context, after: answer.delay)
    }

    private func write(
        _ parts: ArraySlice<String>,
        _ answer: TestBackend.Answer,
        _ context: ChannelHandlerContext,
        after pause: TimeAmount
    ) {
        if pause > .zero {
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: pause) {
                let (handler, context) = bound.value
                handler.write(parts, answer, context, after: .zero)
            }
            return
        }
        guard let first = parts.first else {
            self.isBusy = false
            if answer.closes || self.backend?.isStopping ?? true {
                context.close(promise: nil)
            } else {
                self.read(context)
            }
            return
        }
        context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(string: first)), promise: nil)
        let pause = answer.pauses.isEmpty ? answer.pause : answer.pauses[min(parts.startIndex, answer.pauses.count - 1)]
        self.write(parts.dropFirst(), answer, context, after: parts.count > 1 ? pause : .zero)
    }
}
