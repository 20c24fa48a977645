import Discovery
import DynamoRuntime
import KVEvents
import KVRouter
import KVRouting
import Logging
import RequestPlane
import RequestPlaneTransports

/// Tells routers what the worker's cache holds and how much of it is used, on the event plane of the environment.
struct WorkerEvents: KVChangeSink {
    private let plane: any EventPlane
    let publisher: KVEventPublisher
    private let load: LoadPublisher
    /// Who publishes KV events, for the routers of each release; none if events are durable.
    private let voices: [PublisherConfiguration]
    private let channels: [EventChannel]

    /// Connects to the event plane.
    ///
    /// - Parameters:
    ///   - endpoint: the one that requests are sent to.
    ///   - settings: which plane, and how.
    ///   - environment: where NATS is.
    ///   - runtime: under whose instance id is published.
    /// - Returns: nil when there is no event plane.
    /// - Throws: what connecting throws.
    static func connect(
        _ endpoint: EndpointID,
        _ settings: EventSettings,
        _ environment: ProcessEnvironment,
        _ runtime: RuntimeService
    ) async throws -> WorkerEvents? {
        switch settings.plane {
        case .none: return nil
        case .zmq:
            let plane = try ZMQEventPlane(announcing: settings.host, logger: runtime.logger)
            return try await WorkerEvents(plane, endpoint, settings, runtime, durable: nil)
        case .nats:
            let plane = try await NATSEventPlane.connect(
                try environment.requestPlane.nats.connection.get(),
                logger: runtime.logger
            )
            return try await WorkerEvents(plane, endpoint, settings, runtime, durable: plane)
        }
    }

    private init(
        _ plane: any EventPlane,
        _ endpoint: EndpointID,
        _ settings: EventSettings,
        _ runtime: RuntimeService,
        durable: NATSEventPlane?
    ) async throws {
        let worker = try await runtime.discovery.instanceID().rawValue
        let voices = settings.forms.map { form in
            PublisherConfiguration(form: form, endpoint: endpoint, worker: worker, publisher: Self.id(form, worker))
        }
        var loads: [EventChannel] = []
        for form in settings.forms {
            loads.append(try await plane.channel(.load, form, of: endpoint, publisher: Self.id(form, worker)))
        }
        if let age = settings.durableAge, let durable {
            self.publisher = try await durable.durablePublisher(voices[0], age: age)
            self.voices = []
            self.channels = loads
        } else {
            var channels: [EventChannel] = []
            for voice in voices {
                channels.append(
                    try await plane.channel(.events, voice.form, of: endpoint, publisher: voice.publisher)
                )
            }
            self.publisher = KVEventPublisher(voices[0], sink: SeveralFormsSink(channels), logger: runtime.logger)
            self.voices = voices
            self.channels = channels + loads
        }
        self.load = LoadPublisher(loads, worker: WorkerRank(worker: worker), logger: runtime.logger)
        self.plane = plane
    }

    /// The id in the envelopes: the worker's own on 1.2, one of each publisher's own, below 2^53, on 1.6 (contract `discovery.md`,
    /// section 1).
    private static func id(_ form: DynamoEventForm, _ worker: UInt64) -> UInt64 {
        switch form {
        case .release12: worker
        case .release16: .random(in: 1..<(1 << 53))
        }
    }

    /// Whether the worker answers what a router has missed.
    var hasLocalIndexer: Bool { !self.voices.isEmpty }

    /// What routers ask that have missed something.
    var queryEndpoints: [RuntimeService.Endpoint] {
        self.voices.map { voice in
            RuntimeService.Endpoint(
                id: voice.queryEndpoint,
                card: nil,
                handler: self.publisher.queryHandler(voice.form)
            )
        }
    }

    /// What discovery says beside the instances.
    func records(_ instances: [InstanceRecord]) -> [DiscoveryRecord] {
        self.voices.compactMap { $0.sourceRecord(instances) }.map(DiscoveryRecord.eventSource)
            + self.channels.map { .eventChannel($0.record) }
    }

    func record(_ changes: [KVEvent.Change], rank: UInt32) {
        for change in changes { self.publisher.publish(change) }
    }

    /// Takes the number of blocks that running requests use.
    func update(usedBlocks: Int) { self.load.update(usedBlocks: UInt64(max(0, usedBlocks))) }

    /// Publishes until cancelled.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.publisher.run() }
            group.addTask { await self.load.run() }
        }
        await self.plane.close()
    }
}
