import Discovery
import DynamoRuntime
import KVRouter
import KVRouting
import Logging
import RequestPlane
import RouterCommandLine

/// The running router: what it knows, and its endpoints.
struct RouterProcess: Sendable {
    let settings: RouterSettings
    let environment: ProcessEnvironment

    /// Serves until cancelled.
    ///
    /// - Parameter runtime: runs already.
    /// - Throws: `ConfigurationError`, or what discovery, the request plane or NATS ends with.
    func run(in runtime: RuntimeService) async throws {
        let id = try await runtime.discovery.instanceID()
        let plane = try await self.connect(runtime)
        let result: Result<Void, any Error>
        do { result = .success(try await self.run(in: runtime, id, plane)) } catch { result = .failure(error) }
        await plane?.close()
        try result.get()
    }

    /// Connects to the event plane, if the router needs it.
    private func connect(_ runtime: RuntimeService) async throws -> RoutingPlane? {
        guard RoutingService.needsPlane(self.settings.configuration) else { return nil }
        let plane = try RouterEventPlane(ProcessEnvironment.variables, self.environment, self.settings.configuration)
        return try await plane.connect(logger: runtime.logger)
    }

    private func run(in runtime: RuntimeService, _ id: InstanceID, _ plane: RoutingPlane?) async throws {
        let service = RoutingService(
            of: self.settings.endpoint,
            blockSize: self.settings.blockSize,
            configuration: self.settings.configuration,
            routerID: id.rawValue,
            plane: plane,
            client: runtime.client,
            logger: runtime.logger
        )
        let endpoints = self.endpoints(service.router)
        runtime.prepare(endpoints)
        let records = try await service.announcement()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await service.run(runtime.discovery) }
            group.addTask { await self.follow(runtime) }
            group.addTask {
                try await service.waitUntilReady()
                try await runtime.serve(endpoints) { _ in records }
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
            self.discoveryEndpoint,
        ]
    }

    /// By this endpoint beside the workers' routers of Dynamo 1.2 see each other in discovery (contract `kv-events.md`, section 9);
    /// nobody calls it.
    private var discoveryEndpoint: RuntimeService.Endpoint {
        let workers = self.settings.endpoint
        let id = EndpointID(namespace: workers.namespace, component: workers.component, name: "router-discovery")
        return RuntimeService.Endpoint(id: id, card: nil) { _ in
            throw RemoteError(kind: .invalidArgument, message: "\(id) only says that a router is here")
        }
    }

    private func follow(_ runtime: RuntimeService) async {
        var before: Set<Instance> = []
        for await snapshot in runtime.discovery.watch(.all) {
            let now = Set(snapshot.instances.map(\.instance))
            runtime.instancesHaveChanged(.init(left: before.subtracting(now), come: now.subtracting(before)))
            before = now
        }
    }
}
