import NIOCore
import NIOPosix

/// A server of a few words: it greets each connection with the next nonce, and lets everybody in.
struct ScriptedServer: Sendable {
    let port: Int
    /// What the clients sent: one text for each connection that has logged in.
    let logins: Recorder<String>

    /// Runs the server for as long as the body runs.
    static func run(nonces: [String], _ body: (ScriptedServer) async throws -> Void) async throws {
        let (logins, greeted) = (Recorder<String>(), Recorder<String>())
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let nonce = nonces[min(greeted.values.count, nonces.count - 1)]
                    greeted.append(nonce)
                    try channel.pipeline.syncOperations.addHandler(Login(nonce: nonce, logins))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let result: Result<Void, any Error>
        do {
            let port = channel.localAddress?.port ?? 0
            result = .success(try await body(ScriptedServer(port: port, logins: logins)))
        } catch { result = .failure(error) }
        try await channel.close()
        try result.get()
    }

    private final class Login: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let nonce: String
        private let logins: Recorder<String>
        private var received = ""

        init(nonce: String, _ logins: Recorder<String>) { (self.nonce, self.logins) = (nonce, logins) }

        func channelActive(context: ChannelHandlerContext) {
            let facts =
                #"{"server_id":"S","version":"2.10.0","proto":1,"headers":true,"max_payload":1024,"auth_required":true,"#
            self.send(#"INFO \#(facts)"nonce":"\#(self.nonce)"} "#, context)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.received += String(buffer: self.unwrapInboundIn(data))
            guard self.received.hasSuffix("PING\r\n") else { return }
            self.logins.append(self.received)
            self.received = ""
            self.send("PONG", context)
        }

        private func send(_ line: String, _ context: ChannelHandlerContext) {
            context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(string: line + "\r\n")), promise: nil)
        }
    }
}
