package import Discovery
package import KVEvents
package import KVRouter
package import Logging
import NATS
package import RequestPlane
import Synchronization

/// Keeps an index true to the durable stream of a component's KV events (contract `kv-events.md`, section 7).
///
/// The stream is complete, so nobody is asked: a router that starts late takes over the last snapshot and reads what follows.
package final class DurableIndexFeed: IndexFeed {
    /// How a feed treats the stream.
    package struct Settings: Hashable, Sendable {
        /// Messages that the stream may hold before a snapshot replaces them.
        package var snapshotThreshold = 1_000_000
        /// Whether events and snapshots from before are forgotten at the start.
        package var resetsStates = false

        package init() {}
    }

    private struct State {
        /// Workers that serve the endpoint.
        var workers: Set<UInt64> = []
        var isCaughtUp = false
        var hasReset = false
        var hasSwept = false
    }

    /// The wait before a lost consumer is made anew; the server may just be starting.
    private static let restartPause: Duration = .milliseconds(500)

    private let endpoint: EndpointID
    private let stream: DurableEventStream
    private let reader: DurableEventReader
    private let settings: Settings
    private let logger: Logger
    private let index = KVIndexer(numbering: .ignored)
    private let state = Mutex(State())

    /// Starts with nothing.
    ///
    /// - Parameters:
    ///   - endpoint: the one that requests are sent to.
    ///   - stream: where its workers publish.
    ///   - router: this router's instance id, the name of its place in the stream.
    ///   - settings: how the stream is treated.
    ///   - logger: hears of what cannot be read.
    package init(
        of endpoint: EndpointID,
        stream: DurableEventStream,
        router: UInt64,
        settings: Settings,
        logger: Logger
    ) {
        self.endpoint = endpoint
        self.stream = stream
        self.settings = settings
        self.logger = logger
        self.reader = DurableEventReader(
            stream,
            router: router,
            snapshotThreshold: UInt64(max(1, settings.snapshotThreshold)),
            logger: logger
        )
    }

    package func overlaps(_ hashes: [TokensHash]) -> [WorkerRank: Overlap] { self.index.matches(hashes) }

    package var isCaughtUp: Bool { self.state.withLock(\.isCaughtUp) }

    package var blockCounts: [WorkerRank: Int] { self.index.blockCounts }

    /// All blocks of a rank as events, parents first.
    package func dump(_ rank: WorkerRank) -> [RouterEvent] { self.index.dump(rank) }

    package func run(_ snapshots: AsyncStream<DiscoverySnapshot>) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for await snapshot in snapshots { self.follow(snapshot) } }
            group.addTask { try await self.read() }
            // The first error ends the other.
            while try await group.next() != nil {}
        }
    }

    // MARK: Discovery

    /// Forgets workers that have left; one that was never there may be about to come.
    private func follow(_ snapshot: DiscoverySnapshot) {
        let workers = Set(
            snapshot.instances.filter { $0.instance.endpoint == self.endpoint }.map(\.instance.id.rawValue)
        )
        let left = self.state.withLock { state in
            defer { state.workers = workers }
            return state.workers.subtracting(workers)
        }
        for worker in left { self.index.gone(worker) }
        self.sweep()
    }

    /// Whoever is in the snapshot or the stream and not in discovery has died before this router began.
    private func sweep() {
        let workers = self.state.withLock { state -> Set<UInt64>? in
            // Without any worker discovery may not have been read yet.
            guard state.isCaughtUp, !state.hasSwept, !state.workers.isEmpty else { return nil }
            state.hasSwept = true
            return state.workers
        }
        guard let workers else { return }
        for worker in Set(self.index.blockCounts.keys.map(\.worker)).subtracting(workers) { self.index.gone(worker) }
    }

    // MARK: Stream

    /// Reads the stream; when the router's place in it is lost, the index is made anew.
    private func read() async throws {
        while true {
            do {
                try await self.readOnce()
                return
            } catch  where Self.isTemporary(error) && !Task.isCancelled {
                self.logger.warning(
                    "the durable stream of KV events is read anew",
                    metadata: ["stream": "\(self.stream.name)", "error": "\(error)"]
                )
                try await Task.sleep(for: Self.restartPause)
            }
        }
    }

    private static func isTemporary(_ error: any Error) -> Bool {
        guard let error = error as? JetStreamError else { return error is DurableStreamGap }
        switch error.code {
        case .streamMissing, .consumerMissing, .unavailable, .timedOut, .connection: return true
        default: return false
        }
    }

    private func readOnce() async throws {
        try await self.stream.create()
        let resets = self.state.withLock { state in
            defer { state.hasReset = true }
            return self.settings.resetsStates && !state.hasReset
        }
        if resets { try await self.stream.reset() }
        for worker in Set(self.index.blockCounts.keys.map(\.worker)) { self.index.gone(worker) }
        try await self.reader.run(
            restore: { bytes in
                let events = try RadixSnapshot.decode(bytes)
                for action in self.index.restore(events) { self.perform(action) }
                self.logger.info("a snapshot was taken over", metadata: ["events": "\(events.count)"])
            },
            caughtUp: { self.hasCaughtUp() },
            apply: { event in for action in self.index.apply(event) { self.perform(action) } },
            snapshot: { RadixSnapshot.encode(self.index.dump()) }
        )
    }

    private func hasCaughtUp() {
        self.state.withLock { $0.isCaughtUp = true }
        self.sweep()
    }

    private func perform(_ action: IndexerAction) {
        // Ids are not looked at, so that nobody is asked.
        guard case .report(let report) = action else { return }
        self.logger.debug("KV index", metadata: ["what": "\(report)"])
    }
}
