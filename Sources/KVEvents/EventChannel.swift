package import NATS
package import NIOCore
package import RequestPlane
import Synchronization

/// Publishes the messages of one topic of the event plane, in their envelope and the form of one release.
package final class EventChannel: Sendable {
    /// What discovery tells subscribers about the way of the messages.
    package enum Address: Hashable, Sendable {
        /// NATS core; the subject is the prefix, a dot and the topic.
        case nats(subjectPrefix: String)
        /// A PUB socket.
        case zmq(endpoint: String)
    }

    enum Way: Sendable {
        case nats(NATSConnection)
        case zmq(ZMQSocket, subscribers: AsyncStream<Bool>)
    }

    package let topic: KVEventTopic
    package let form: DynamoEventForm
    /// The endpoint that requests are sent to.
    package let endpoint: EndpointID
    /// The id in the envelope.
    package let publisher: UInt64
    package let address: Address
    private let way: Way
    private let subject: String
    private let sequence = Atomic<UInt64>(0)
    /// What may wait in a connection to NATS; beyond it events wait where they are bounded and can be replaced.
    private static let mostWaiting = 4 * 1024 * 1024

    /// A channel on NATS core.
    package convenience init(
        _ topic: KVEventTopic,
        _ form: DynamoEventForm,
        of endpoint: EndpointID,
        publisher: UInt64,
        connection: NATSConnection
    ) {
        self.init(
            topic,
            form,
            of: endpoint,
            publisher: publisher,
            at: .nats(subjectPrefix: form.subjectPrefix(topic, of: endpoint)),
            .nats(connection)
        )
    }

    init(
        _ topic: KVEventTopic,
        _ form: DynamoEventForm,
        of endpoint: EndpointID,
        publisher: UInt64,
        at address: Address,
        _ way: Way
    ) {
        self.topic = topic
        self.form = form
        self.endpoint = endpoint
        self.publisher = publisher
        self.address = address
        self.way = way
        self.subject = form.subject(topic, of: endpoint)
    }

    /// Hands a message over to be sent, after those before.
    ///
    /// - Parameter payload: what the topic is about, as MessagePack.
    /// - Throws: `NATSError` or `ZMQError` when it was not taken: too much waits, or the connection is lost.
    package func publish(_ payload: ByteBuffer) throws {
        if case .nats(let connection) = self.way {
            let statistics = connection.statistics
            guard statistics.phase == .connected, statistics.queuedBytes < Self.mostWaiting else {
                throw NATSError(
                    .overloaded,
                    "\(statistics.queuedBytes) bytes wait to be sent to NATS (\(statistics.phase))"
                )
            }
        }
        let envelope = EventEnvelope(
            publisher: self.publisher,
            sequence: self.sequence.wrappingAdd(1, ordering: .relaxed).oldValue,
            publishedAt: WallClock.milliseconds,
            topic: self.topic.rawValue,
            payload: payload
        )
        switch self.way {
        case .nats(let connection):
            var message = ByteBuffer()
            message.reserveCapacity(payload.readableBytes + 128)
            message.writeEventEnvelope(envelope)
            try connection.publish(self.subject, payload: message)
        case .zmq(let socket, _): try socket.send(envelope.frames)
        }
    }

    /// Whether subscribers can be reached, each time this changes; call it for one channel of a plane only.
    ///
    /// A PUB socket is always up; a new subscriber may have missed something, so it counts as a change.
    package func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable {
        switch self.way {
        case .nats(let connection): connection.linkChanges()
        case .zmq(_, let subscribers): subscribers
        }
    }
}

extension NATSConnection {
    /// Whether the server can be reached, each time this changes; it can at the beginning.
    func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable {
        self.events().compactMap { event -> Bool? in
            switch event {
            case .disconnected, .closed: false
            case .reconnected: true
            case .slowConsumer, .error: nil
            }
        }
    }
}
