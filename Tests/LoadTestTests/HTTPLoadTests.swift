import LoadTest
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Testing

/// Answers every request in the same way, and counts connections.
private final class FakeServer: Sendable {
    let connections = Atomic(0)
    private let channel: any Channel
    var port: Int { self.channel.localAddress?.port ?? 0 }

    private init(_ channel: any Channel) { self.channel = channel }

    /// Runs a server for as long as the body runs.
    static func run(
        answers: @escaping @Sendable (Int) -> (status: HTTPResponseStatus, body: String, close: Bool),
        _ body: (FakeServer, Counted) async throws -> Void
    ) async throws {
        let counted = Counted()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                _ = counted.connections.add(1, ordering: .relaxed)
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Handler(counted, answers))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        do { try await body(FakeServer(channel), counted) } catch {
            try? await channel.close()
            throw error
        }
        try await channel.close()
    }

    final class Counted: Sendable {
        let connections = Atomic(0)
        let requests = Atomic(0)
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart
        let counted: Counted
        let answers: @Sendable (Int) -> (status: HTTPResponseStatus, body: String, close: Bool)

        init(
            _ counted: Counted,
            _ answers: @escaping @Sendable (Int) -> (status: HTTPResponseStatus, body: String, close: Bool)
        ) {
            self.counted = counted
            self.answers = answers
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard case .end = self.unwrapInboundIn(data) else { return }
            let number = self.counted.requests.add(1, ordering: .relaxed).oldValue
            let (status, body, close) = self.answers(number)
            let head = HTTPResponseHead(
                version: .http1_1,
                status: status,
                headers: ["content-length": "\(body.utf8.count)"]
            )
            context.write(self.wrapOutboundOut(.head(head)), promise: nil)
            context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
            context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
            if close { context.close(promise: nil) }
        }
    }
}

@Suite("A load over HTTP") struct HTTPLoadTests {
    private func shape(_ requests: Int, concurrency: Int) -> LoadShape {
        LoadShape(
            concurrency: concurrency,
            extent: .requests(requests),
            tokens: 4,
            promptWords: 4,
            isStreamed: true
        )
    }

    private static let good = "data: {\"choices\":[]}\n\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n"

    @Test("exactly so many requests are sent, over so many connections") func counts() async throws {
        try await FakeServer.run(answers: { _ in (.ok, Self.good, false) }) { server, counted in
            let result = await HTTPLoad(host: "127.0.0.1", port: server.port, model: "m").run(
                self.shape(100, concurrency: 7)
            )
            #expect(result.completed == 100)
            #expect(result.failures.isEmpty)
            #expect(result.tokens == 200)
            #expect(result.duration.count == 100 && result.firstToken.count == 100)
            #expect(result.betweenTokens.count == 100)
            #expect(counted.requests.load(ordering: .relaxed) == 100)
            #expect(counted.connections.load(ordering: .relaxed) == 7)
        }
    }

    @Test("a server that closes after each answer gets new connections") func closing() async throws {
        try await FakeServer.run(answers: { _ in (.ok, Self.good, true) }) { server, counted in
            let result = await HTTPLoad(host: "127.0.0.1", port: server.port, model: "m").run(
                self.shape(10, concurrency: 1)
            )
            #expect(result.completed + result.failed == 10)
            // A connection gives one answer, and meets its end with at most one more request.
            #expect(result.completed >= 5)
            #expect(counted.connections.load(ordering: .relaxed) >= result.completed)
        }
    }

    @Test("failures are counted by reason, and a server that only fails is given up") func failures() async throws {
        try await FakeServer.run(answers: { _ in (.serviceUnavailable, "busy", false) }) { server, counted in
            let result = await HTTPLoad(host: "127.0.0.1", port: server.port, model: "m").run(
                self.shape(10, concurrency: 1)
            )
            #expect(result.completed == 0)
            #expect(result.failures == ["status 503: busy": 10])
        }
    }

    @Test("nobody listens: an end, and a reason") func refused() async {
        let result = await HTTPLoad(host: "127.0.0.1", port: 1, model: "m").run(self.shape(10, concurrency: 2))
        #expect(result.completed == 0)
        #expect(result.failures.keys.allSatisfy { $0.contains("cannot connect to 127.0.0.1:1") })
        #expect(result.failed > 0)
    }
}
