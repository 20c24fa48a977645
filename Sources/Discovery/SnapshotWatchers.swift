import Synchronization

/// The readers of a watch: each gets the latest snapshot of its namespaces, and only when it has changed.
///
/// A reader that is cancelled holds a lock of its task while its termination is handled, and a reader is resumed under the lock
/// here: the handler must therefore not take the lock, and only leaves a mark.
final class SnapshotWatchers: Sendable {
    private struct State {
        var watchers: [Watcher] = []
        var records: [DiscoveryRecord]?
        var onFirstWatcher: (@Sendable () -> Void)?
        var isFinished = false
    }

    private final class Mark: Sendable {
        private let value = Atomic(false)
        var isSet: Bool { self.value.load(ordering: .acquiring) }
        func set() { self.value.store(true, ordering: .releasing) }
    }

    private struct Watcher {
        let isGone = Mark()
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
        var watcher = Watcher(filter: filter, continuation: continuation)
        let isGone = watcher.isGone
        continuation.onTermination = { _ in isGone.set() }
        let (isFinished, notify) = self.state.withLock { state -> (Bool, (@Sendable () -> Void)?) in
            guard !state.isFinished else { return (true, nil) }
            if let records = state.records { watcher.offer(records) }
            state.watchers.append(watcher)
            defer { state.onFirstWatcher = nil }
            return (false, state.onFirstWatcher)
        }
        if isFinished { continuation.finish() }
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

    var isWatched: Bool { self.state.withLock { $0.watchers.contains { !$0.isGone.isSet } } }

    func offer(_ records: [DiscoveryRecord]) {
        self.state.withLock { state in
            state.records = records
            state.watchers.removeAll { $0.isGone.isSet }
            for index in state.watchers.indices { state.watchers[index].offer(records) }
        }
    }

    func finish() {
        let continuations = self.state.withLock { state in
            state.isFinished = true
            defer { state.watchers = [] }
            return state.watchers.map(\.continuation)
        }
        for continuation in continuations { continuation.finish() }
    }
}
