public import Logging
public import RequestPlane
import Synchronization

/// Discovery through an etcd cluster; Dynamo's default.
///
/// Source: `discovery.md` 3.
///
/// The lease is asked for at the first publication, and its id is the id of the instance. When a lease was lost (etcd was
/// unreachable for too long), a new one takes its place but the records keep the id that callers know.
public final class EtcdDiscovery: DiscoveryClient {
    /// Seconds, as Dynamo 1.2.
    private static let timeToLive = 10
    private static let renewal: Duration = .milliseconds(3300)
    private static let retry: Duration = .seconds(1)
    private static let root = "v1/"

    private struct State {
        var lease: UInt64?
        var id: InstanceID?
        var own: [DiscoveryKey: [UInt8]] = [:]
    }

    private let gateway: EtcdGateway
    private let logger: Logger
    private let watchers = SnapshotWatchers()
    private let state = Mutex(State())

    /// Creates a client; nothing is sent before it is used.
    ///
    /// - Parameters:
    ///   - endpoints: URLs of the cluster, `ETCD_ENDPOINTS`.
    ///   - logger: where problems go.
    public init(endpoints: [String], logger: Logger) {
        self.gateway = EtcdGateway(endpoints: endpoints)
        self.logger = logger
    }

    /// The id under which this process publishes.
    public func instanceID() async throws(DiscoveryError) -> InstanceID {
        if let id = self.state.withLock({ $0.id }) { return id }
        let lease = try await self.gateway.grantLease(seconds: Self.timeToLive)
        return self.state.withLock { state in
            if let id = state.id { return id }
            state.lease = lease
            let id = InstanceID(rawValue: lease)
            state.id = id
            return id
        }
    }

    /// Adds or replaces records.
    public func publish(_ records: [DiscoveryRecord]) async throws(DiscoveryError) {
        _ = try await self.instanceID()
        if self.state.withLock({ $0.lease == nil }) {
            // Given up with an earlier withdrawal.
            let lease = try await self.gateway.grantLease(seconds: Self.timeToLive)
            self.state.withLock { if $0.lease == nil { $0.lease = lease } }
        }
        let entries = records.map { ($0.key, $0.json.bytes) }
        let lease = self.state.withLock { state -> UInt64? in
            guard let lease = state.lease else { return nil }
            for (key, bytes) in entries { state.own[key] = bytes }
            return lease
        }
        // Withdrawn meanwhile; a record without a lease would stay for good.
        guard let lease else { return }
        for (key, bytes) in entries { try await self.gateway.put(key.full, bytes, lease: lease) }
    }

    /// Takes back everything this client published.
    public func withdraw() async {
        let (lease, keys) = self.state.withLock { state in
            defer {
                state.own = [:]
                state.lease = nil
            }
            return (state.lease, state.own.keys.sorted())
        }
        do {
            for key in keys { try await self.gateway.delete(key.full) }
            if let lease { try await self.gateway.revoke(lease: lease) }
        } catch {
            self.logger.warning(
                "cannot withdraw from etcd; the lease runs out by itself",
                metadata: ["error": "\(error)"]
            )
        }
    }

    /// What is published now.
    public func snapshot(_ filter: NamespaceFilter) async throws(DiscoveryError) -> DiscoverySnapshot {
        DiscoverySnapshot(try await self.list().records.values, filter: filter)
    }

    /// The present state, then the new state after each change.
    public func watch(_ filter: NamespaceFilter) -> AsyncStream<DiscoverySnapshot> { self.watchers.add(filter) }

    /// Keeps the lease and the watches going until cancelled.
    public func run() async throws {
        defer { self.watchers.finish() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.renew() }
            group.addTask { try await self.follow() }
            try await group.waitForAll()
        }
    }

    // MARK: The lease

    private func renew() async throws {
        while true {
            try await Task.sleep(for: Self.renewal)
            guard let lease = self.state.withLock({ $0.lease }) else { continue }
            do {
                if try await self.gateway.keepAlive(lease: lease) == false { try await self.replace(lease) }
            } catch {
                try Task.checkCancellation()
                self.logger.error("cannot renew the lease in etcd", metadata: ["error": "\(error)"])
            }
        }
    }

    private func replace(_ lost: UInt64) async throws(DiscoveryError) {
        let lease = try await self.gateway.grantLease(seconds: Self.timeToLive)
        let own = self.state.withLock { state -> [DiscoveryKey: [UInt8]] in
            // Withdrawn meanwhile: nothing to publish, and the new lease runs out unused.
            guard state.lease == lost else { return [:] }
            state.lease = lease
            return state.own
        }
        guard !own.isEmpty else { return }
        self.logger.warning("the lease in etcd was lost; publishing again", metadata: ["records": "\(own.count)"])
        for (key, bytes) in own { try await self.gateway.put(key.full, bytes, lease: lease) }
    }

    // MARK: The watch

    private func follow() async throws {
        let (watched, continuation) = AsyncStream.makeStream(of: Void.self)
        self.watchers.whenWatched { continuation.finish() }
        for await _ in watched {}
        while true {
            do {
                var (records, revision) = try await self.list()
                self.watchers.offer(Array(records.values))
                try await self.gateway.watch(prefix: Self.root, from: revision + 1) { changes in
                    for change in changes {
                        guard let key = Self.key(change.key) else { continue }
                        records[key] = change.value.flatMap { self.record(key, $0) }
                    }
                    if !changes.isEmpty { self.watchers.offer(Array(records.values)) }
                }
                self.logger.warning("the watch of etcd ended; starting again")
            } catch {
                try Task.checkCancellation()
                self.logger.error("cannot watch etcd; the last state is kept", metadata: ["error": "\(error)"])
            }
            try await Task.sleep(for: Self.retry)
        }
    }

    private func list() async throws(DiscoveryError) -> (records: [DiscoveryKey: DiscoveryRecord], revision: Int64) {
        let (entries, revision) = try await self.gateway.range(prefix: Self.root)
        var records: [DiscoveryKey: DiscoveryRecord] = [:]
        for entry in entries {
            guard let key = Self.key(entry.key) else { continue }
            records[key] = self.record(key, entry.value ?? [])
        }
        return (records, revision)
    }

    private func record(_ key: DiscoveryKey, _ bytes: [UInt8]) -> DiscoveryRecord? {
        do { return try DiscoveryRecord(bucket: key.bucket, bytes: bytes) } catch {
            self.logger.warning(
                "a discovery record cannot be read and is left out",
                metadata: ["key": "\(key.full)", "error": "\(error)"]
            )
            return nil
        }
    }

    private static func key(_ full: String) -> DiscoveryKey? {
        for bucket in DiscoveryBucket.allCases where full.hasPrefix(bucket.rawValue + "/") {
            return DiscoveryKey(bucket: bucket, path: String(full.dropFirst(bucket.rawValue.count + 1)))
        }
        return nil
    }
}
