public import Logging
public import NIOCore
public import NIOPosix
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
    private let core: CallingCore
    private let callers: TransportClient
    private let link: NATSLink

    /// What runs: both essential parts end with a drain, and what helps them has nothing to do then.
    private enum Part: Sendable {
        case essential
        case helper
    }

    /// Creates server and client; nothing listens before it is used.
    ///
    /// - Parameters:
    ///   - configuration: the settings.
    ///   - group: the threads that drive the connections; shut down after `run()` has returned, if at all.
    ///   - logger: for what cannot be told to a caller.
    public init(
        configuration: Configuration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        let link = NATSLink(settings: configuration.nats, logger: logger)
        self.link = link
        self.transportServer = TransportRegistry.server(configuration, link: link, group: group, logger: logger)
        let security = ConnectionSecurity(configuration.security)
        self.core = CallingCore(
            configuration: configuration.responseStream,
            security: security,
            group: group,
            logger: logger
        )
        self.callers = TransportRegistry.callers(
            configuration,
            security: security,
            link: link,
            core: self.core,
            group: group,
            logger: logger
        )
    }

    /// Serves endpoints on this process's plane.
    public var server: any RequestPlaneServer { self.transportServer }

    /// Sends requests to instances; the plane is chosen from the instance's address.
    public var client: any RequestPlaneClient { self.callers }

    /// An instance has left discovery: requests that it has not accepted within a grace fail.
    ///
    /// Without it, requests whose worker is suspended or whose host is gone wait until the kernel notices, if it does. The grace
    /// (`ResponseStreamConfiguration.departureGrace`) is for workers that leave discovery first and then answer what they have taken; what a
    /// worker has not even acknowledged fails earlier (`deliveryGrace`).
    ///
    /// - Parameter instance: as it stood in discovery.
    public func instanceHasLeft(_ instance: Instance) { self.core.instanceHasLeft(instance) }

    /// An instance that had left discovery is there again, at the same address: its requests do not fail.
    ///
    /// - Parameter instance: as it stands in discovery.
    public func instanceIsBack(_ instance: Instance) { self.core.instanceIsBack(instance) }

    /// What was counted for each endpoint that is or was served.
    public var statistics: [EndpointStatistics] { self.transportServer.statistics }

    /// What was counted on the NATS connection; nil until this process serves or calls on NATS.
    package var natsStatistics: NATSLinkStatistics? { self.link.statistics }

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
            try await withThrowingTaskGroup(of: Part.self) { group in
                group.addTask {
                    try await self.transportServer.run()
                    return .essential
                }
                group.addTask {
                    await self.core.run()
                    return .essential
                }
                for caller in self.callers.all {
                    group.addTask {
                        try await caller.run()
                        return .helper
                    }
                }
                var running = 2
                while running > 0, let part = try await group.next() { if part == .essential { running -= 1 } }
                group.cancelAll()
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        self.core.stop()
        for caller in self.callers.all { await caller.close() }
        await self.core.close()
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
            group.addTask { await self.core.drain(deadline: deadline) }
        }
    }
}
