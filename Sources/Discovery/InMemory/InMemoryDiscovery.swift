package import RequestPlane
import Synchronization

/// Discovery inside one process: clients that share a store see each other.
package final class InMemoryDiscovery: DiscoveryClient {
    /// What the clients share.
    package final class Store: Sendable {
        private struct State {
            var records: [DiscoveryKey: DiscoveryRecord] = [:]
            var listeners: [ObjectIdentifier: SnapshotWatchers] = [:]
        }

        private let state = Mutex(State())

        package init() {}

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

    package init(store: Store, instanceID: InstanceID? = nil) {
        self.store = store
        self.id = instanceID ?? InstanceID(rawValue: .random(in: 1 ... .max))
    }

    package func instanceID() -> InstanceID { self.id }

    package func publish(_ records: [DiscoveryRecord]) {
        self.own.withLock { $0.formUnion(records.map(\.key)) }
        self.store.change { stored in
            for record in records { stored[record.key] = record }
        }
    }

    package func withdraw() {
        let own = self.own.withLock { own in
            defer { own = [] }
            return own
        }
        self.store.change { stored in
            for key in own { stored[key] = nil }
        }
    }

    package func snapshot(_ filter: NamespaceFilter) -> DiscoverySnapshot {
        DiscoverySnapshot(self.store.records, filter: filter)
    }

    package func watch(_ filter: NamespaceFilter) -> AsyncStream<DiscoverySnapshot> { self.watchers.add(filter) }

    package func run() async throws {
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
