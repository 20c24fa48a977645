public import RequestPlane
import Synchronization

/// Discovery inside one process: clients that share a store see each other.
public final class InMemoryDiscovery: DiscoveryClient {
    /// What the clients share.
    public final class Store: Sendable {
        private struct State {
            var records: [DiscoveryKey: DiscoveryRecord] = [:]
            var listeners: [ObjectIdentifier: SnapshotWatchers] = [:]
        }

        private let state = Mutex(State())

        /// Creates an empty store.
        public init() {}

        fileprivate var records: [DiscoveryRecord] { Array(self.state.withLock { $0.records }.values) }

        fileprivate func add(_ watchers: SnapshotWatchers) {
            self.state.withLock { state in
                state.listeners[ObjectIdentifier(watchers)] = watchers
                watchers.offer(Array(state.records.values))
            }
        }

        fileprivate func remove(_ watchers: SnapshotWatchers) {
            self.state.withLock { $0.listeners[ObjectIdentifier(watchers)] = nil }
        }

        fileprivate func change(_ body: (inout [DiscoveryKey: DiscoveryRecord]) -> Void) {
            self.state.withLock { state in
                body(&state.records)
                for listener in state.listeners.values { listener.offer(Array(state.records.values)) }
            }
        }
    }

    private let store: Store
    private let id: InstanceID
    private let watchers = SnapshotWatchers()
    private let own = Mutex<Set<DiscoveryKey>>([])

    /// Joins a store.
    public init(store: Store, instanceID: InstanceID? = nil) {
        self.store = store
        self.id = instanceID ?? InstanceID(rawValue: .random(in: 1 ... .max))
    }

    /// The id under which this process publishes.
    public func instanceID() -> InstanceID { self.id }

    /// Adds or replaces records.
    public func publish(_ records: [DiscoveryRecord]) {
        self.own.withLock { $0.formUnion(records.map(\.key)) }
        self.store.change { stored in
            for record in records { stored[record.key] = record }
        }
    }

    /// Takes back the models this client published.
    public func withdrawModels() -> Bool {
        let models = self.own.withLock { own in
            let models = own.filter { $0.bucket == .models }
            own.subtract(models)
            return models
        }
        self.store.change { stored in
            for key in models { stored[key] = nil }
        }
        return !models.isEmpty
    }

    /// Takes back everything this client published.
    public func withdraw() {
        let own = self.own.withLock { own in
            defer { own = [] }
            return own
        }
        self.store.change { stored in
            for key in own { stored[key] = nil }
        }
    }

    /// Takes instances of another process out, one that is known to be gone.
    public func remove(_ instances: [InstanceRecord]) {
        self.store.change { stored in
            for instance in instances { stored[instance.key] = nil }
        }
    }

    /// What is published now.
    public func snapshot(_ filter: NamespaceFilter) -> DiscoverySnapshot {
        DiscoverySnapshot(self.store.records, filter: filter)
    }

    /// The present state, then the new state after each change.
    public func watch(_ filter: NamespaceFilter) -> AsyncStream<DiscoverySnapshot> { self.watchers.add(filter) }

    /// Keeps the watches going until cancelled.
    public func run() async throws {
        self.store.add(self.watchers)
        defer {
            self.store.remove(self.watchers)
            self.watchers.finish()
            // The lease ends with its owner.
            self.withdraw()
        }
        let (never, _) = AsyncStream.makeStream(of: Never.self)
        for await _ in never {}
        try Task.checkCancellation()
    }
}
