package import Discovery
import KVEvents
package import KVRouter
package import Logging
package import RequestPlane
import Synchronization

/// A router of one endpoint with all that it needs to know: its index, its workers, its replicas.
///
/// What serves requests with it is somebody else's: a router process has endpoints for it, a frontend calls it.
package final class RoutingService: Sendable {
    /// How often it is looked whether the index has caught up.
    private static let lookPause: Duration = .milliseconds(20)

    package let router: WorkerRouter
    /// Knows what workers hold; nil when it is predicted.
    package let feed: (any IndexFeed)?
    private let replicas: ReplicaLink?
    private let loads: LoadReport?
    private let records: Mutex<[DiscoveryRecord]?> = Mutex(nil)
    private let minimalWorkers: Int
    private let logger: Logger
    private let hearsReplicas: Atomic<Bool>

    /// Whether a router with this configuration needs an event plane.
    package static func needsPlane(_ configuration: RouterConfiguration) -> Bool {
        configuration.usesKVEvents || configuration.syncsReplicas
    }

    /// Makes a router that knows nothing yet.
    ///
    /// - Parameters:
    ///   - endpoint: the one that requests are sent to.
    ///   - blockSize: tokens of a block, which must be the workers'.
    ///   - configuration: how workers are chosen.
    ///   - routerID: this router's among its replicas: its instance id.
    ///   - plane: where workers and other routers tell; nil: blocks are predicted, and no other router is heard.
    ///   - client: sends the requests, and asks workers what they hold.
    ///   - logger: hears of what goes wrong.
    package init(
        of endpoint: EndpointID,
        blockSize: Int,
        configuration: RouterConfiguration,
        routerID: UInt64,
        plane: RoutingPlane?,
        client: any RequestPlaneClient,
        logger: Logger
    ) {
        var configuration = configuration
        if plane == nil { (configuration.usesKVEvents, configuration.syncsReplicas) = (false, false) }
        let feed = plane.flatMap { plane in
            configuration.usesKVEvents ? Self.feed(of: endpoint, configuration, routerID, plane, client, logger) : nil
        }
        let replicas = plane.flatMap { plane in
            configuration.syncsReplicas
                ? ReplicaLink(of: endpoint, router: routerID, plane: plane, logger: logger) : nil
        }
        let loads = plane.map { LoadReport(of: endpoint, router: routerID, plane: $0.plane, logger: logger) }
        var report: (@Sendable (WorkerLoad) -> Void)?
        if let loads { report = { loads.publish($0) } }
        (self.feed, self.replicas, self.loads) = (feed, replicas, loads)
        self.minimalWorkers = configuration.minimalWorkers
        self.logger = logger
        self.hearsReplicas = Atomic(replicas == nil)
        self.router = WorkerRouter(
            of: endpoint,
            blockSize: blockSize,
            configuration: configuration,
            routerID: routerID,
            client: client,
            overlaps: feed,
            logger: logger,
            report: report,
            tell: { replicas?.publish($0) }
        )
    }

    private static func feed(
        of endpoint: EndpointID,
        _ configuration: RouterConfiguration,
        _ router: UInt64,
        _ plane: RoutingPlane,
        _ client: any RequestPlaneClient,
        _ logger: Logger
    ) -> any IndexFeed {
        // Durable events are on NATS only, which whoever makes the plane has seen to.
        guard configuration.usesDurableKVEvents, case .nats(let nats) = plane.way else {
            return KVIndexFeed(of: endpoint, plane: plane, client: client, logger: logger)
        }
        var settings = DurableIndexFeed.Settings()
        settings.snapshotThreshold = configuration.snapshotThreshold
        settings.resetsStates = configuration.resetsStates
        return DurableIndexFeed(
            of: endpoint,
            stream: nats.durableStream(of: endpoint),
            router: router,
            settings: settings,
            logger: logger
        )
    }

    /// Whether the router knows what its workers hold, hears its replicas, and has as many workers as it must have.
    ///
    /// A router that does not know would spread what belongs together.
    package var isReady: Bool {
        (self.feed?.isCaughtUp ?? true) && self.hearsReplicas.load(ordering: .acquiring)
            && self.router.counts.workers >= self.minimalWorkers
    }

    /// Opens what the router publishes on the event plane, once; to be called before `run`, or not at all.
    ///
    /// - Returns: what discovery should tell of it: the event channels that a router of Dynamo has there.
    /// - Throws: `ZMQError` when a socket cannot be opened.
    package func announcement() async throws -> [DiscoveryRecord] {
        if let records = self.records.withLock({ $0 }) { return records }
        let records = try await (self.loads?.open() ?? []) + (self.replicas?.open() ?? [])
        self.records.withLock { $0 = records }
        return records
    }

    /// Follows workers and replicas until cancelled.
    ///
    /// - Parameter discovery: runs already.
    /// - Throws: what the event plane ends with.
    package func run(_ discovery: any DiscoveryClient) async throws {
        _ = try await self.announcement()
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let feed = self.feed { group.addTask { try await feed.run(discovery.watch(.all)) } }
            if let replicas = self.replicas {
                group.addTask {
                    try await replicas.run(
                        discovery.watch(.all),
                        ready: { self.hearsReplicas.store(true, ordering: .releasing) },
                        consumer: self.router.apply
                    )
                }
            }
            group.addTask { for await snapshot in discovery.watch(.all) { self.router.follow(snapshot) } }
            group.addTask { await self.router.run() }
            // The first error ends the others.
            while try await group.next() != nil {}
        }
    }

    /// Waits until the router is ready.
    ///
    /// - Throws: `CancellationError`.
    package func waitUntilReady() async throws {
        var hasSaid = false
        while !self.isReady {
            if !hasSaid {
                self.logger.info(
                    "waiting for workers and for what they hold",
                    metadata: ["endpoint": "\(self.router.endpoint)", "workers": "\(self.minimalWorkers)"]
                )
            }
            hasSaid = true
            try await Task.sleep(for: Self.lookPause)
        }
        let blocks = self.feed?.blockCounts.values.reduce(0, +) ?? 0
        self.logger.info(
            "the router knows its workers",
            metadata: [
                "endpoint": "\(self.router.endpoint)", "workers": "\(self.router.counts.workers)",
                "blocks": "\(blocks)",
            ]
        )
    }
}
