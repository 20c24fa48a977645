package import KVRouter
import NATS
import NIOCore

/// Sends events to the durable stream of a component, each acknowledged.
///
/// A message carries an id made of the worker and the event, so that the stream stores an event once even when its acknowledgement was
/// lost: those who read the stream do not check the ids of events.
package actor DurableSink: KVEventSink {
    private let stream: DurableEventStream
    private let age: Duration
    private let publisher: JetStreamPublisher
    private var disorders = 0
    /// Whether the stream no longer has everything that was sent before.
    private var loss: String?

    /// - Parameters:
    ///   - stream: exists already.
    ///   - age: how old events get if the stream must be created again.
    package init(_ stream: DurableEventStream, age: Duration = .seconds(3600)) {
        self.stream = stream
        self.age = age
        self.publisher = JetStreamPublisher(stream.jetStream)
    }

    package func send(_ events: [RouterEvent]) async throws {
        if let loss = self.loss {
            try await self.stream.create(age: self.age)
            self.loss = nil
            throw EventsLost(loss)
        }
        do throws(JetStreamError) {
            for event in events { try await self.publisher.publish(self.message(event)) }
            try await self.publisher.flush()
        } catch {
            switch error.code {
            case .streamMissing, .refused, .differs, .damaged, .invalidArgument: self.loss = "\(error)"
            default: break
            }
            throw error
        }
        let disorders = self.publisher.statistics.disorders
        guard disorders == self.disorders else {
            self.disorders = disorders
            throw EventsLost(
                "the stream '\(self.stream.name)' has stored events in another order, because the connection was lost"
            )
        }
    }

    private func message(_ event: RouterEvent) -> StreamMessage {
        var message = self.stream.message(event)
        message.id = "\(event.worker)-\(event.event.rank)-\(event.event.id)"
        return message
    }

    package nonisolated func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable {
        self.stream.jetStream.connection.linkChanges()
    }
}
