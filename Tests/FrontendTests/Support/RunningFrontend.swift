import Discovery
import DynamoRuntime
import KVRouter
import Logging
import RequestPlane
import ServiceLifecycle
import TestSupport

@testable import dynamo_frontend

/// A frontend on a real port in front of scripted workers.
struct RunningFrontend: Sendable {
    let port: Int
    let worker: InMemoryDiscovery
    /// Another one, which comes and goes on its own.
    let otherWorker: InMemoryDiscovery
    let metrics: MetricsRegistry
    private let group: ServiceGroup
    private let ended: Recorded<Bool>

    /// Whether the frontend has returned.
    var hasEnded: Bool { self.ended.value }

    var url: String { "http://127.0.0.1:\(self.port)" }

    /// Asks the frontend to stop.
    func stop() async { await self.group.triggerGracefulShutdown() }

    /// Publishes workers and waits until the frontend knows them.
    func publish(_ workers: [(instance: InstanceRecord, model: ModelRecord)]) async throws {
        self.worker.publish(workers.flatMap { [.instance($0.instance), .model($0.model)] })
        let names = Set(workers.map { $0.model.card.displayName ?? "" })
        try await eventually("the workers are known") {
            let models = try await HTTPRequests.get(self.url + "/v1/models").text
            return names.allSatisfy { models.contains("\"\($0)\"") }
        }
    }

    /// Another worker takes the place of those that were published.
    ///
    /// - Parameter worker: the new one, which the frontend knows in the end.
    /// - Throws: when it does not.
    func replace(with worker: (instance: InstanceRecord, model: ModelRecord)) async throws {
        self.otherWorker.publish([.instance(worker.instance), .model(worker.model)])
        self.worker.withdraw()
        let id = worker.instance.instance.id.rawValue
        try await eventually("the others are replaced") {
            let health = try await HTTPRequests.get(self.url + "/health").object()
            let instances = health["instances"] as? [[String: Any]] ?? []
            return instances.map { $0["instance_id"] as? UInt64 } == [id]
        }
    }

    static func run(
        _ client: ScriptedClient,
        router: RouterConfiguration = RouterConfiguration(),
        bodyLimit: Int = 1 << 20,
        drainTimeout: Duration = .seconds(5),
        _ body: (RunningFrontend) async throws -> Void
    ) async throws {
        let store = InMemoryDiscovery.Store()
        let reader = InMemoryDiscovery(store: store)
        let metrics = MetricsRegistry()
        let (port, ended) = (Recorded(0), Recorded(false))
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let server = FrontendServer(
            configuration: .init(
                host: "127.0.0.1",
                port: 0,
                namespaces: .all,
                router: router,
                bodyLimit: bodyLimit,
                drainTimeout: drainTimeout
            ),
            discovery: reader,
            client: client,
            metrics: metrics,
            metricsText: { metrics.text },
            logger: quiet,
            onListening: { listening in port.value = listening }
        )
        let group = ServiceGroup(configuration: .init(services: [server], logger: quiet))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await reader.run() }
            tasks.addTask {
                try await group.run()
                ended.value = true
            }
            try await eventually("the frontend listens") { port.value != 0 }
            try await body(
                RunningFrontend(
                    port: port.value,
                    worker: InMemoryDiscovery(store: store),
                    otherWorker: InMemoryDiscovery(store: store),
                    metrics: metrics,
                    group: group,
                    ended: ended
                )
            )
            tasks.cancelAll()
            while let result = await tasks.nextResult() { _ = result }
        }
    }
}
