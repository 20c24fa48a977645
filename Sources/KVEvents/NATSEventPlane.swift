package import Logging
package import NATS
package import RequestPlane

/// A process's place on the event plane of NATS.
package struct NATSEventPlane: Sendable {
    private let connection: NATSConnection
    private let logger: Logger

    /// Connects.
    ///
    /// - Parameters:
    ///   - configuration: servers and credentials.
    ///   - logger: hears of lost and regained connections.
    /// - Returns: the plane, which the caller must close.
    /// - Throws: `NATSError` when no server can be reached, or it refuses.
    package static func connect(
        _ configuration: NATSConfiguration,
        logger: Logger
    ) async throws(NATSError) -> NATSEventPlane {
        NATSEventPlane(connection: try await .connect(configuration, logger: logger), logger: logger)
    }

    /// Makes what publishes for one rank of a worker.
    package func publisher(_ configuration: PublisherConfiguration) -> KVEventPublisher {
        KVEventPublisher(configuration, connection: self.connection, logger: self.logger)
    }

    /// Makes what receives the events of the workers of an endpoint.
    package func subscriber(
        _ form: DynamoEventForm,
        of endpoint: EndpointID,
        consumer: @escaping KVEventSubscriber.Consumer
    ) -> KVEventSubscriber {
        KVEventSubscriber(self.connection, form: form, endpoint: endpoint, logger: self.logger, consumer: consumer)
    }

    /// Makes what tells the other routers of an endpoint what runs where.
    package func activeSequences(
        _ form: DynamoEventForm,
        of endpoint: EndpointID,
        router: UInt64
    ) -> ActiveSequenceChannel {
        ActiveSequenceChannel(self.connection, form: form, endpoint: endpoint, router: router, logger: self.logger)
    }

    /// The durable stream of the workers of an endpoint.
    package func durableStream(of endpoint: EndpointID) -> DurableEventStream {
        DurableEventStream(JetStream(self.connection), namespace: endpoint.namespace, component: endpoint.component)
    }

    /// Writes what waits, and closes the connection.
    package func close() async {
        do { try await self.connection.drain(timeout: .seconds(2)) } catch { await self.connection.close() }
    }
}
