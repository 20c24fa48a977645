import NIOCore
import NIOPosix
import Synchronization

/// A proxy in front of a server that answers HTTP/2 as an old HTTP/1 server does, and passes everything else on.
final class HTTP1Front: Sendable {
    private let portValue = Atomic(0)
    private let refusedCount = Atomic(0)

    var port: Int { self.portValue.load(ordering: .relaxed) }

    /// How many connections began in HTTP/2.
    var refused: Int { self.refusedCount.load(ordering: .relaxed) }

    /// Runs a front for the duration of the body.
    static func run<Result>(to port: Int, _ body: (HTTP1Front) async throws -> Result) async throws -> Result {
        let front = HTTP1Front()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Inlet(front, port))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        front.portValue.store(channel.localAddress?.port ?? 0, ordering: .relaxed)
        do {
            let result = try await body(front)
            try await channel.close()
            return result
        } catch {
            try? await channel.close()
            throw error
        }
    }

    private final class Inlet: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let front: HTTP1Front
        private let port: Int
        private var held: [ByteBuffer] = []
        private var outlet: (any Channel)?
        private var isFirst = true

        init(_ front: HTTP1Front, _ port: Int) {
            self.front = front
            self.port = port
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = self.unwrapInboundIn(data)
            if self.isFirst {
                self.isFirst = false
                if bytes.getString(at: bytes.readerIndex, length: 3) == "PRI" {
                    self.front.refusedCount.add(1, ordering: .relaxed)
                    let answer =
                        "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(string: answer)), promise: nil)
                    context.close(promise: nil)
                    return
                }
                self.connect(context)
            }
            if let outlet = self.outlet { outlet.writeAndFlush(bytes, promise: nil) } else { self.held.append(bytes) }
        }

        func channelInactive(context: ChannelHandlerContext) { self.outlet?.close(promise: nil) }

        private func connect(_ context: ChannelHandlerContext) {
            let inlet = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            let channel = context.channel
            ClientBootstrap(group: context.eventLoop)
                .channelInitializer { outlet in
                    outlet.eventLoop.makeCompletedFuture {
                        try outlet.pipeline.syncOperations.addHandler(Outlet(channel))
                    }
                }
                .connect(host: "127.0.0.1", port: self.port)
                .hop(to: context.eventLoop)
                .whenComplete { result in
                    let (inlet, context) = inlet.value
                    guard case .success(let outlet) = result else { return context.close(promise: nil) }
                    inlet.outlet = outlet
                    for bytes in inlet.held { outlet.writeAndFlush(bytes, promise: nil) }
                    inlet.held = []
                }
        }
    }

    private final class Outlet: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let inlet: any Channel

        init(_ inlet: any Channel) { self.inlet = inlet }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.inlet.writeAndFlush(self.unwrapInboundIn(data), promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { self.inlet.close(promise: nil) }
    }
}
