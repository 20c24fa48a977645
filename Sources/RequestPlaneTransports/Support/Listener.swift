import Logging
import NIOCore
import NIOPosix
import RequestPlane
import Synchronization

/// A listening port: bound when it is first asked for, once, and closed together with its connections.
final class Listener: Sendable {
    private let group: any EventLoopGroup
    private let liveness: Liveness
    private let security: ConnectionSecurity
    private let logger: Logger
    private let logLimit = LogLimit()
    private let remedy: String
    private let setUp: @Sendable (any Channel) throws -> Void
    private let onRefusal: @Sendable (String) -> Void
    private let connections = ChannelSet()
    private let state = Mutex(State())

    private struct State {
        var binding: EventLoopFuture<any Channel>?
        var isClosed = false
    }

    /// Creates a listener that does not listen yet.
    ///
    /// - Parameters:
    ///   - group: the event loops.
    ///   - liveness: how connections are watched.
    ///   - security: TLS, if it is configured.
    ///   - remedy: what to change when the port cannot be had, for the error.
    ///   - logger: for what cannot be told to a peer.
    ///   - onRefusal: told why a connection was refused before it reached the handlers.
    ///   - setUp: adds the handlers of an accepted connection, on its event loop.
    init(
        group: any EventLoopGroup,
        liveness: Liveness,
        security: ConnectionSecurity,
        remedy: String,
        logger: Logger,
        onRefusal: @escaping @Sendable (String) -> Void = { _ in },
        setUp: @escaping @Sendable (any Channel) throws -> Void
    ) {
        self.group = group
        self.liveness = liveness
        self.security = security
        self.remedy = remedy
        self.logger = logger
        self.onRefusal = onRefusal
        self.setUp = setUp
    }

    /// How many connections are open.
    var connectionCount: Int { self.connections.count }

    /// Listens; everybody who asks waits for the same attempt, and a failed one can be repeated.
    ///
    /// - Parameters:
    ///   - host: the IP literal to bind.
    ///   - port: 0 is assigned by the system.
    ///   - onClosed: called when the listening socket is closed, once.
    /// - Returns: the port.
    /// - Throws: `RequestPlaneError` when the port cannot be had, or the files for TLS cannot be used.
    func start(
        host: String,
        port: Int,
        onClosed: @escaping @Sendable () -> Void = {}
    ) async throws(RequestPlaneError) -> Int {
        _ = try self.security.server()
        let binding = self.state.withLock { state -> EventLoopFuture<any Channel>? in
            if state.isClosed { return nil }
            if let binding = state.binding { return binding }
            let binding = self.bind(host, port)
            binding.whenSuccess { $0.closeFuture.whenComplete { _ in onClosed() } }
            state.binding = binding
            return binding
        }
        guard let binding else { throw RequestPlaneError(.unavailable, "this process is shutting down") }
        do {
            let channel = try await binding.get()
            guard let port = channel.localAddress?.port else { throw ChannelError.inappropriateOperationForState }
            return port
        } catch {
            self.state.withLock { if $0.binding === binding { $0.binding = nil } }
            let address = HostPort(host: host, port: port)
            throw RequestPlaneError(
                .invalidConfiguration,
                "cannot listen on \(address) \(self.remedy)",
                cause: error
            )
        }
    }

    /// Asks every connection to end when its requests are answered; new ones may still come.
    func quiesce() { self.connections.quiesce() }

    /// Stops listening and closes every connection.
    func close() async {
        let binding = self.state.withLock { state in
            state.isClosed = true
            return state.binding
        }
        if let channel = try? await binding?.get() { try? await channel.close() }
        await self.connections.closeAll()
    }

    private func bind(_ host: String, _ port: Int) -> EventLoopFuture<any Channel> {
        ServerBootstrap(group: self.group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { [logger] channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPause(logger: logger))
                }
            }
            .connectionOptions(self.liveness)
            .childChannelInitializer { channel in
                self.connections.insert(channel)
                return channel.eventLoop.makeCompletedFuture {
                    let peer = channel.remoteAddress?.description ?? "unknown"
                    try self.security.secureAccepted(channel) { self.refused(peer, $0) }
                    try self.setUp(channel)
                }
            }
            .bind(host: host, port: port)
    }

    private func refused(_ peer: String, _ reason: String) {
        if self.logLimit.allows() {
            self.logger.warning("a TLS connection failed", metadata: ["peer": "\(peer)", "reason": "\(reason)"])
        }
        self.onRefusal(reason)
    }
}
