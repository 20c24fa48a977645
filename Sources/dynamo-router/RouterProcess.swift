import Discovery
import DynamoRuntime
import KVEvents
import KVRouter
import KVRouting
import Logging
import RequestPlane
import RequestPlaneTransports

/// The running router: its index, its replicas, its endpoints.
struct RouterProcess: Sendable {
    /// Where KV events come from.
    enum Plane: String, CaseIterable {
        case nats
        case zmq
    }

    /// How often it is looked whether the index has caught up.
    private static let lookPause: Duration = .milliseconds(20)

    let settings: RouterSettings
    let environment: ProcessEnvironment

    /// Serves until cancelled.
    ///
    /// - Parameter runtime: runs already.
    /// - Throws: `ConfigurationError`, or what discovery, the request plane or NATS ends with.
    func run(in runtime: RuntimeService) async throws {
        let id = try await runtime.discovery.instanceID()
        guard let plane = try await self.connect(runtime) else { return try await self.run(in: runtime, id, nil) }
        do { try await self.run(in: runtime, id, plane) } catch {
            await plane.close()
            throw error
        }
        await plane.close()
    }

    /// Connects to the event plane, if the router needs it.
    private func connect(_ runtime: RuntimeService) async throws -> NATSEventPlane? {
        guard self.settings.configuration.usesKVEvents || self.settings.configuration.syncsReplicas else { return nil }
        var reader = EnvironmentReader(ProcessEnvironment.variables)
        let plane = reader.choice("DYN_EVENT_PLANE", default: Plane.nats)
        guard reader.problems.isEmpty else { throw ConfigurationError(reader.problems) }
        guard plane == .nats else {
            throw ConfigurationError([
                "DYN_EVENT_PLANE is zmq, but this router has KV events and replica sync on NATS only; "
                    + "set DYN_EVENT_PLANE=nats, or give --no-router-kv-events and --no-router-replica-sync"
            ])
        }
        return try await NATSEventPlane.connect(
            try self.environment.requestPlane.nats.connection.get(),
            logger: runtime.logger
        )
    }

    private func run(in runtime: RuntimeService, _ id: InstanceID, _ plane: NATSEventPlane?) async throws {
        let configuration = self.settings.configuration
        let feed = plane.flatMap { plane in
            configuration.usesKVEvents
                ? KVIndexFeed(
                    of: self.settings.endpoint,
                    plane: plane,
                    client: runtime.client,
                    logger: runtime.logger
                ) : nil
        }
        let replicas = plane.flatMap { plane in
            configuration.syncsReplicas
                ? plane.activeSequences(.release12, of: self.settings.endpoint, router: id.rawValue) : nil
        }
        let router = WorkerRouter(
            of: self.settings.endpoint,
            blockSize: self.settings.blockSize,
            configuration: configuration,
            routerID: id.rawValue,
            client: runtime.client,
            overlaps: feed,
            logger: runtime.logger,
            tell: { replicas?.publish($0) }
        )
        let endpoints = self.endpoints(router)
        runtime.prepare(endpoints)
        let (listening, isListening) = AsyncStream.makeStream(of: Void.self)
        if replicas == nil { isListening.finish() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let feed { group.addTask { try await feed.run(runtime.discovery.watch(.all)) } }
            if let replicas {
                group.addTask { try await replicas.run(ready: { isListening.finish() }, consumer: router.apply) }
            }
            group.addTask { await self.follow(runtime, router) }
            group.addTask { await router.run() }
            group.addTask {
                for await _ in listening {}
                try await self.waitUntilReady(feed, router, runtime.logger)
                try await runtime.serve(endpoints)
            }
            // The first error ends the others.
            while try await group.next() != nil {}
        }
    }

    private func endpoints(_ router: WorkerRouter) -> [RuntimeService.Endpoint] {
        func endpoint(_ name: String, _ handler: @escaping RequestHandler) -> RuntimeService.Endpoint {
            let id = EndpointID(namespace: self.settings.endpoint.namespace, component: "router", name: name)
            return RuntimeService.Endpoint(id: id, card: nil, handler: handler)
        }
        return [
            endpoint("generate") { await router.generate($0) },
            endpoint("best_worker_id") { router.bestWorker($0) },
            endpoint("get_overlap_scores") { router.overlapScores($0) },
        ]
    }

    private func follow(_ runtime: RuntimeService, _ router: WorkerRouter) async {
        var before: Set<Instance> = []
        for await snapshot in runtime.discovery.watch(.all) {
            let now = Set(snapshot.instances.map(\.instance))
            runtime.instancesHaveChanged(.init(left: before.subtracting(now), come: now.subtracting(before)))
            before = now
            router.follow(snapshot)
        }
    }

    /// Waits until the workers have told what they hold: a router that does not know would spread what belongs together.
    private func waitUntilReady(_ feed: KVIndexFeed?, _ router: WorkerRouter, _ logger: Logger) async throws {
        let least = self.settings.configuration.minimalWorkers
        var hasSaid = false
        while !(feed?.isCaughtUp ?? true) || router.counts.workers < least {
            if !hasSaid { logger.info("waiting for workers and for what they hold", metadata: ["workers": "\(least)"]) }
            hasSaid = true
            try await Task.sleep(for: Self.lookPause)
        }
        let blocks = feed?.status.blocks.values.reduce(0, +) ?? 0
        logger.info(
            "the router knows its workers",
            metadata: ["workers": "\(router.counts.workers)", "blocks": "\(blocks)"]
        )
    }
}
