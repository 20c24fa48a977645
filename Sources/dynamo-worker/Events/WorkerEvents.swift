import Discovery
import DynamoRuntime
import KVEvents
import KVRouter
import Logging
import RequestPlane
import RequestPlaneTransports

/// Tells routers what the worker's cache holds, on the event plane of the environment.
struct WorkerEvents: KVChangeSink {
    /// Where events go.
    enum Plane: String, CaseIterable {
        case nats
        case zmq
        case none
    }

    private let plane: NATSEventPlane
    let publisher: KVEventPublisher

    /// Connects to the event plane.
    ///
    /// - Parameters:
    ///   - endpoint: the one that requests are sent to.
    ///   - environment: its `DYN_EVENT_PLANE` says which plane.
    ///   - runtime: under whose instance id is published.
    /// - Returns: nil when the environment names no event plane that this worker has.
    /// - Throws: `ConfigurationError`, or what connecting throws.
    static func connect(
        _ endpoint: EndpointID,
        _ environment: ProcessEnvironment,
        _ runtime: RuntimeService
    ) async throws -> WorkerEvents? {
        var reader = EnvironmentReader(ProcessEnvironment.variables)
        let choice = reader.choice("DYN_EVENT_PLANE", default: Plane.none)
        guard reader.problems.isEmpty else { throw ConfigurationError(reader.problems) }
        switch choice {
        case .none: return nil
        case .zmq:
            // Routers then know nothing of this worker's cache, which costs speed, not answers.
            runtime.logger.warning(
                "this worker publishes KV events on NATS only, so routers will not know what it holds; set DYN_EVENT_PLANE=nats",
                metadata: ["DYN_EVENT_PLANE": "zmq"]
            )
            return nil
        case .nats:
            let plane = try await NATSEventPlane.connect(
                try environment.requestPlane.nats.connection.get(),
                logger: runtime.logger
            )
            let configuration = PublisherConfiguration(
                form: .release12,
                endpoint: endpoint,
                worker: try await runtime.discovery.instanceID().rawValue
            )
            return WorkerEvents(plane: plane, publisher: plane.publisher(configuration))
        }
    }

    /// What routers ask that have missed something.
    var queryEndpoint: RuntimeService.Endpoint {
        RuntimeService.Endpoint(id: self.publisher.queryEndpoint, card: nil, handler: self.publisher.queryHandler)
    }

    func record(_ changes: [KVEvent.Change], rank: UInt32) {
        for change in changes { self.publisher.publish(change) }
    }

    /// Publishes until cancelled.
    func run() async {
        await self.publisher.run()
        await self.plane.close()
    }
}
