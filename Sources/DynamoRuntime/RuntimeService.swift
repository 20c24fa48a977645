public import Discovery
public import Logging
public import RequestPlane
import RequestPlaneTransports
public import ServiceLifecycle
import Synchronization

/// What every process of a deployment runs: its request plane, its place in discovery, its system server.
///
/// It starts all of them, then calls `start`; asked to stop, it leaves discovery first, its models before its instances, gives callers
/// a moment to notice each, lets running requests finish, and returns.
public final class RuntimeService: Service {
    /// An endpoint to serve, with the model card to publish beside it.
    public struct Endpoint: Sendable {
        /// Its name.
        public var id: EndpointID
        /// What is published about its model; nil publishes the instance only.
        public var card: ModelCard?
        /// Answers the requests.
        public var handler: RequestHandler

        /// Creates an endpoint.
        public init(id: EndpointID, card: ModelCard?, handler: @escaping RequestHandler) {
            self.id = id
            self.card = card
            self.handler = handler
        }
    }

    /// Callers that watch discovery notice within a few milliseconds; this is for the slow ones.
    private static let noticeTime: Duration = .milliseconds(500)
    /// Until callers that choose among models have noticed, and what they had sent has reached this process.
    private static let cardNoticeTime: Duration = .milliseconds(300)

    /// The settings of this process.
    public let configuration: RuntimeConfiguration
    /// Finds other processes.
    public let discovery: any DiscoveryClient
    package let health: HealthStatus
    package let metrics = MetricsRegistry()
    /// The process's log.
    public let logger: Logger
    private let network: NetworkManager
    private let start: @Sendable (RuntimeService) async throws -> Void
    private let components: Mutex<[any Service]> = Mutex([])
    private let endpointMetrics: EndpointMetrics
    private let natsMetrics: NATSMetrics

    /// Creates the runtime of a process; nothing is opened before it runs.
    ///
    /// - Parameters:
    ///   - environment: the settings.
    ///   - start: called once everything runs; the place to serve endpoints.
    public init(
        _ environment: ProcessEnvironment,
        start: @escaping @Sendable (RuntimeService) async throws -> Void = { _ in }
    ) {
        self.configuration = environment.runtime
        let system = environment.runtime.system
        self.health = HealthStatus(
            starting: system?.startingStatus ?? .notready,
            deciding: system?.decidingEndpoints ?? []
        )
        self.network = NetworkManager(configuration: environment.requestPlane, logger: environment.logger)
        self.discovery = environment.runtime.makeDiscovery(logger: environment.logger)
        self.logger = environment.logger
        self.start = start
        self.endpointMetrics = EndpointMetrics(registry: self.metrics)
        self.natsMetrics = NATSMetrics(registry: self.metrics)
    }

    /// Adds something that runs beside the runtime, before it runs itself.
    ///
    /// Asked to stop, a component must return in its own time; the request plane goes on until then.
    public func add(_ component: any Service) { self.components.withLock { $0.append(component) } }

    /// Sends requests to instances.
    public var client: any RequestPlaneClient { self.network.client }

    /// What has changed in discovery from one look to the next.
    package struct InstanceChange: Sendable, Hashable {
        package var left: Set<Instance>
        package var come: Set<Instance>

        package init(left: Set<Instance>, come: Set<Instance>) {
            self.left = left
            self.come = come
        }
    }

    /// Lets requests fail that instances which have left discovery do not accept any more.
    package func instancesHaveChanged(_ change: InstanceChange) {
        for instance in change.left { self.network.instanceHasLeft(instance) }
        for instance in change.come { self.network.instanceIsBack(instance) }
    }

    /// The plane of this process.
    public var mode: RequestPlaneMode { self.network.server.mode }

    /// Announces endpoints that will be served once they are set up; until then `/health` says so.
    public func prepare(_ endpoints: [Endpoint]) {
        for endpoint in endpoints { self.health.set(endpoint.id.name, isReady: false) }
    }

    /// Serves endpoints and publishes them; all endpoints of one process share an instance id.
    ///
    /// Once the process was asked to stop, nothing is published.
    ///
    /// - Parameter endpoints: what to serve.
    /// - Throws: `RequestPlaneError` or `DiscoveryError`.
    public func serve(_ endpoints: [Endpoint]) async throws { try await self.serve(endpoints) { _ in [] } }

    /// Serves endpoints and publishes them together with other records.
    ///
    /// - Parameters:
    ///   - endpoints: what to serve.
    ///   - announcing: the other records, made of the instances in the order of the endpoints.
    /// - Throws: `RequestPlaneError` or `DiscoveryError`.
    package func serve(
        _ endpoints: [Endpoint],
        announcing: @Sendable ([InstanceRecord]) -> [DiscoveryRecord]
    ) async throws {
        let id = try await self.discovery.instanceID()
        var instances: [InstanceRecord] = []
        var models: [DiscoveryRecord] = []
        self.prepare(endpoints)
        for endpoint in endpoints {
            let address = try await self.network.server.register(endpoint.id, id: id, handler: endpoint.handler)
            instances.append(InstanceRecord(Instance(endpoint: endpoint.id, id: id, transport: address)))
            if let card = endpoint.card {
                models.append(.model(ModelRecord(endpoint: endpoint.id, id: id, card: card)))
            }
        }
        guard !self.health.isDraining else { return }
        // The cards last: a frontend that sees one can use it at once.
        try await self.discovery.publish(
            instances.map(DiscoveryRecord.instance) + announcing(instances) + models
        )
        // Asked to stop meanwhile: what was withdrawn already must not come back.
        guard !self.health.isDraining else { return await self.discovery.withdraw() }
        for endpoint in endpoints {
            self.health.set(endpoint.id.name, isReady: true)
            self.logger.info("endpoint serves", metadata: ["endpoint": "\(endpoint.id)", "instance": "\(id)"])
        }
    }

    /// The metrics in Prometheus's format.
    public var metricsText: String {
        self.endpointMetrics.update(self.network.statistics, transport: self.mode, uptime: self.health.uptime)
        self.natsMetrics.update(self.network.natsStatistics)
        return self.metrics.text
    }

    private enum Part: String, Sendable {
        case requestPlane = "request plane"
        case discovery
        case systemServer = "system server"
        case component
    }

    private enum Event: Sendable {
        case started
        case shutdownRequested
        case ended(Part)
    }

    /// Runs until the process is asked to stop, or a part of it fails.
    public func run() async throws {
        let result: Result<Void, any Error>
        do { result = .success(try await self.runParts()) } catch { result = .failure(error) }
        // Whatever ended it: all parts have ended, so nothing is published after this.
        await self.discovery.withdraw()
        try result.get()
    }

    private func runParts() async throws {
        try await withThrowingTaskGroup(of: Event.self) { group in
            group.addTask {
                try await self.network.run()
                return .ended(.requestPlane)
            }
            group.addTask {
                try await self.discovery.run()
                return .ended(.discovery)
            }
            if let configuration = self.configuration.system {
                group.addTask {
                    try await self.systemServer(configuration).run()
                    return .ended(.systemServer)
                }
            }
            let components = self.components.withLock { $0 }
            for component in components {
                group.addTask {
                    try await component.run()
                    return .ended(.component)
                }
            }
            group.addTask {
                do { try await self.start(self) } catch {
                    // What could not be set up is not wanted any more, and must not cut running requests short.
                    guard self.health.isDraining else { throw error }
                    self.logger.debug("the start was given up", metadata: ["error": "\(error)"])
                }
                return .started
            }
            group.addTask {
                try await gracefulShutdown()
                return .shutdownRequested
            }
            try await self.supervise(&group, components: components.count)
            group.cancelAll()
            // What was cancelled ends with an error of cancellation.
            while let result = await group.nextResult() { _ = result }
        }
    }

    /// Returns when everything that has to end in an orderly way has ended.
    private func supervise(
        _ group: inout ThrowingTaskGroup<Event, any Error>,
        components: Int
    ) async throws {
        var running = components
        var isStopping = false
        while let event = try await group.next() {
            switch event {
            case .started: self.logger.debug("started")
            case .shutdownRequested:
                isStopping = true
                await self.leave()
            case .ended(.component): running -= 1
            case .ended(let part):
                guard isStopping else { throw RuntimeError.ended(part.rawValue) }
            }
            if isStopping, running == 0 { break }
        }
        self.logger.info("draining", metadata: ["in_flight": "\(self.network.server.inFlight)"])
        await self.network.drain(deadline: self.configuration.drainTimeout)
    }

    private func leave() async {
        self.health.drain()
        // A frontend of Dynamo 1.6 takes a request for lost (503) that it has sent to an instance which leaves discovery before it has
        // called home. Without its card it gets no more of them, and what it has is answered before its instance goes.
        let hadModels = await self.discovery.withdrawModels()
        // Sleeps end early only when the process is made to exit at once.
        if hadModels { try? await Task.sleep(for: Self.cardNoticeTime) }
        await self.discovery.withdraw()
        guard self.health.hasEndpoints else { return }
        try? await Task.sleep(for: Self.noticeTime)
    }

    private func systemServer(_ configuration: SystemServer.Configuration) -> SystemServer {
        SystemServer(
            configuration: configuration,
            health: self.health,
            metrics: { self.metricsText },
            logger: self.logger
        )
    }
}

/// A part of the runtime ended although nobody asked it to.
private enum RuntimeError: Error, CustomStringConvertible {
    case ended(String)

    var description: String {
        switch self {
        case .ended(let part): "the \(part) ended unexpectedly"
        }
    }
}
