import Deployment
import Discovery
import DynamoRuntime
import KVEvents
import KVRouting
import Logging
import RequestPlane
import RequestPlaneTransports
import Supervisor
import Synchronization

/// Publishes the KV events of one run of a replica under the instance that it registers.
///
/// It listens to the engine from the start of the process, so that nothing is missed that the engine says before its worker is known. As
/// soon as the worker is in discovery, it publishes for it, and registers beside it the endpoints that routers ask for what they have
/// missed. A worker that registers anew, under another id, is followed.
final class ReplicaRelay: Sendable {
    private struct State {
        var status = KVRelayStatus(.waiting, reason: "the engine has been started")
        var publishers: [KVEventPublisher] = []
        /// Sent by publishers that are gone.
        var published = 0
        var resyncs = 0
    }

    private let replica: ReplicaPlan
    private let events: KVRelayPlan
    private let plan: Plan
    private let connection: RelayConnection
    private let discovery: (any DiscoveryClient)?
    private let logger: Logger
    private let say: @Sendable (String) -> Void
    private let publication: RelayPublication
    private let relays: [EngineRelay]
    private let state = Mutex(State())

    /// The first release whose routers know workers' events by their source.
    private static let eventSources = DynamoRelease(1, 3, 0)
    /// Between two looks for the worker.
    private static let lookPause: Duration = .milliseconds(200)
    /// Between two looks whether the worker is still there.
    private static let watchPause: Duration = .seconds(1)
    /// After this time people hear what is waited for; loading a model takes longer, but then the worker is not ready either.
    private static let patience: Duration = .seconds(30)

    init(
        replica: ReplicaPlan,
        events: KVRelayPlan,
        plan: Plan,
        thread: ZMQThread,
        connection: RelayConnection,
        logger: Logger,
        say: @escaping @Sendable (String) -> Void
    ) {
        self.replica = replica
        self.events = events
        self.plan = plan
        self.connection = connection
        self.discovery = RegistrationCheck(plan: plan, logger: logger).client
        self.logger = logger
        self.say = say
        let publication = RelayPublication(ranks: events.sources.count, logger: logger)
        self.publication = publication
        self.relays = events.sources.map { source in
            EngineRelay(
                EngineRelay.Configuration(
                    endpoint: source.engine,
                    replayEndpoint: source.replay,
                    topic: events.topic,
                    rules: .v121(blockSize: events.blockSize)
                ),
                thread: thread,
                logger: logger,
                sink: { publication.take($0) }
            )
        }
    }

    // MARK: Status

    var status: KVRelayStatus {
        let (base, publishers, published, resyncs) = self.state.withLock {
            ($0.status, $0.publishers.map(\.statistics), $0.published, $0.resyncs)
        }
        var status = base
        status.blocks = self.publication.blockCount
        status.published = publishers.reduce(published) { $0 + $1.sent }
        status.resyncs = publishers.reduce(resyncs) { $0 + $1.resyncs }
        status.refused = self.publication.otherRanks
        for statistics in self.relays.map(\.statistics) { status.add(statistics) }
        return status
    }

    private func wait(for reason: String) {
        self.state.withLock {
            $0.status.state = .waiting
            $0.status.reason = reason
            $0.status.worker = nil
        }
    }

    // MARK: Running

    /// Relays until cancelled, or until it has to be given up, which is said and stays in the status.
    func run() async {
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for relay in self.relays { group.addTask { try await relay.run() } }
                group.addTask { try await self.follow() }
                defer { group.cancelAll() }
                try await group.next()
            }
        } catch {
            guard !Task.isCancelled else { return }
            self.state.withLock {
                $0.status.state = .failed
                $0.status.reason = "\(error)"
                $0.status.worker = nil
            }
            self.logger.error("its KV events are not published any more: \(error)")
        }
    }

    /// Publishes for one instance after the other, until cancelled.
    private func follow() async throws {
        var since = ContinuousClock.now
        var hasComplained = false
        while true {
            let trouble: RelayTrouble
            switch await self.look() {
            case .failure(let reason): trouble = reason
            case .success(let worker):
                do {
                    try await self.serve(worker)
                    trouble = RelayTrouble(description: "instance \(worker.id) is not in discovery any more")
                } catch {
                    try Task.checkCancellation()
                    trouble = RelayTrouble(description: "\(error)")
                }
                (since, hasComplained) = (.now, false)
            }
            self.wait(for: trouble.description)
            if !hasComplained, .now - since > Self.patience, await self.instance() != nil {
                hasComplained = true
                self.logger.warning("its KV events are not published yet: \(trouble)")
            }
            try await Task.sleep(for: Self.lookPause)
        }
    }

    private func instance() async -> InstanceID? {
        guard let port = self.replica.ports.first(where: { $0.name == "system" })?.port else { return nil }
        return await RegistrationCheck.instance(systemPort: port)
    }

    /// Looks for the worker that the replica is.
    private func look() async -> Result<RelayedWorker, RelayTrouble> {
        guard let id = await self.instance() else {
            return .failure(RelayTrouble(description: "its system server names no instance yet"))
        }
        if let trouble = self.connection.trouble { return .failure(trouble) }
        guard let discovery = self.discovery else {
            return .failure(RelayTrouble(description: "discovery in memory cannot be read from outside"))
        }
        do {
            let snapshot = try await discovery.snapshot(.exact(self.plan.namespace))
            return RelayedWorker.find(id, in: snapshot, self.events)
        } catch {
            return .failure(RelayTrouble(description: "discovery cannot be read: \(error)"))
        }
    }

    /// What speaks for one rank.
    private struct Voice: Sendable {
        var plane: any EventPlane
        var channel: EventChannel
        var publisher: KVEventPublisher
    }

    private func voice(of worker: RelayedWorker, rank: Int) async throws -> Voice {
        let form: DynamoEventForm =
            self.plan.release.map { $0 < Self.eventSources } ?? true ? .release12 : .release16
        let configuration = PublisherConfiguration(
            form: form,
            endpoint: worker.endpoint,
            worker: worker.id.rawValue,
            rank: UInt32(rank),
            // A source has an id of its own, below 2^53 (contract `discovery.md`, section 1).
            publisher: form == .release12 ? nil : .random(in: 1..<(1 << 53))
        )
        let plane = try self.connection.plane()
        do {
            let channel = try await plane.channel(
                .events,
                form,
                of: worker.endpoint,
                publisher: configuration.publisher
            )
            let publisher = KVEventPublisher(configuration, sink: EventChannelSink(channel), logger: self.logger)
            return Voice(plane: plane, channel: channel, publisher: publisher)
        } catch {
            await self.connection.giveBack(plane)
            throw error
        }
    }

    /// Publishes for a worker until it is not in discovery any more.
    private func serve(_ worker: RelayedWorker) async throws {
        var voices: [Voice] = []
        let result: Result<Void, any Error>
        do {
            for rank in self.events.sources.indices {
                voices.append(try await self.voice(of: worker, rank: rank))
            }
            result = .success(try await self.serve(worker, voices))
        } catch {
            result = .failure(error)
        }
        for voice in voices { await self.connection.giveBack(voice.plane) }
        try result.get()
    }

    private func serve(_ worker: RelayedWorker, _ voices: [Voice]) async throws {
        let publishers = voices.map(\.publisher)
        for relay in self.relays { relay.use(blockSize: worker.blockSize) }
        self.publication.attach(publishers, blockSize: worker.blockSize)
        self.state.withLock { $0.publishers = publishers }
        defer {
            self.publication.detach()
            self.state.withLock { state in
                state.published += publishers.reduce(0) { $0 + $1.statistics.sent }
                state.resyncs += publishers.reduce(0) { $0 + $1.statistics.resyncs }
                state.publishers = []
            }
        }
        let network = NetworkManager(
            configuration: try .init(environment: self.connection.environment, logger: self.logger),
            logger: self.logger
        )
        let registration = self.registration(of: worker.id)
        let result: Result<Void, any Error>
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for publisher in publishers { group.addTask { await publisher.run() } }
                group.addTask { try await network.run() }
                group.addTask { try await registration.run() }
                group.addTask {
                    try await self.register(worker, voices, network, registration)
                    try await self.waitForLeave(of: worker)
                }
                defer { group.cancelAll() }
                try await group.next()
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await registration.withdraw()
        try result.get()
    }

    private func registration(of id: InstanceID) -> CompanionRegistration {
        switch self.plan.discovery {
        case .file(let directory): CompanionRegistration(directory: directory, of: id, logger: self.logger)
        // Refused by the manifest's validation, since nobody could find the endpoints.
        case .memory: CompanionRegistration(directory: self.plan.directories.discovery, of: id, logger: self.logger)
        case .etcd(let endpoints):
            CompanionRegistration(
                RuntimeConfiguration.etcd(
                    endpoints,
                    variables: RegistrationCheck(plan: self.plan, logger: self.logger).credentials
                ),
                of: id,
                logger: self.logger
            )
        }
    }

    private func register(
        _ worker: RelayedWorker,
        _ voices: [Voice],
        _ network: NetworkManager,
        _ registration: CompanionRegistration
    ) async throws {
        var instances: [InstanceRecord] = []
        for publisher in voices.map(\.publisher) {
            let endpoint = publisher.queryEndpoint
            let address = try await network.server.register(endpoint, id: worker.id, handler: publisher.queryHandler)
            instances.append(InstanceRecord(Instance(endpoint: endpoint, id: worker.id, transport: address)))
        }
        let sources = voices.compactMap { $0.publisher.configuration.sourceRecord(instances) }
        try await registration.publish(
            instances.map(DiscoveryRecord.instance) + sources.map(DiscoveryRecord.eventSource)
                + voices.map { .eventChannel($0.channel.record) }
        )
        self.state.withLock {
            $0.status.state = .publishing
            $0.status.reason = nil
            $0.status.worker = worker.id.hex
        }
        if let warning = worker.warning { self.logger.warning("\(warning)") }
        let places = self.events.sources.map(\.engine).joined(separator: ", ")
        self.say("\(self.replica.name): KV events from \(places) are published for instance \(worker.id)")
    }

    /// Returns when the worker is gone, not when discovery cannot be read.
    private func waitForLeave(of worker: RelayedWorker) async throws {
        while true {
            try await Task.sleep(for: Self.watchPause)
            guard let snapshot = try? await self.discovery?.snapshot(.exact(self.plan.namespace)) else { continue }
            let isThere = snapshot.instances.contains {
                $0.instance.id == worker.id && $0.instance.endpoint == worker.endpoint
            }
            guard isThere else { return }
        }
    }
}

extension KVRelayStatus {
    fileprivate mutating func add(_ statistics: RelayStatistics) {
        self.connections += statistics.connections
        self.messages += statistics.messages + statistics.replayedMessages
        self.replayedMessages += statistics.replayedMessages
        self.refused += statistics.refusedMessages
        self.events += statistics.events
        self.gaps += statistics.gaps
        self.replays += statistics.replays
        self.failedReplays += statistics.failedReplays
        self.losses += statistics.resets
    }
}
