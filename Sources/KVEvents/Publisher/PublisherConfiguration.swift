package import RequestPlane

/// Who publishes KV events, for which routers, and how much may wait.
package struct PublisherConfiguration: Hashable, Sendable {
    /// How routers learn of events (contract `kv-events.md`, section 1).
    package enum Mode: String, Hashable, Sendable, CaseIterable {
        /// Messages that may get lost, on NATS core or ZeroMQ; what is lost is asked for at the worker's own index.
        case localIndex
        /// A stream of JetStream keeps the messages; nobody is asked, and nobody checks the ids of events.
        case durable
        /// Nothing is published: routers predict.
        case none
    }

    package var mode: Mode
    package var form: DynamoEventForm
    /// The endpoint that requests are sent to.
    package var endpoint: EndpointID
    /// The worker's instance id in discovery.
    package var worker: UInt64
    /// The data-parallel rank that this publisher speaks for.
    package var rank: UInt32
    /// The id in the envelope: the worker's on 1.2, the event source's on 1.6.
    package var publisher: UInt64
    /// Events that are kept for routers which have missed some.
    package var recentEvents = 4096
    /// Events that may wait to be sent before they are given up for a full resync.
    package var maximumQueuedEvents = 65_536
    /// Bytes that may wait to be sent, estimated from the number of blocks.
    package var maximumQueuedBytes = 64 * 1024 * 1024
    /// Events in one message, where the release takes several.
    package var eventsPerMessage = 64
    /// Blocks in one event of a resync, so that it stays well below what a NATS server takes in one message.
    package var blocksPerEvent = 4096

    package init(
        mode: Mode = .localIndex,
        form: DynamoEventForm,
        endpoint: EndpointID,
        worker: UInt64,
        rank: UInt32 = 0,
        publisher: UInt64? = nil
    ) {
        self.mode = mode
        self.form = form
        self.endpoint = endpoint
        self.worker = worker
        self.rank = rank
        self.publisher = publisher ?? worker
    }

    /// What to register for routers of this form that have missed something.
    package var queryEndpoint: EndpointID {
        EndpointID(
            namespace: self.endpoint.namespace,
            component: self.endpoint.component,
            name: self.form.queryEndpoint(rank: self.rank, publisher: self.publisher)
        )
    }
}
