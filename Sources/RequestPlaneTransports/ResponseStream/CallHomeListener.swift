import Logging
import NIOCore
import NIOPosix
import RequestPlane
import Synchronization

/// The port that workers call home to: one for all requests of the process.
final class CallHomeListener: Sendable {
    /// The requests that wait for their worker.
    let pending: PendingResponses

    private let configuration: ResponseStreamConfiguration
    private let group: any EventLoopGroup
    private let logger: Logger
    private let connections = ChannelSet()
    private let listener = Mutex<EventLoopFuture<any Channel>?>(nil)
    private let address = Mutex<String?>(nil)

    init(configuration: ResponseStreamConfiguration, group: any EventLoopGroup, logger: Logger) {
        self.configuration = configuration
        self.group = group
        self.logger = logger
        self.pending = PendingResponses(timeout: configuration.callHomeTimeout, eventLoop: group.any())
    }

    /// Listens, once, and returns the address to announce to workers.
    ///
    /// - Returns: `IP:PORT`.
    /// - Throws: `RequestPlaneError` when the port cannot be had.
    func start() async throws(RequestPlaneError) -> String {
        if let address = self.address.withLock({ $0 }) { return address }
        let host = try self.host()
        let future = self.listener.withLock { listener in
            if let listener { return listener }
            let future = self.bind(host)
            listener = future
            return future
        }
        do {
            let channel = try await future.get()
            guard let port = channel.localAddress?.port else { throw ChannelError.inappropriateOperationForState }
            let address = HostPort(host: host, port: port).description
            self.address.withLock { $0 = address }
            return address
        } catch {
            self.listener.withLock { $0 = nil }
            throw RequestPlaneError(
                .invalidConfiguration,
                "cannot listen on \(host), port \(self.configuration.port), for workers to call home; "
                    + "check DYN_TCP_RESPONSE_STREAM_HOST and DYN_TCP_RESPONSE_STREAM_PORT",
                cause: error
            )
        }
    }

    /// Stops listening and closes every response stream.
    func close() async {
        self.pending.fail(PlaneFailure(.unavailable, "this process is shutting down"))
        if let listener = try? await self.listener.withLock({ $0 })?.get() { try? await listener.close() }
        await self.connections.closeAll()
    }

    private func host() throws(RequestPlaneError) -> String {
        if let name = self.configuration.interface { return try LocalAddress.ofInterface(name) }
        switch self.configuration.host {
        case nil, "0.0.0.0", "::": return LocalAddress.firstRoutable()
        case let host?: return host
        }
    }

    private func bind(_ host: String) -> EventLoopFuture<any Channel> {
        ServerBootstrap(group: self.group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                self.connections.insert(channel)
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ResponseStreamHandler(
                            ResponseStreamReceiver(maximumItemSize: self.configuration.maximumItemSize),
                            pending: self.pending,
                            handshakeTimeout: TimeAmount(self.configuration.handshakeTimeout),
                            logger: self.logger
                        )
                    )
                }
            }
            .bind(host: host, port: self.configuration.port)
    }
}
