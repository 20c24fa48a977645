package import KVRouter
package import Logging
package import NATS
import NIOCore
package import RequestPlane
import Synchronization

/// Receives what the workers of a component publish on NATS core.
package final class KVEventSubscriber: Sendable {
    /// Gets the events of one message, in order, on a thread of the connection: it must not block.
    ///
    /// - Parameters:
    ///   - events: one or more.
    ///   - publisher: who has sent them: the worker on 1.2, the event source on 1.6.
    package typealias Consumer = @Sendable (_ events: [RouterEvent], _ publisher: UInt64) -> Void

    private let connection: NATSConnection
    private let subject: String
    private let logger: Logger
    private let consumer: Consumer
    private let counters = Mutex(SubscriberStatistics())

    package init(
        _ connection: NATSConnection,
        form: DynamoEventForm,
        endpoint: EndpointID,
        logger: Logger,
        consumer: @escaping Consumer
    ) {
        self.connection = connection
        self.subject = form.subject(.events, of: endpoint)
        self.logger = logger
        self.consumer = consumer
    }

    package var statistics: SubscriberStatistics { self.counters.withLock { $0 } }

    /// Receives until cancelled, or until the connection is closed.
    ///
    /// - Parameter ready: called once everything that is published from now on will be received.
    /// - Throws: `NATSError` when the server does not let us subscribe, or the connection is closed.
    package func run(ready: @Sendable () -> Void = {}) async throws(NATSError) {
        let (ended, end) = AsyncStream.makeStream(of: NATSError.self)
        let subscription = try await self.connection.subscribe(self.subject) { error in
            if let error { end.yield(error) }
            end.finish()
        } handler: { message in
            self.receive(message.payload)
            return .more
        }
        defer { subscription.unsubscribe() }
        try await self.connection.flush()
        ready()
        for await error in ended { throw error }
    }

    private func receive(_ message: ByteBuffer) {
        do throws(MessagePackError) {
            let envelope = try EventEnvelope(message)
            // Others are not for us: Dynamo ignores them too.
            guard envelope.topic == KVEventTopic.events.rawValue else {
                self.counters.withLock { $0.refused += 1 }
                return
            }
            let events = try RouterEvent.read(envelope.payload)
            self.counters.withLock {
                $0.messages += 1
                $0.events += events.count
            }
            self.consumer(events, envelope.publisher)
        } catch {
            self.counters.withLock { $0.refused += 1 }
            self.logger.warning(
                "a KV event cannot be read and is left out",
                metadata: ["subject": "\(self.subject)", "error": "\(error)"]
            )
        }
    }
}

/// Counters of a subscriber since its beginning.
package struct SubscriberStatistics: Hashable, Sendable {
    package var messages = 0
    package var events = 0
    /// Messages that could not be read, or are about something else.
    package var refused = 0

    package init() {}
}
