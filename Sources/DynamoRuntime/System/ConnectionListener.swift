import Glibc
package import Logging
package import NIOCore
import NIOPosix
import RequestPlaneTransports
import Synchronization

/// A listening TCP port whose connections are served as children of the task that runs it.
///
/// A connection that is accepted while the listener stops is closed: nobody serves it any more.
package struct ConnectionListener<Connection: Sendable>: Sendable {
    private let server: NIOAsyncChannel<Connection, Never>
    private let open = OpenChannels()

    /// The port that is listened on.
    package var port: Int { self.server.channel.localAddress?.port ?? 0 }

    /// Binds an address.
    ///
    /// - Parameters:
    ///   - host: the address or name of this machine.
    ///   - port: 0 lets the system choose.
    ///   - remedy: what to change when the address cannot be used, for the error.
    ///   - logger: hears when connections cannot be accepted.
    ///   - setUp: builds the pipeline of a new connection.
    /// - Throws: `ConfigurationError` when the address cannot be used.
    package init(
        host: String,
        port: Int,
        remedy: String,
        logger: Logger,
        setUp: @escaping @Sendable (any Channel) -> EventLoopFuture<Connection>
    ) async throws(ConfigurationError) {
        do {
            self.server = try await Self.bootstrap(backlog: 1024, logger)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .bind(host: host, port: port) { [open] in open.prepare($0, setUp) }
        } catch let error as IOError {
            throw ConfigurationError([
                "cannot listen on \(host):\(port): \(String(cString: strerror(error.errnoCode))); \(remedy)"
            ])
        } catch {
            throw ConfigurationError(["cannot listen on \(host):\(port): \(error); \(remedy)"])
        }
    }

    /// Listens on a socket that was passed to this process and listens already.
    ///
    /// - Parameters:
    ///   - descriptor: the socket; belongs to the listener from now on.
    ///   - logger: hears when connections cannot be accepted.
    ///   - setUp: builds the pipeline of a new connection.
    /// - Throws: `ConfigurationError` when the socket cannot be used.
    package init(
        descriptor: Int32,
        logger: Logger,
        setUp: @escaping @Sendable (any Channel) -> EventLoopFuture<Connection>
    ) async throws(ConfigurationError) {
        do {
            // Listening again sets the length of the queue, which whoever opened the socket has made long.
            self.server = try await Self.bootstrap(backlog: 4096, logger)
                .bind(descriptor) { [open] in open.prepare($0, setUp) }
        } catch {
            throw ConfigurationError(["cannot use the socket that was passed as descriptor \(descriptor): \(error)"])
        }
    }

    private static func bootstrap(backlog: Int32, _ logger: Logger) -> ServerBootstrap {
        ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPause(logger: logger))
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
    }

    /// Accepts no more connections; those that there are, are served on.
    ///
    /// A socket that was passed to this process stays open elsewhere, and connections wait there.
    package func stopAccepting() { self.server.channel.close(promise: nil) }

    /// Serves connections until cancelled, which closes all of them; what is not flushed then is lost.
    ///
    /// - Parameter serve: serves one connection to its end.
    /// - Throws: an error of the listening socket.
    package func run(_ serve: @escaping @Sendable (Connection) async -> Void) async throws {
        try await withTaskCancellationHandler {
            defer { self.open.closeAll() }
            try await self.server.executeThenClose { connections in
                try await withThrowingDiscardingTaskGroup { group in
                    for try await connection in connections {
                        group.addTask { await serve(connection) }
                    }
                }
            }
        } onCancel: {
            // Whoever serves a connection may be waiting for its end, and a client that reads nothing would put that off for good.
            self.open.closeAll()
        }
    }

    /// Waits until the system has taken all that was written to the connections, so that nothing of it is lost when they are closed.
    ///
    /// - Parameter limit: the longest wait; a client that does not read could make it endless.
    package func flush(within limit: Duration) async {
        let deadline = ContinuousClock.now + limit
        while await self.open.hasUnsentBytes, ContinuousClock.now < deadline {
            do { try await Task.sleep(for: .milliseconds(10)) } catch { return }
        }
    }
}

/// The channels of a listener, as long as they are open.
private final class OpenChannels: Sendable {
    private let channels: Mutex<[ObjectIdentifier: any Channel]?> = Mutex([:])

    /// Takes note of a new channel, unless the listener has stopped.
    func insert(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let isOpen = self.channels.withLock { channels in
            channels?[id] = channel
            return channels != nil
        }
        channel.closeFuture.whenComplete { _ in self.channels.withLock { _ = $0?.removeValue(forKey: id) } }
        return isOpen
    }

    /// Sets a new connection up, unless the listener has stopped.
    func prepare<Connection: Sendable>(
        _ channel: any Channel,
        _ setUp: @Sendable (any Channel) -> EventLoopFuture<Connection>
    ) -> EventLoopFuture<Connection> {
        guard self.insert(channel) else { return channel.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel) }
        return setUp(channel).map { connection in
            // A connection that was accepted and never served must not end before its channel: NIO's asynchronous
            // channel stops the process when its writer goes away unfinished.
            channel.closeFuture.whenComplete { _ in withExtendedLifetime(connection) {} }
            return connection
        }
    }

    /// Whether bytes wait for a client to read.
    var hasUnsentBytes: Bool {
        get async {
            for channel in self.channels.withLock({ Array(($0 ?? [:]).values) }) {
                // One that has closed meanwhile has nothing to send any more.
                if let count = try? await channel.getOption(.bufferedWritableBytes).get(), count > 0 { return true }
            }
            return false
        }
    }

    func closeAll() {
        let last = self.channels.withLock { channels in
            defer { channels = nil }
            return channels ?? [:]
        }
        for channel in last.values { channel.close(promise: nil) }
    }
}
