package import KVRouter
import Logging
package import NATS
import NIOCore
import RequestPlane
import Synchronization

/// Tells the other routers of an endpoint what runs where, and hears it from them (contract `kv-events.md`, section 6).
package final class ActiveSequenceChannel: Sendable {
    private let connection: NATSConnection
    private let subject: String
    /// The id in the envelopes.
    private let publisher: UInt64
    private let logger: Logger
    private let sequence = Atomic<UInt64>(0)
    private let lost = Atomic<Int>(0)

    init(_ connection: NATSConnection, form: DynamoEventForm, endpoint: EndpointID, publisher: UInt64, logger: Logger) {
        self.connection = connection
        self.subject = form.subject(.activeSequences, of: endpoint)
        self.publisher = publisher
        self.logger = logger
    }

    /// Events that could not be sent.
    package var lostEvents: Int { self.lost.load(ordering: .relaxed) }

    /// Sends an event; one that cannot be sent is lost: the others forget the request in time.
    package func publish(_ event: ActiveSequenceEvent) {
        var payload = ByteBuffer()
        payload.writeActiveSequenceEvent(event)
        var message = ByteBuffer()
        message.writeEventEnvelope(
            EventEnvelope(
                publisher: self.publisher,
                sequence: self.sequence.wrappingAdd(1, ordering: .relaxed).oldValue,
                publishedAt: WallClock.milliseconds,
                topic: KVEventTopic.activeSequences.rawValue,
                payload: payload
            )
        )
        do throws(NATSError) { try self.connection.publish(self.subject, payload: message) } catch {
            let before = self.lost.wrappingAdd(1, ordering: .relaxed).oldValue
            // The first of an outage is enough for the log.
            guard before == 0 else { return }
            self.logger.warning(
                "another router cannot be told what runs where",
                metadata: ["subject": "\(self.subject)", "error": "\(error)"]
            )
        }
    }

    /// Receives until cancelled, or until the connection is closed.
    ///
    /// - Parameters:
    ///   - ready: called once everything that is published from now on will be received.
    ///   - consumer: gets each event, this router's own too, on a thread of the connection: it must not block.
    /// - Throws: `NATSError` when the server does not let us subscribe, or the connection is closed.
    package func run(
        ready: @Sendable () -> Void = {},
        consumer: @escaping @Sendable (ActiveSequenceEvent) -> Void
    ) async throws(NATSError) {
        let (ended, end) = AsyncStream.makeStream(of: NATSError.self)
        let subscription = try await self.connection.subscribe(self.subject) { error in
            if let error { end.yield(error) }
            end.finish()
        } handler: { message in
            for event in self.read(message.payload) { consumer(event) }
            return .more
        }
        defer { subscription.unsubscribe() }
        try await self.connection.flush()
        ready()
        for await error in ended { throw error }
    }

    private func read(_ message: ByteBuffer) -> [ActiveSequenceEvent] {
        do throws(MessagePackError) {
            let envelope = try EventEnvelope(message)
            guard envelope.topic == KVEventTopic.activeSequences.rawValue else { return [] }
            return try ActiveSequenceEvent.read(envelope.payload)
        } catch {
            self.logger.warning(
                "what another router tells cannot be read and is left out",
                metadata: ["subject": "\(self.subject)", "error": "\(error)"]
            )
            return []
        }
    }
}
