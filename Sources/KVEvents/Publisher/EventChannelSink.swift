package import KVRouter
package import NATS
import NIOCore
import Synchronization

/// Sends events as messages of NATS core, in the envelope of the event plane.
package final class NATSCoreSink: KVEventSink {
    private let connection: NATSConnection
    private let configuration: PublisherConfiguration
    private let subject: String
    private let sequence = Atomic<UInt64>(0)
    /// What may wait in the connection; beyond it events wait here, where they are bounded and can be replaced.
    private static let mostWaiting = 4 * 1024 * 1024

    package init(_ connection: NATSConnection, configuration: PublisherConfiguration) {
        self.connection = connection
        self.configuration = configuration
        self.subject = configuration.form.subject(.events, of: configuration.endpoint)
    }

    package func send(_ events: [RouterEvent]) async throws {
        let statistics = self.connection.statistics
        guard statistics.phase == .connected, statistics.queuedBytes < Self.mostWaiting else {
            throw NATSError(
                .overloaded,
                "\(statistics.queuedBytes) bytes wait to be sent to NATS (\(statistics.phase))"
            )
        }
        if self.configuration.form.takesBatches {
            try self.publish(events[...])
        } else {
            for index in events.indices { try self.publish(events[index...index]) }
        }
    }

    private func publish(_ events: ArraySlice<RouterEvent>) throws(NATSError) {
        var payload = ByteBuffer()
        payload.reserveCapacity(events.reduce(0) { $0 + $1.estimatedSize })
        payload.writeRouterEvents(events, form: self.configuration.form)
        var message = ByteBuffer()
        message.reserveCapacity(payload.readableBytes + 128)
        message.writeEventEnvelope(
            EventEnvelope(
                publisher: self.configuration.publisher,
                sequence: self.sequence.wrappingAdd(1, ordering: .relaxed).oldValue,
                publishedAt: WallClock.milliseconds,
                topic: KVEventTopic.events.rawValue,
                payload: payload
            )
        )
        try self.connection.publish(self.subject, payload: message)
    }

    package func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable {
        self.connection.events().compactMap { event -> Bool? in
            switch event {
            case .disconnected, .closed: false
            case .reconnected: true
            case .slowConsumer, .error: nil
            }
        }
    }
}
