import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A frontend that answers as a test says, and remembers what it was asked.
final class ScriptedFrontend: Sendable {
    struct Asked: Sendable, Hashable {
        var method: String
        var path: String
        var body: String

        var isStreamed: Bool { self.body.contains("\"stream\":true") }
    }

    /// What to do with a request.
    enum Answer: Sendable {
        case whole(status: Int, body: String)
        /// The pieces of a body, one after another, and whether it is ended properly.
        case pieces([String], ends: Bool)
        /// Pieces again and again until the client leaves.
        case endless(String)
        case silence
    }

    private struct State {
        var asked: [Asked] = []
        var left = 0
    }

    private let state = Mutex(State())
    let port: Int
    private let listener: any Channel

    init(_ respond: @escaping @Sendable (Asked, Int) -> Answer) async throws {
        let box = Box()
        self.listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withPipeliningAssistance: false)
                    try channel.pipeline.syncOperations.addHandler(Handler(box: box, respond: respond))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        self.port = self.listener.localAddress?.port ?? 0
        box.frontend.withLock { $0 = self }
    }

    var url: String { "http://127.0.0.1:\(self.port)" }
    var asked: [Asked] { self.state.withLock { $0.asked } }
    /// Clients that left in the middle of an answer.
    var left: Int { self.state.withLock { $0.left } }

    func close() async { try? await self.listener.close() }

    private final class Box: Sendable {
        let frontend = Mutex<ScriptedFrontend?>(nil)
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let box: Box
        private let respond: @Sendable (Asked, Int) -> Answer
        private var asked = Asked(method: "", path: "", body: "")
        private var isAnswering = false

        init(box: Box, respond: @escaping @Sendable (Asked, Int) -> Answer) {
            self.box = box
            self.respond = respond
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch self.unwrapInboundIn(data) {
            case .head(let head): self.asked = Asked(method: head.method.rawValue, path: head.uri, body: "")
            case .body(let buffer): self.asked.body += String(buffer: buffer)
            case .end: self.answer(context)
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            if self.isAnswering { self.box.frontend.withLock { $0 }?.state.withLock { $0.left += 1 } }
        }

        private func answer(_ context: ChannelHandlerContext) {
            let asked = self.asked
            let number = self.box.frontend.withLock { $0 }?.state.withLock { state in
                state.asked.append(asked)
                return state.asked.count { $0 == asked }
            }
            switch self.respond(asked, number ?? 0) {
            case .silence:
                self.isAnswering = true
            case .whole(let status, let body):
                self.head(context, status, length: body.utf8.count)
                self.piece(context, body)
                self.end(context)
            case .pieces(let pieces, let ends):
                self.head(context, 200, length: nil)
                for piece in pieces { self.piece(context, piece) }
                if ends { self.end(context) } else { context.close(promise: nil) }
            case .endless(let piece):
                self.isAnswering = true
                self.head(context, 200, length: nil)
                self.again(context, piece)
            }
        }

        private func again(_ context: ChannelHandlerContext, _ piece: String) {
            guard context.channel.isActive else { return }
            self.piece(context, piece)
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: .milliseconds(1)) { bound.value.0.again(bound.value.1, piece) }
        }

        private func head(_ context: ChannelHandlerContext, _ status: Int, length: Int?) {
            var headers = HTTPHeaders()
            if let length {
                headers.add(name: "content-length", value: "\(length)")
            } else {
                headers.add(name: "transfer-encoding", value: "chunked")
            }
            let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: headers)
            context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        }

        private func piece(_ context: ChannelHandlerContext, _ text: String) {
            let buffer = context.channel.allocator.buffer(string: text)
            context.writeAndFlush(self.wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        }

        private func end(_ context: ChannelHandlerContext) {
            context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        }
    }
}
