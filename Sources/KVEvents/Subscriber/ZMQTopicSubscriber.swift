import Logging
import NIOCore
import RequestPlane
import Synchronization

/// Receives the messages of one topic from the PUB sockets of all who publish it (contract `kv-events.md`, section 2, "ZMQ event
/// plane").
///
/// Discovery says where they are. A publisher that was just connected to, or again, may have said something before that.
package final class ZMQTopicSubscriber: Sendable {
    /// Gets each message, on the thread of the sockets: it must not block.
    package typealias Consumer = @Sendable (_ message: EventEnvelope, _ form: DynamoEventForm) -> Void

    /// How long a publisher may need to notice what a new subscriber wants.
    private static let settlingTime: Duration = .milliseconds(200)

    private let topic: KVEventTopic
    private let thread: ZMQThread
    private let logger: Logger
    private let consumer: Consumer
    private let linked: @Sendable (_ endpoint: String) -> Void
    private let sockets = Mutex<[String: ZMQSocket]>([:])
    private let counters = Mutex(SubscriberStatistics())

    init(
        _ topic: KVEventTopic,
        thread: ZMQThread,
        logger: Logger,
        consumer: @escaping Consumer,
        linked: @escaping @Sendable (_ endpoint: String) -> Void
    ) {
        self.topic = topic
        self.thread = thread
        self.logger = logger
        self.consumer = consumer
        self.linked = linked
    }

    package var statistics: SubscriberStatistics { self.counters.withLock { $0 } }

    /// Connects to publishers that are new, and leaves those that are gone.
    ///
    /// - Parameter publishers: the form of each publisher's messages, by its endpoint.
    package func follow(_ publishers: [String: DynamoEventForm]) {
        self.sockets.withLock { sockets in
            for (endpoint, socket) in sockets where publishers[endpoint] == nil {
                socket.close()
                sockets[endpoint] = nil
            }
            for (endpoint, form) in publishers where sockets[endpoint] == nil {
                sockets[endpoint] = self.open(endpoint, form)
            }
        }
    }

    /// Leaves all publishers.
    package func close() { self.follow([:]) }

    private func open(_ endpoint: String, _ form: DynamoEventForm) -> ZMQSocket {
        let options = ZMQSocketOptions(
            .subscriber(topics: [self.topic.rawValue]),
            .connect(endpoint),
            highWaterMark: 100_000
        )
        return self.thread.open(options) { result in
            guard case .failure(let error) = result else { return }
            self.logger.error(
                "a publisher of the event plane cannot be connected to",
                metadata: ["endpoint": "\(endpoint)", "error": "\(error)"]
            )
        } handler: { event in
            switch event {
            case .message(let frames): self.receive(frames, from: endpoint, form)
            case .refused: self.counters.withLock { $0.refused += 1 }
            case .connected: self.thread.schedule(after: Self.settlingTime) { self.linked(endpoint) }
            case .disconnected: break
            case .failed(let error):
                self.logger.warning(
                    "a socket of the event plane does not work any more",
                    metadata: ["endpoint": "\(endpoint)", "error": "\(error)"]
                )
            }
        }
    }

    private func receive(_ frames: [ByteBuffer], from endpoint: String, _ form: DynamoEventForm) {
        do throws(MessagePackError) {
            let envelope = try EventEnvelope(frames: frames)
            // A subscription is for a beginning; other topics may begin alike.
            guard envelope.topic == self.topic.rawValue else {
                self.counters.withLock { $0.refused += 1 }
                return
            }
            self.counters.withLock { $0.messages += 1 }
            self.consumer(envelope, form)
        } catch {
            self.refuse(endpoint, "\(error)")
        }
    }

    private func refuse(_ endpoint: String, _ reason: String) {
        self.counters.withLock { $0.refused += 1 }
        self.logger.warning(
            "a message of the event plane cannot be read and is left out",
            metadata: ["endpoint": "\(endpoint)", "error": "\(reason)"]
        )
    }
}
