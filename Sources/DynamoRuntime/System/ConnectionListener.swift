import Glibc
package import NIOCore
import NIOPosix

/// A listening TCP port whose connections are served as children of the task that runs it.
package struct ConnectionListener<Connection: Sendable>: Sendable {
    private let server: NIOAsyncChannel<Connection, Never>

    /// The port that is listened on.
    package var port: Int { self.server.channel.localAddress?.port ?? 0 }

    /// Binds an address.
    ///
    /// - Parameters:
    ///   - host: the address or name of this machine.
    ///   - port: 0 lets the system choose.
    ///   - remedy: what to change when the address cannot be used, for the error.
    ///   - setUp: builds the pipeline of a new connection.
    /// - Throws: `ConfigurationError` when the address cannot be used.
    package init(
        host: String,
        port: Int,
        remedy: String,
        setUp: @escaping @Sendable (any Channel) -> EventLoopFuture<Connection>
    ) async throws(ConfigurationError) {
        do {
            self.server = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .serverChannelOption(.backlog, value: 1024)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .bind(host: host, port: port, childChannelInitializer: setUp)
        } catch let error as IOError {
            throw ConfigurationError([
                "cannot listen on \(host):\(port): \(String(cString: strerror(error.errnoCode))); \(remedy)"
            ])
        } catch {
            throw ConfigurationError(["cannot listen on \(host):\(port): \(error); \(remedy)"])
        }
    }

    /// Serves connections until cancelled.
    ///
    /// - Parameter serve: serves one connection to its end.
    /// - Throws: an error of the listening socket.
    package func run(_ serve: @escaping @Sendable (Connection) async -> Void) async throws {
        try await self.server.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections {
                    group.addTask { await serve(connection) }
                }
            }
        }
    }
}
