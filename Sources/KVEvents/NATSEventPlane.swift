package import Logging
package import NATS
package import RequestPlane

/// A process's place on the event plane of NATS.
package struct NATSEventPlane: EventPlane {
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

    /// Makes what publishes for one rank of a worker, in the form of one release.
    package func publisher(_ configuration: PublisherConfiguration) -> KVEventPublisher {
        KVEventPublisher(configuration, connection: self.connection, logger: self.logger)
    }

    package func channel(
        _ topic: KVEventTopic,
        _ form: DynamoEventForm,
        of endpoint: EndpointID,
        publisher: UInt64
    ) -> EventChannel {
        EventChannel(topic, form, of: endpoint, publisher: publisher, connection: self.connection)
    }

    /// Makes what publishes for one rank of a worker into the durable stream of its component.
    ///
    /// - Parameters:
    ///   - configuration: who publishes.
    ///   - age: how old events get in a stream that does not exist yet.
    /// - Returns: the publisher; the stream exists.
    /// - Throws: `JetStreamError` when the server has no JetStream, or refuses.
    package func durablePublisher(
        _ configuration: PublisherConfiguration,
        age: Duration = .seconds(3600)
    ) async throws(JetStreamError) -> KVEventPublisher {
        let stream = DurableEventStream(
            JetStream(self.connection),
            namespace: configuration.endpoint.namespace,
            component: configuration.endpoint.component
        )
        try await stream.create(age: age)
        var configuration = configuration
        configuration.mode = .durable
        return KVEventPublisher(configuration, sink: DurableSink(stream, age: age), logger: self.logger)
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
        publisher: UInt64
    ) -> ActiveSequenceChannel {
        ActiveSequenceChannel(
            self.connection,
            form: form,
            endpoint: endpoint,
            publisher: publisher,
            logger: self.logger
        )
    }

    /// Whether the server can be reached, each time this changes.
    package func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable { self.connection.linkChanges() }

    /// The durable stream of the workers of an endpoint.
    package func durableStream(of endpoint: EndpointID) -> DurableEventStream {
        DurableEventStream(JetStream(self.connection), namespace: endpoint.namespace, component: endpoint.component)
    }

    /// Writes what waits, and closes the connection.
    package func close() async {
        do { try await self.connection.drain(timeout: .seconds(2)) } catch { await self.connection.close() }
    }
}
