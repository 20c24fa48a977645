import Discovery
import DynamoRuntime
import Logging
import RequestPlane
import ServiceLifecycle
import TestSupport

@testable import dynamo_frontend

/// A frontend on a real port in front of scripted workers.
struct RunningFrontend: Sendable {
    let url: String
    let worker: InMemoryDiscovery
    let metrics: MetricsRegistry
    private let group: ServiceGroup

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

    static func run(
        _ client: ScriptedClient,
        bodyLimit: Int = 1 << 20,
        _ body: (RunningFrontend) async throws -> Void
    ) async throws {
        let store = InMemoryDiscovery.Store()
        let reader = InMemoryDiscovery(store: store)
        let metrics = MetricsRegistry()
        let port = Recorded(0)
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let server = FrontendServer(
            configuration: .init(
                host: "127.0.0.1",
                port: 0,
                namespaces: .all,
                routerMode: .roundRobin,
                bodyLimit: bodyLimit,
                drainTimeout: .seconds(5)
            ),
            discovery: reader,
            client: client,
            mode: .tcp,
            metrics: metrics,
            metricsText: { metrics.text },
            logger: quiet,
            onListening: { listening in port.value = listening }
        )
        let group = ServiceGroup(configuration: .init(services: [server], logger: quiet))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await reader.run() }
            tasks.addTask { try await group.run() }
            try await eventually("the frontend listens") { port.value != 0 }
            try await body(
                RunningFrontend(
                    url: "http://127.0.0.1:\(port.value)",
                    worker: InMemoryDiscovery(store: store),
                    metrics: metrics,
                    group: group
                )
            )
            tasks.cancelAll()
            while let result = await tasks.nextResult() { _ = result }
        }
    }
}
