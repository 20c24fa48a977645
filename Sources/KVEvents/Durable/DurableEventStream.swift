package import KVRouter
package import NATS
import NIOCore

/// The durable stream of a component's KV events, with the bucket for its snapshots (contract `kv-events.md`, section 7).
///
/// Workers publish to it with acknowledgement; each router has a consumer of its own. What all routers have applied is
/// replaced by a snapshot when the stream grows.
package struct DurableEventStream: Sendable {
    package let jetStream: JetStream
    /// Of the stream.
    package let name: String
    /// Of the bucket with the snapshots.
    package let bucket: String

    private static let snapshotName = "radix-state"

    /// - Parameters:
    ///   - jetStream: where.
    ///   - namespace: the deployment's.
    ///   - component: the workers'.
    package init(_ jetStream: JetStream, namespace: String, component: String) {
        self.jetStream = jetStream
        self.name = "namespace-\(namespace)-component-\(component)-kv-events"
        self.bucket = "namespace-\(namespace)-component-\(component)-radix-bucket"
    }

    /// Where workers publish.
    package var subject: String { "\(self.name).\(KVEventTopic.events.rawValue)" }

    /// Makes sure that the stream exists; it is taken as it is if it does.
    ///
    /// - Parameter age: how old events get; Dynamo's default is one hour.
    /// - Throws: `JetStreamError`.
    package func create(age: Duration = .seconds(3600)) async throws(JetStreamError) {
        try await self.jetStream.createStreamIfAbsent(
            StreamConfiguration(name: self.name, subjects: ["\(self.name).*"], age: age)
        )
    }

    /// An event as a message of the stream.
    ///
    /// - Parameter event: what it says.
    /// - Returns: what a `JetStreamPublisher` takes.
    package func message(_ event: RouterEvent) -> StreamMessage {
        var payload = ByteBuffer()
        // Durable events went with 1.6.
        payload.writeRouterEventJSON(event, form: .release12)
        return StreamMessage(subject: self.subject, payload: payload)
    }

    /// A router's place in the stream, from the oldest event on; it is forgotten after five minutes without its router.
    ///
    /// - Parameter router: its instance id.
    /// - Returns: the consumer, which the router deletes when it leaves.
    /// - Throws: `JetStreamError`.
    package func consumer(of router: UInt64) async throws(JetStreamError) -> JetStreamConsumer {
        var configuration = ConsumerConfiguration(name: "\(router)")
        configuration.inactiveThreshold = .seconds(300)
        return try await self.jetStream.consumer(configuration, of: self.name)
    }

    // MARK: Snapshots

    /// The newest snapshot.
    ///
    /// - Returns: what a router has written; nil when there is none.
    /// - Throws: `JetStreamError`, `damaged` when it is not what was written.
    package func snapshot() async throws(JetStreamError) -> [UInt8]? {
        do throws(JetStreamError) {
            let store = try await ObjectStore.open(self.bucket, in: self.jetStream)
            return Array(buffer: try await store.get(Self.snapshotName))
        } catch  where error.code == .streamMissing || error.code == .notFound {
            return nil
        }
    }

    /// Writes a snapshot and purges the events that it replaces, if the stream holds more than a threshold.
    ///
    /// The snapshot is there before events go, so that a router that starts in between misses nothing. Only events go that all
    /// routers have acknowledged.
    ///
    /// - Parameters:
    ///   - threshold: messages that the stream may hold; Dynamo's default is 1,000,000.
    ///   - router: whose snapshot it is; its acknowledgements must have been confirmed.
    ///   - snapshot: the state with every event that this router has acknowledged.
    /// - Returns: how many events were purged; nil when there was nothing to do.
    /// - Throws: `JetStreamError`.
    package func compact(
        above threshold: UInt64,
        router: UInt64,
        _ snapshot: () async -> [UInt8]
    ) async throws(JetStreamError) -> UInt64? {
        guard try await self.jetStream.stream(self.name).state.messages > threshold else { return nil }
        var lowest: UInt64?
        for name in try await self.jetStream.consumerNames(of: self.name) {
            let consumer = JetStreamConsumer(jetStream: self.jetStream, stream: self.name, name: name)
            do throws(JetStreamError) {
                let floor = try await consumer.info().acknowledgementFloor.streamSequence
                lowest = min(lowest ?? floor, floor)
            } catch  where error.code == .consumerMissing && name != "\(router)" {
                // Its router has left since it was listed.
                continue
            }
        }
        guard let lowest, lowest > 0, lowest < .max else { return nil }
        let store = try await ObjectStore.create(self.bucket, in: self.jetStream)
        try await store.put(Self.snapshotName, ByteBuffer(bytes: await snapshot()))
        return try await self.jetStream.purge(self.name, .below(lowest + 1))
    }

    /// Forgets all events and snapshots, as a router's reset flag asks for.
    ///
    /// - Throws: `JetStreamError`.
    package func reset() async throws(JetStreamError) {
        try await self.jetStream.purge(self.name, .all)
        do throws(JetStreamError) {
            try await ObjectStore.delete(self.bucket, in: self.jetStream)
        } catch  where error.code == .streamMissing {
            return
        }
    }
}
