import Synchronization

/// The readers of a watch: each gets the latest snapshot of its namespaces, and only when it has changed.
final class SnapshotWatchers: Sendable {
    private struct State {
        var nextID = 0
        var watchers: [Int: Watcher] = [:]
        var records: [DiscoveryRecord]?
        var onFirstWatcher: (@Sendable () -> Void)?
        var isFinished = false
    }

    private struct Watcher {
        var filter: NamespaceFilter
        var continuation: AsyncStream<DiscoverySnapshot>.Continuation
        var last: DiscoverySnapshot?

        mutating func offer(_ records: [DiscoveryRecord]) {
            let snapshot = DiscoverySnapshot(records, filter: self.filter)
            guard snapshot != self.last else { return }
            self.last = snapshot
            self.continuation.yield(snapshot)
        }
    }

    private let state = Mutex(State())

    func add(_ filter: NamespaceFilter) -> AsyncStream<DiscoverySnapshot> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: DiscoverySnapshot.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let (id, notify) = self.state.withLock { state -> (Int?, (@Sendable () -> Void)?) in
            guard !state.isFinished else { return (nil, nil) }
            let id = state.nextID
            state.nextID += 1
            var watcher = Watcher(filter: filter, continuation: continuation)
            if let records = state.records { watcher.offer(records) }
            state.watchers[id] = watcher
            defer { state.onFirstWatcher = nil }
            return (id, state.onFirstWatcher)
        }
        guard let id else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { $0.watchers[id] = nil }
        }
        notify?()
        return stream
    }

    /// Calls back once there is a reader; at once if there is one already.
    func whenWatched(_ body: @escaping @Sendable () -> Void) {
        let isWatched = self.state.withLock { state in
            if state.watchers.isEmpty { state.onFirstWatcher = body }
            return !state.watchers.isEmpty
        }
        if isWatched { body() }
    }

    var isWatched: Bool { self.state.withLock { !$0.watchers.isEmpty } }

    func offer(_ records: [DiscoveryRecord]) {
        self.state.withLock { state in
            state.records = records
            for id in state.watchers.keys { state.watchers[id]?.offer(records) }
        }
    }

    func finish() {
        let continuations = self.state.withLock { state in
            state.isFinished = true
            defer { state.watchers = [:] }
            return state.watchers.values.map(\.continuation)
        }
        // Outside the lock: finishing calls the termination handler, which takes it.
        for continuation in continuations { continuation.finish() }
    }
}
