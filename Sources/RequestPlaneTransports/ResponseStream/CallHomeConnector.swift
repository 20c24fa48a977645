import NIOCore
import NIOPosix
import RequestPlane
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Connects workers to callers.
struct CallHomeConnector: Sendable {
    /// The event loops.
    var group: any EventLoopGroup
    /// How long one attempt to connect may take.
    var timeout: Duration
    /// TLS, if it is configured.
    var security: ConnectionSecurity

    /// Connects to the caller and introduces itself.
    ///
    /// - Parameter address: where the caller listens, and which request this is.
    /// - Returns: the connection, its handshake written.
    /// - Throws: `RequestPlaneError` when the caller cannot be reached.
    func connect(to address: CallHomeAddress) async throws(RequestPlaneError) -> CallHome {
        guard let target = HostPort(address.address) else {
            throw RequestPlaneError(.connectFailed, "call-home address '\(address.address)' is not host:port")
        }
        do {
            let channel = try await self.open(target)
            let handshake = Handshake(subject: address.subject).encoded
            let (callHome, secured) = try await channel.eventLoop.submit {
                let handler = try channel.pipeline.syncOperations.handler(type: CallHomeHandler.self)
                channel.writeAndFlush(handshake, promise: nil)
                return (handler.callHome, handler.secured)
            }.get()
            try await secured?.get()
            return callHome
        } catch {
            throw RequestPlaneError(.connectFailed, "cannot call home to \(target)", cause: error)
        }
    }

    /// Opens a connection, at the second attempt if the first one found no place in the caller's backlog.
    private func open(_ target: HostPort) async throws -> any Channel {
        do { return try await self.attempt(target) } catch {
            guard Self.isFullBacklog(error), !Task.isCancelled else { throw error }
            return try await self.attempt(target)
        }
    }

    private func attempt(_ target: HostPort) async throws -> any Channel {
        let attempt = Attempt()
        let bootstrap = ClientBootstrap(group: self.group)
            .connectTimeout(TimeAmount(self.timeout))
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connectionOptions(.responseStream)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try attempt.uses(channel)
                    let secured = try self.security.secureOpened(channel, host: target.host)
                    let handler = CallHomeHandler(CallHome(channel: channel), secured: secured)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
        return try await withTaskCancellationHandler {
            if let address = try? SocketAddress(ipAddress: target.host, port: target.port) {
                return try await bootstrap.connect(to: address).get()
            }
            return try await bootstrap.connect(host: target.host, port: target.port).get()
        } onCancel: {
            attempt.cancel()
        }
    }

    /// Whether a failed attempt looks like a caller that is there but has more connections waiting than it accepts.
    ///
    /// Linux drops what finds no place, or resets it with `tcp_abort_on_overflow`. A refused connection is another matter: nobody
    /// listens, and a second attempt would find the same.
    static func isFullBacklog(_ error: any Error) -> Bool {
        switch error {
        case ChannelError.connectTimeout: true
        case let error as IOError: error.errnoCode == ETIMEDOUT || error.errnoCode == ECONNRESET
        case let error as NIOConnectionError: error.connectionErrors.contains { self.isFullBacklog($0.error) }
        default: false
        }
    }
}

/// The channels of an attempt to connect, which a cancelled request does not wait for.
private final class Attempt: Sendable {
    private let state = Mutex((channels: [any Channel](), isCancelled: false))

    func uses(_ channel: any Channel) throws {
        let isCancelled = self.state.withLock { state in
            state.channels.append(channel)
            return state.isCancelled
        }
        if isCancelled { throw CancellationError() }
    }

    func cancel() {
        let channels = self.state.withLock { state in
            state.isCancelled = true
            return state.channels
        }
        for channel in channels { channel.close(promise: nil) }
    }
}

/// Feeds a `CallHome` with what happens on its channel.
private final class CallHomeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    let callHome: CallHome
    /// The TLS handshake, if there is one.
    let secured: EventLoopFuture<Void>?

    init(_ callHome: CallHome, secured: EventLoopFuture<Void>?) {
        self.callHome = callHome
        self.secured = secured
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.callHome.received(self.unwrapInboundIn(data))
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.callHome.writabilityChanged(context.channel.isWritable)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { self.callHome.inputClosed() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.callHome.connectionClosed("\(error)")
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.callHome.connectionClosed("the connection was closed")
        context.fireChannelInactive()
    }
}
