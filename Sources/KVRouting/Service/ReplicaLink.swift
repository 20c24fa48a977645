import Discovery
import KVEvents
import KVRouter
import Logging
import NIOCore
import RequestPlane
import Synchronization

/// Tells the other routers of an endpoint what runs where, and hears it from them, on either plane (contract `kv-events.md`,
/// section 6).
///
/// Routers of 1.2 and of 1.6 listen in different places, so everything is told in both. One of our own hears it twice, which
/// changes nothing.
final class ReplicaLink: Sendable {
    private enum Way {
        case nats([ActiveSequenceChannel])
        /// The channels are open once the link has been.
        case zmq(ZMQEventPlane)
    }

    private let endpoint: EndpointID
    private let router: UInt64
    /// The id in the envelopes and records of 1.6, one of its own below 2^53.
    private let publisher = UInt64.random(in: 1..<(1 << 53))
    private let way: Way
    private let logger: Logger
    private let channels: Mutex<[EventChannel]> = Mutex([])
    private let hasLost = Atomic(false)

    init(of endpoint: EndpointID, router: UInt64, plane: RoutingPlane, logger: Logger) {
        self.endpoint = endpoint
        self.router = router
        self.logger = logger
        switch plane.way {
        case .zmq(let plane): self.way = .zmq(plane)
        case .nats(let plane):
            let own = self.publisher
            self.way = .nats(
                DynamoEventForm.allCases.map { form in
                    let id = form == .release12 ? router : own
                    return plane.activeSequences(form, of: endpoint, publisher: id)
                }
            )
        }
    }

    /// Opens what publishes; call it once, before discovery tells of it.
    ///
    /// - Returns: what discovery should tell.
    /// - Throws: `ZMQError` when a socket cannot be opened.
    func open() async throws -> [DiscoveryRecord] {
        var records: [DiscoveryRecord] = []
        for form in DynamoEventForm.allCases {
            let id = form == .release12 ? self.router : self.publisher
            let address: EventChannel.Address
            switch self.way {
            case .nats: address = .nats(subjectPrefix: form.subjectPrefix(.activeSequences, of: self.endpoint))
            case .zmq(let plane):
                let channel = try await plane.channel(.activeSequences, form, of: self.endpoint, publisher: id)
                self.channels.withLock { $0.append(channel) }
                address = channel.address
            }
            records.append(.eventChannel(EventChannelRecord(.activeSequences, form, self.endpoint, id, address)))
        }
        return records
    }

    /// Sends an event; one that cannot be sent is lost: the others forget the request in time.
    func publish(_ event: ActiveSequenceEvent) {
        switch self.way {
        case .nats(let channels): for channel in channels { channel.publish(event) }
        case .zmq:
            for channel in self.channels.withLock({ $0 }) {
                var payload = ByteBuffer()
                // On ZeroMQ 1.6 has several in a message.
                if channel.form == .release16 {
                    payload.writeActiveSequenceEvents([event])
                } else {
                    payload.writeActiveSequenceEvent(event)
                }
                do { try channel.publish(payload) } catch {
                    guard !self.hasLost.exchange(true, ordering: .relaxed) else { continue }
                    self.logger.warning(
                        "another router cannot be told what runs where",
                        metadata: ["error": "\(error)"]
                    )
                }
            }
        }
    }

    /// Receives until cancelled.
    ///
    /// - Parameters:
    ///   - snapshots: the states of discovery.
    ///   - ready: called once everything that is published from now on will be received; on ZeroMQ when discovery was read.
    ///   - consumer: gets each event, this router's own too; it must not block.
    /// - Throws: what the connection to NATS ends with.
    func run(
        _ snapshots: AsyncStream<DiscoverySnapshot>,
        ready: @escaping @Sendable () -> Void,
        consumer: @escaping @Sendable (ActiveSequenceEvent) -> Void
    ) async throws {
        switch self.way {
        case .nats(let channels):
            let (listening, isListening) = AsyncStream.makeStream(of: Void.self)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for channel in channels {
                    group.addTask { try await channel.run(ready: { isListening.yield() }, consumer: consumer) }
                }
                group.addTask {
                    for await _ in listening.prefix(channels.count) {}
                    ready()
                }
                while try await group.next() != nil {}
            }
        case .zmq(let plane):
            let logger = self.logger
            let subscriber = plane.subscriber(.activeSequences) { message, _ in
                do throws(MessagePackError) {
                    for event in try ActiveSequenceEvent.read(message.payload) { consumer(event) }
                } catch {
                    logger.warning(
                        "what another router tells cannot be read and is left out",
                        metadata: ["error": "\(error)"]
                    )
                }
            }
            for await snapshot in snapshots {
                subscriber.follow(snapshot.zmqPublishers(.activeSequences, of: self.endpoint).mapValues(\.form))
                ready()
            }
            subscriber.close()
        }
    }
}

extension EventChannelRecord {
    /// What discovery tells of a channel, in the form of a release.
    init(
        _ topic: KVEventTopic,
        _ form: DynamoEventForm,
        _ endpoint: EndpointID,
        _ publisher: UInt64,
        _ address: EventChannel.Address
    ) {
        let scope: EventScope =
            switch form {
            case .release12:
                topic == .load
                    ? .namespace(endpoint.namespace)
                    : .component(namespace: endpoint.namespace, component: endpoint.component)
            case .release16: .endpoint(endpoint)
            }
        let transport: EventChannelRecord.Transport =
            switch address {
            case .nats(let prefix): .nats(subjectPrefix: prefix)
            case .zmq(let endpoint): .zmq(endpoint: endpoint)
            }
        self.init(
            scope: scope,
            topic: topic.rawValue,
            publisher: InstanceID(rawValue: publisher),
            transport: transport
        )
    }
}
