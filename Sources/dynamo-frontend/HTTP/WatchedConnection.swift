import HummingbirdCore
import Logging
import NIOCore

/// An HTTP/1.1 connection whose work is cancelled as soon as the client goes away.
///
/// Hummingbird notices that by itself only when it writes; a generation that is still silent must end too.
struct WatchedConnection: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        fileprivate let http: HTTP1Channel.Value
        fileprivate let closed: AsyncStream<Void>

        var channel: any Channel { self.http.channel }
    }

    private let http: HTTP1Channel

    init(responder: @escaping HTTPChannelHandler.Responder) { self.http = HTTP1Channel(responder: responder) }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let (closed, continuation) = AsyncStream.makeStream(of: Void.self)
        do { try channel.pipeline.syncOperations.addHandler(DisconnectHandler(continuation)) } catch {
            return channel.eventLoop.makeFailedFuture(error)
        }
        return self.http.setup(channel: channel, logger: logger).map { Value(http: $0, closed: closed) }
    }

    func handle(value: Value, logger: Logger) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.http.handle(value: value.http, logger: logger) }
            group.addTask { for await _ in value.closed {} }
            await group.next()
            group.cancelAll()
        }
    }
}

/// Tells when the client has closed its side.
private final class DisconnectHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let closed: AsyncStream<Void>.Continuation

    init(_ closed: AsyncStream<Void>.Continuation) { self.closed = closed }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event as? ChannelEvent == .inputClosed { self.closed.finish() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.closed.finish()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.closed.finish() }
}
