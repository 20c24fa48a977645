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
        var endpoints: [WorkerRank: Instance] = [:]
        var isFollowing = false
    }

    private let endpoint: EndpointID
    private let recovery: KVRecovery
    private let logger: Logger
    private let index: KVIndexer
    private let activity: ActivityLog
    private let state = Mutex(State())
    private let actions: AsyncStream<IndexerAction>
    private let todo: AsyncStream<IndexerAction>.Continuation
    private let subscriber: KVEventSubscriber

    /// Starts with nothing.
    ///
    /// - Parameters:
    ///   - endpoint: the one that requests are sent to.
    ///   - form: which release's events the workers publish.
    ///   - plane: where they publish.
    ///   - client: asks the workers.
    ///   - logger: hears of gaps and of what could not be recovered.
    package init(
        of endpoint: EndpointID,
        form: DynamoEventForm = .release12,
        plane: NATSEventPlane,
        client: any RequestPlaneClient,
        logger: Logger
    ) {
        self.endpoint = endpoint
        self.recovery = KVRecovery(client, form: form)
        self.logger = logger
        let index = KVIndexer()
        let activity = ActivityLog()
        let (actions, todo) = AsyncStream.makeStream(of: IndexerAction.self)
        (self.index, self.activity, self.actions, self.todo) = (index, activity, actions, todo)
        self.subscriber = plane.subscriber(form, of: endpoint) { events, _ in
            activity.received(events)
            for event in events { for action in index.apply(event) { todo.yield(action) } }
        }
    }

    /// What each rank holds of a prompt.
    package func overlaps(_ hashes: [TokensHash]) -> [WorkerRank: Overlap] { self.index.matches(hashes) }

    /// Blocks of each rank, and what has happened so far.
    package var status: (blocks: [WorkerRank: Int], index: IndexerCounters, subscriber: SubscriberStatistics) {
        (self.index.blockCounts, self.index.counters, self.subscriber.statistics)
    }

    package var blockCounts: [WorkerRank: Int] { self.index.blockCounts }

    /// Each rank that discovery has, that holds blocks, or that was heard of, in order.
    package var ranks: [RankStatus] {
        let (blocks, recovering) = (self.index.blockCounts, Set(self.index.recovering))
        let registered = Set(self.state.withLock { $0.endpoints.keys })
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
        let (listening, isListening) = AsyncStream.makeStream(of: Void.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await self.subscriber.run {
                    isListening.yield()
                    isListening.finish()
                }
            }
            group.addTask {
                for await _ in listening {}
                for await snapshot in snapshots { self.follow(snapshot) }
            }
            let (due, isDue) = AsyncStream.makeStream(of: IndexQuery.self)
            group.addTask { await self.perform(isDue) }
            group.addTask { await self.ask(due) }
            try await group.waitForAll()
        }
    }

    // MARK: Discovery

    private func follow(_ snapshot: DiscoverySnapshot) {
        var found: [WorkerRank: Instance] = [:]
        for record in snapshot.instances {
            guard let rank = self.rank(of: record.instance) else { continue }
            found[rank] = record.instance
        }
        let all = found
        let before = self.state.withLock { state in
            defer { state.endpoints = all }
            return Set(state.endpoints.keys)
        }
        for rank in before.subtracting(all.keys).sorted() {
            self.index.lost(rank)
            self.activity.forget(rank)
        }
        for rank in Set(all.keys).subtracting(before).sorted() {
            for action in self.index.found(rank) { self.todo.yield(action) }
        }
        self.state.withLock { $0.isFollowing = true }
    }

    /// The rank whose query endpoint this is.
    private func rank(of instance: Instance) -> WorkerRank? {
        let prefix = Self.queryEndpointPrefix
        guard instance.endpoint.namespace == self.endpoint.namespace,
            instance.endpoint.component == self.endpoint.component, instance.endpoint.name.hasPrefix(prefix),
            let rank = UInt32(instance.endpoint.name.dropFirst(prefix.count))
        else { return nil }
        return WorkerRank(worker: instance.id.rawValue, rank: rank)
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
        guard let instance = self.state.withLock({ $0.endpoints[query.rank] }) else {
            return self.index.failed(query, reason: "the worker is not in discovery any more")
        }
        do {
            let answer = try await self.recovery.recover(query.rank, from: query.from, at: instance)
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
