package import Logging
package import RequestPlane

/// A process's place on the event plane of ZeroMQ: a PUB socket for each topic, found through discovery (contract `kv-events.md`,
/// section 2, "ZMQ event plane").
package struct ZMQEventPlane: EventPlane {
    private let thread: ZMQThread
    private let host: String
    private let logger: Logger
    private let subscribers: AsyncStream<Bool>
    private let subscriber: AsyncStream<Bool>.Continuation

    /// Opens no socket yet.
    ///
    /// - Parameters:
    ///   - host: the address that subscribers are told, an IP literal.
    ///   - logger: hears of sockets that do not work any more.
    /// - Throws: `ZMQError` when the system has no thread or descriptor left.
    package init(announcing host: String, logger: Logger) throws(ZMQError) {
        self.thread = try ZMQThread()
        self.host = host
        self.logger = logger
        (self.subscribers, self.subscriber) = AsyncStream.makeStream(
            of: Bool.self,
            bufferingPolicy: .bufferingNewest(1)
        )
    }

    /// As Dynamo does, a socket listens on all addresses and any free port; one that is announced on loopback listens only there.
    package func channel(
        _ topic: KVEventTopic,
        _ form: DynamoEventForm,
        of endpoint: EndpointID,
        publisher: UInt64
    ) async throws -> EventChannel {
        let isIPv6 = self.host.contains(":")
        let loopback = isIPv6 ? self.host == "::1" : self.host.hasPrefix("127.")
        let announced = isIPv6 ? "[\(self.host)]" : self.host
        let bound = loopback ? announced : isIPv6 ? "[::]" : "0.0.0.0"
        let (logger, subscriber) = (self.logger, self.subscriber)
        let (socket, place) = try await self.thread.open(ZMQSocketOptions(.publisher, .bind("tcp://\(bound):*"))) {
            event in
            switch event {
            case .connected: subscriber.yield(true)
            case .failed(let error):
                logger.warning("a message of the event plane is lost", metadata: ["error": "\(error)"])
            case .message, .refused, .disconnected: break
            }
        }
        guard let port = place.split(separator: ":").last.flatMap({ UInt16($0) }) else {
            throw ZMQError(.internalFailure, endpoint: place, "ZeroMQ has bound '\(place)', which has no port")
        }
        return EventChannel(
            topic,
            form,
            of: endpoint,
            publisher: publisher,
            at: .zmq(endpoint: "tcp://\(announced):\(port)"),
            .zmq(socket, subscribers: self.subscribers)
        )
    }

    /// Makes what receives the messages of a topic; it connects to nobody yet.
    ///
    /// - Parameters:
    ///   - topic: what they are about.
    ///   - consumer: gets each message, on the thread of the sockets: it must not block.
    ///   - linked: called a moment after a publisher was connected to, or again, with its endpoint.
    /// - Returns: the subscriber, which the caller must close.
    package func subscriber(
        _ topic: KVEventTopic,
        consumer: @escaping ZMQTopicSubscriber.Consumer,
        linked: @escaping @Sendable (_ endpoint: String) -> Void = { _ in }
    ) -> ZMQTopicSubscriber {
        ZMQTopicSubscriber(topic, thread: self.thread, logger: self.logger, consumer: consumer, linked: linked)
    }

    package func close() async { await self.thread.shutdown() }
}
