public import Logging
import NIOCore
public import RequestPlane

/// The one owner of a process's request plane: reads its settings, makes server and client, and runs both.
///
/// ```swift
/// let manager = NetworkManager(configuration: try .init(environment: environment, logger: logger), logger: logger)
/// try await withThrowingTaskGroup { group in
///     group.addTask { try await manager.run() }
///     let address = try await manager.server.register(endpoint, id: id) { request in ... }
///     // publish the address; later:
///     await manager.drain(deadline: .seconds(30))
/// }
/// ```
public final class NetworkManager: Sendable {
    private let transportServer: any TransportServer
    private let tcpClient: TCPClient

    /// Creates server and client; nothing listens before it is used.
    ///
    /// - Parameters:
    ///   - configuration: the settings.
    ///   - logger: for what cannot be told to a caller.
    public init(configuration: Configuration, logger: Logger) {
        self.transportServer = TransportRegistry.server(configuration, logger: logger)
        self.tcpClient = TCPClient(configuration: configuration.tcp, logger: logger)
    }

    /// Serves endpoints on this process's plane.
    public var server: any RequestPlaneServer { self.transportServer }

    /// Sends requests to instances; the plane is chosen from the instance's address.
    public var client: any RequestPlaneClient { TransportClient(tcp: self.tcpClient) }

    /// Fails requests to an instance that has left discovery, unless it is answering them already.
    ///
    /// Without it they fail too, but only when the time for the acknowledgement or the call-home is over.
    ///
    /// - Parameter instance: as it stood in discovery.
    public func instanceHasLeft(_ instance: Instance) { self.tcpClient.instanceHasLeft(instance) }

    /// What was counted for each endpoint that is or was served.
    public var statistics: [EndpointStatistics] { self.transportServer.statistics }

    /// Owns the listeners, the connections and every task that answers a request.
    ///
    /// Returns after a drain, or when cancelled.
    ///
    /// Call once. Endpoints may be registered, and requests sent, before it is scheduled.
    ///
    /// - Throws: `RequestPlaneError` when a listener fails.
    public func run() async throws {
        let result: Result<Void, any Error>
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.transportServer.run() }
                group.addTask { await self.tcpClient.run() }
                try await group.waitForAll()
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await self.tcpClient.close()
        try result.get()
    }

    /// Refuses new requests, lets running ones finish, then makes `run()` return.
    ///
    /// What still runs at the deadline is cancelled.
    ///
    /// - Parameter deadline: how long running requests may take.
    public func drain(deadline: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.transportServer.drain(deadline: deadline) }
            group.addTask { await self.tcpClient.drain(deadline: deadline) }
        }
    }
}
