import Deployment
import Discovery
import FoundationEssentials
import KVEvents
import KVRouter
import KVRouting
import Logging
import RequestPlane
import Synchronization

/// Follows the KV event plane of a deployment as a router does, without being one: it registers nothing and answers nobody.
struct KVWatch {
    let plan: Plan
    let discovery: any DiscoveryClient
    let plane: RoutingPlane
    let client: any RequestPlaneClient
    let logger: Logger
    /// Replicas by instance.
    let owners: [InstanceID: String]

    /// What is seen at a moment.
    enum Sight {
        /// No worker has registered what a router asks.
        case nobody(reason: String)
        case plane(KVReport)
    }

    /// The workers of one component.
    private final class Followed: Sendable {
        let component: String
        let feed: KVIndexFeed
        let snapshots: AsyncStream<DiscoverySnapshot>.Continuation
        private let end = Mutex<(any Error)?>(nil)

        init(
            _ component: String,
            _ feed: KVIndexFeed,
            _ snapshots: AsyncStream<DiscoverySnapshot>.Continuation
        ) {
            (self.component, self.feed, self.snapshots) = (component, feed, snapshots)
        }

        var failure: (any Error)? { self.end.withLock { $0 } }
        func fail(_ error: any Error) { self.end.withLock { $0 = error } }
    }

    /// Looks again and again until the body has seen enough.
    ///
    /// - Parameters:
    ///   - pause: between two looks.
    ///   - show: gets what is seen; false ends.
    /// - Throws: what the body, discovery or the event plane throw.
    func run(every pause: Duration, _ show: (Sight) async throws -> Bool) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var followed: [Followed] = []
            var goesOn = true
            while goesOn {
                let snapshot = try await self.discovery.snapshot(.exact(self.plan.namespace))
                for (component, endpoint) in self.components(snapshot)
                where !followed.contains(where: { $0.component == component }) {
                    let (snapshots, next) = AsyncStream.makeStream(
                        of: DiscoverySnapshot.self,
                        bufferingPolicy: .bufferingNewest(1)
                    )
                    let new = Followed(component, self.feed(endpoint), next)
                    followed.append(new)
                    group.addTask {
                        do { try await new.feed.run(snapshots) } catch { new.fail(error) }
                    }
                }
                for one in followed { one.snapshots.yield(snapshot) }
                if let failure = followed.lazy.compactMap(\.failure).first { throw failure }
                goesOn = try await show(self.sight(followed, snapshot))
                if goesOn { try await Task.sleep(for: pause) }
            }
            group.cancelAll()
        }
    }

    private func feed(_ endpoint: EndpointID) -> KVIndexFeed {
        KVIndexFeed(of: endpoint, plane: self.plane, client: self.client, logger: self.logger)
    }

    /// Those whose workers answer what they hold, with the endpoint that their events are about.
    private func components(_ snapshot: DiscoverySnapshot) -> [(component: String, endpoint: EndpointID)] {
        var found: [String: EndpointID] = [:]
        for record in snapshot.instances {
            let endpoint = record.instance.endpoint
            guard endpoint.name.hasPrefix(KVIndexFeed.queryEndpointPrefix) else { continue }
            // In the form of 1.2 only the component counts.
            found[endpoint.component] = EndpointID(
                namespace: endpoint.namespace,
                component: endpoint.component,
                name: "generate"
            )
        }
        for record in snapshot.eventSources { found[record.endpoint.component] = record.endpoint }
        return found.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    private func sight(_ followed: [Followed], _ snapshot: DiscoverySnapshot) -> Sight {
        guard !followed.isEmpty else {
            let known = Set(snapshot.instances.map { "\($0.instance.endpoint.component).\($0.instance.endpoint.name)" })
            return .nobody(
                reason: known.isEmpty
                    ? "nothing is registered in its discovery"
                    : "none of its workers publishes KV events with a local index (registered: "
                        + known.sorted().joined(separator: ", ") + ")"
            )
        }
        let sizes = followed.map(\.feed.size)
        let ranks = followed.flatMap { one in one.feed.ranks.map { self.rank($0, one.component) } }
        return .plane(
            KVReport(
                time: Date().timeIntervalSince1970,
                deployment: self.plan.deployment,
                plane: self.plan.planes.events.rawValue,
                isCaughtUp: followed.allSatisfy(\.feed.isCaughtUp),
                eventsPerSecond: 0,
                index: KVReport.Index(
                    blocks: ranks.reduce(0) { $0 + $1.blocks },
                    nodes: sizes.reduce(0) { $0 + $1.nodes },
                    bytes: sizes.reduce(0) { $0 + $1.bytes }
                ),
                ranks: ranks
            )
        )
    }

    private func rank(_ status: RankStatus, _ component: String) -> KVReport.Rank {
        let worker = InstanceID(rawValue: status.rank.worker)
        return KVReport.Rank(
            component: component,
            worker: "\(worker)",
            process: self.owners[worker],
            rank: status.rank.rank,
            eventsPerSecond: 0,
            events: status.activity.events,
            blocks: status.blocks,
            gaps: status.activity.gaps,
            recoveries: status.activity.recoveries,
            failures: status.activity.failures,
            isRegistered: status.isRegistered,
            isRecovering: status.isRecovering
        )
    }
}
