package import Discovery
package import KVEvents
package import KVRouter
package import Logging
package import RequestPlane
import Synchronization

/// Keeps an index true to what the workers of one endpoint say: the running half of a router that routes by KV events.
///
/// It follows the workers' query endpoints in discovery, receives their events, and asks for what it has missed. Workers are
/// first asked when their live events are received already, so that nothing lies between the two.
package final class KVIndexFeed: IndexFeed {
    /// How the names of the workers' query endpoints begin; the rank follows (contract `kv-events.md`, section 3).
    package static let queryEndpointPrefix = "worker_kv_indexer_query_dp"

    /// Workers that are asked at the same time; each answer may hold all that one has.
    static let questionLimit = 32

    private struct State {
        var sources: [WorkerRank: KVSource] = [:]
        /// On ZeroMQ: who publishes where.
        var publishers: [String: EventChannelRecord] = [:]
        var isFollowing = false
    }

    /// What receives live events.
    private enum Ears {
        /// One for each form.
        case nats([KVEventSubscriber], NATSEventPlane)
        case zmq(ZMQTopicSubscriber)
    }

    private let endpoint: EndpointID
    private let client: any RequestPlaneClient
    private let logger: Logger
    private let index = KVIndexer()
    private let activity = ActivityLog()
    private let state = Mutex(State())
    private let actions: AsyncStream<IndexerAction>
    private let todo: AsyncStream<IndexerAction>.Continuation
    private let ears: Mutex<Ears?> = Mutex(nil)

    /// Starts with nothing.
    ///
    /// - Parameters:
    ///   - endpoint: the one that requests are sent to.
    ///   - plane: where its workers publish, in the form of any release.
    ///   - client: asks the workers.
    ///   - logger: hears of gaps and of what could not be recovered.
    package init(
        of endpoint: EndpointID,
        plane: RoutingPlane,
        client: any RequestPlaneClient,
        logger: Logger
    ) {
        self.endpoint = endpoint
        self.client = client
        self.logger = logger
        (self.actions, self.todo) = AsyncStream.makeStream(of: IndexerAction.self)
        let ears: Ears =
            switch plane.way {
            case .nats(let plane):
                .nats(
                    DynamoEventForm.allCases.map { form in
                        plane.subscriber(form, of: endpoint) { [weak self] events, _ in self?.receive(events, form) }
                    },
                    plane
                )
            case .zmq(let plane):
                .zmq(
                    plane.subscriber(.events) { [weak self] message, form in
                        self?.receive(message, form)
                    } linked: { [weak self] address in
                        self?.checkAgain(address)
                    }
                )
            }
        self.ears.withLock { $0 = ears }
    }

    /// Starts with nothing, on a connection to NATS.
    package convenience init(
        of endpoint: EndpointID,
        plane: NATSEventPlane,
        client: any RequestPlaneClient,
        logger: Logger
    ) {
        self.init(of: endpoint, plane: RoutingPlane(plane), client: client, logger: logger)
    }

    /// What each rank holds of a prompt.
    package func overlaps(_ hashes: [TokensHash]) -> [WorkerRank: Overlap] { self.index.matches(hashes) }

    /// Blocks of each rank, and what has happened so far.
    package var status: (blocks: [WorkerRank: Int], index: IndexerCounters, subscriber: SubscriberStatistics) {
        (self.index.blockCounts, self.index.counters, self.received)
    }

    private var received: SubscriberStatistics {
        let all: [SubscriberStatistics] =
            switch self.ears.withLock({ $0 }) {
            case .nats(let subscribers, _): subscribers.map(\.statistics)
            case .zmq(let subscriber): [subscriber.statistics]
            case nil: []
            }
        return all.reduce(into: SubscriberStatistics()) { sum, one in
            sum.messages += one.messages
            sum.events += one.events
            sum.refused += one.refused
        }
    }

    package var blockCounts: [WorkerRank: Int] { self.index.blockCounts }

    /// Each rank that discovery has, that holds blocks, or that was heard of, in order.
    package var ranks: [RankStatus] {
        let (blocks, recovering) = (self.index.blockCounts, Set(self.index.recovering))
        let registered = Set(self.state.withLock { $0.sources.keys })
        let activity = self.activity.all
        return registered.union(blocks.keys).union(activity.keys).sorted().map { rank in
            RankStatus(
                rank: rank,
                blocks: blocks[rank] ?? 0,
                activity: activity[rank] ?? RankActivity(),
                isRegistered: registered.contains(rank),
                isRecovering: recovering.contains(rank)
            )
        }
    }

    /// Nodes of the index, and the bytes that it takes, about.
    package var size: (nodes: Int, bytes: Int) { self.index.size }

    /// All blocks of a rank as events, parents first.
    package func dump(_ rank: WorkerRank) -> [RouterEvent] { self.index.dump(rank) }

    /// Whether every worker that was found has told what it holds, or was given up.
    package var isCaughtUp: Bool {
        self.state.withLock { $0.isFollowing } && self.index.awaited.isEmpty
    }

    /// Receives and asks until cancelled.
    ///
    /// - Parameter snapshots: the states of discovery.
    /// - Throws: what the connection to NATS ends with.
    package func run(_ snapshots: AsyncStream<DiscoverySnapshot>) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (due, isDue) = AsyncStream.makeStream(of: IndexQuery.self)
            group.addTask { await self.perform(isDue) }
            group.addTask { await self.ask(due) }
            switch self.ears.withLock({ $0 }) {
            case .nats(let subscribers, let plane): self.listen(subscribers, plane, snapshots, in: &group)
            case .zmq(let subscriber):
                group.addTask {
                    for await snapshot in snapshots {
                        let publishers = snapshot.zmqPublishers(.events, of: self.endpoint)
                        self.state.withLock { $0.publishers = publishers }
                        subscriber.follow(publishers.mapValues(\.form))
                        self.follow(snapshot)
                    }
                    subscriber.close()
                }
            case nil: break
            }
            try await group.waitForAll()
        }
    }

    private func listen(
        _ subscribers: [KVEventSubscriber],
        _ plane: NATSEventPlane,
        _ snapshots: AsyncStream<DiscoverySnapshot>,
        in group: inout ThrowingTaskGroup<Void, any Error>
    ) {
        let (listening, isListening) = AsyncStream.makeStream(of: Void.self)
        for subscriber in subscribers {
            group.addTask { try await subscriber.run { isListening.yield() } }
        }
        group.addTask {
            for await _ in listening.prefix(subscribers.count) {}
            for await snapshot in snapshots { self.follow(snapshot) }
        }
        group.addTask {
            // What was published while the server was away is nowhere but at the workers.
            for await isUp in plane.linkChanges() where isUp { self.checkAgain(nil) }
        }
    }

    // MARK: Live events

    private func receive(_ message: EventEnvelope, _ form: DynamoEventForm) {
        do throws(MessagePackError) { self.receive(try RouterEvent.read(message.payload), form) } catch {
            self.logger.warning("a KV event cannot be read and is left out", metadata: ["error": "\(error)"])
        }
    }

    private func receive(_ events: [RouterEvent], _ form: DynamoEventForm) {
        // What a worker tells routers of both forms counts once, and a publisher of 1.6 that nobody knows does not count.
        let events = self.state.withLock { state in
            events.filter { event in
                let rank = WorkerRank(worker: event.worker, rank: event.event.rank)
                return (state.sources[rank]?.form ?? .release12) == form
            }
        }
        self.activity.received(events)
        for event in events { for action in self.index.apply(event) { self.todo.yield(action) } }
    }

    /// Asks what ranks hold whose events may have been missed unnoticed.
    ///
    /// - Parameter address: of the publisher that there is a new connection to; nil: all.
    private func checkAgain(_ address: String?) {
        let ranks = self.state.withLock { state -> [WorkerRank] in
            guard let address else { return Array(state.sources.keys) }
            guard let record = state.publishers[address] else { return [] }
            return state.sources.filter {
                $0.value.publisher == record.publisher.rawValue && $0.value.form == record.form
            }.map(\.key)
        }
        for rank in ranks.sorted() { for action in self.index.check(rank) { self.todo.yield(action) } }
    }

    // MARK: Discovery

    private func follow(_ snapshot: DiscoverySnapshot) {
        let all = KVSource.all(of: self.endpoint, in: snapshot)
        let before = self.state.withLock { state in
            defer { state.sources = all }
            return state.sources
        }
        // A source in another form counts its events by itself.
        let left = before.filter { all[$0.key]?.form != $0.value.form }.keys
        for rank in left.sorted() {
            self.index.lost(rank)
            self.activity.forget(rank)
        }
        for rank in Set(all.keys).subtracting(Set(before.keys).subtracting(left)).sorted() {
            for action in self.index.found(rank) { self.todo.yield(action) }
        }
        self.state.withLock { $0.isFollowing = true }
    }

    // MARK: Actions

    /// Performs what the index wants; a question whose pause is over goes on to be asked.
    ///
    /// A rank has one open question, so that no more of them wait than there are ranks.
    private func perform(_ due: AsyncStream<IndexQuery>.Continuation) async {
        await withDiscardingTaskGroup { pauses in
            for await action in self.actions {
                switch action {
                case .query(let query, .zero): due.yield(query)
                case .query(let query, let pause):
                    pauses.addTask {
                        guard (try? await Task.sleep(for: pause)) != nil else { return }
                        due.yield(query)
                    }
                case .restore: break  // `KVIndexer.answered` restores by itself.
                case .report(let report): self.log(report)
                }
            }
        }
    }

    private func ask(_ due: AsyncStream<IndexQuery>) async {
        await withTaskGroup(of: Void.self) { questions in
            var open = 0
            for await query in due {
                if open == Self.questionLimit {
                    await questions.next()
                    open -= 1
                }
                open += 1
                questions.addTask { for next in await self.ask(query) { self.todo.yield(next) } }
            }
        }
    }

    private func ask(_ query: IndexQuery) async -> [IndexerAction] {
        guard let source = self.state.withLock({ $0.sources[query.rank] }) else {
            return self.index.failed(query, reason: "the worker is not in discovery any more")
        }
        do {
            let recovery = KVRecovery(self.client, form: source.form)
            let answer = try await recovery.recover(query.rank, from: query.from, at: source.query)
            return await self.index.answered(query, IndexAnswer(answer))
        } catch {
            return self.index.failed(query, reason: "\(error)")
        }
    }

    private func log(_ report: IndexerReport) {
        self.activity.reported(report)
        switch report {
        case .gap, .restarted, .gaveUp:
            self.logger.warning("KV events of a worker are missing", metadata: ["what": "\(report)"])
        case .unknown, .recovered, .failed, .late:
            self.logger.debug("KV index", metadata: ["what": "\(report)"])
        }
    }
}

extension IndexAnswer {
    /// What a worker has answered, as the index takes it.
    init(_ answer: KVQueryAnswer) {
        switch answer {
        case .state(let events, let last): self = .dump(events: events, last: last)
        case .tail(let events, let last): self = .events(events, last: last)
        case .tooNew(_, _, let newest): self = .tooNew(newest: newest)
        case .invalidRange: self = .invalidRange
        case .error(let text): self = .error(text)
        }
    }
}
