public import Logging
public import RequestPlane
import Synchronization

/// Discovery through an etcd cluster; Dynamo's default.
///
/// Source: `discovery.md` 3.
///
/// The lease is asked for at the first publication, and its id is the id of the instance. When the lease was lost, because this process
/// was suspended or etcd has lost its data, it is asked for again under the same id and everything is published again; Dynamo's
/// own workers exit in that case.
public final class EtcdDiscovery: DiscoveryClient {
    private static let root = "v1/"

    private let timing: EtcdConfiguration.Timing
    private let gateway: EtcdGateway
    private let logger: Logger
    private let watchers = SnapshotWatchers()
    private let registration = Mutex(EtcdRegistration())

    /// Creates a client; nothing is sent before it is used.
    ///
    /// - Parameters:
    ///   - configuration: where the cluster is, and who this process is to it.
    ///   - logger: where problems go.
    public init(_ configuration: EtcdConfiguration, logger: Logger) {
        self.timing = configuration.timing
        self.gateway = EtcdGateway(configuration)
        self.logger = logger
    }

    /// Creates a client of a cluster that asks for no credentials.
    ///
    /// - Parameters:
    ///   - endpoints: URLs of the cluster, `ETCD_ENDPOINTS`.
    ///   - logger: where problems go.
    public convenience init(endpoints: [String], logger: Logger) {
        self.init(EtcdConfiguration(endpoints: endpoints), logger: logger)
    }

    /// The id under which this process publishes.
    public func instanceID() async throws(DiscoveryError) -> InstanceID {
        if let id = self.registration.withLock({ $0.id }) { return id }
        let lease = try await self.gateway.grantLease(seconds: self.timing.timeToLive)
        // Of two that ask at once the first one decides; the other lease runs out unused.
        return self.registration.withLock { $0.granted(lease) }
    }

    /// Adds or replaces records.
    public func publish(_ records: [DiscoveryRecord]) async throws(DiscoveryError) {
        let id = try await self.instanceID()
        if self.registration.withLock({ $0.lease == nil }) {
            // Given up with an earlier withdrawal.
            _ = try await self.gateway.grantLease(seconds: self.timing.timeToLive, id: id.rawValue)
            _ = self.registration.withLock { $0.granted(id.rawValue) }
        }
        let entries = records.map { ($0.key, $0.json.bytes) }
        self.registration.withLock { $0.publish(entries) }
        try await self.writePending()
    }

    /// Takes back the models this client published.
    public func withdrawModels() async -> Bool {
        let keys = self.registration.withLock { $0.withdrawModels() }
        for key in keys {
            do { try await self.gateway.delete(key.full) } catch {
                self.logger.warning(
                    "cannot withdraw models from etcd; they go with the lease",
                    metadata: ["key": "\(key.full)", "error": "\(error)"]
                )
                // Each call to a member that does not answer takes its time.
                break
            }
        }
        return !keys.isEmpty
    }

    /// Takes back everything this client published.
    public func withdraw() async {
        guard let lease = self.registration.withLock({ $0.withdraw() }) else { return }
        do { try await self.gateway.revoke(lease: lease) } catch {
            self.logger.warning(
                "cannot withdraw from etcd; the lease runs out by itself",
                metadata: ["error": "\(error)"]
            )
        }
    }

    /// Takes instances of another process out, one that is known to be gone.
    public func remove(_ instances: [InstanceRecord]) async throws(DiscoveryError) {
        for instance in instances { try await self.gateway.delete(instance.key.full) }
    }

    /// What is published now.
    public func snapshot(_ filter: NamespaceFilter) async throws(DiscoveryError) -> DiscoverySnapshot {
        DiscoverySnapshot(self.records(try await self.gateway.range(prefix: Self.root)).values, filter: filter)
    }

    /// The present state, then the new state after each change.
    public func watch(_ filter: NamespaceFilter) -> AsyncStream<DiscoverySnapshot> { self.watchers.add(filter) }

    /// Keeps the lease and the watches going until cancelled.
    public func run() async throws {
        defer { self.watchers.finish() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.renew() }
            group.addTask { try await self.follow() }
            // The first that fails ends the other.
            while try await group.next() != nil {}
        }
    }

    // MARK: The lease

    private func renew() async throws {
        var pause = self.timing.renewal
        while true {
            try await Task.sleep(for: pause)
            do {
                try await self.renewOnce()
                pause = self.timing.renewal
            } catch {
                try Task.checkCancellation()
                self.logger.error("cannot renew the lease in etcd", metadata: ["error": "\(error)"])
                pause = min(self.timing.retry, self.timing.renewal)
            }
        }
    }

    private func renewOnce() async throws(DiscoveryError) {
        guard let lease = self.registration.withLock({ $0.lease }) else { return }
        if try await self.gateway.keepAlive(lease: lease) == false { try await self.regain(lease) }
        try await self.writePending()
    }

    /// Asks for a lost lease again.
    private func regain(_ lease: UInt64) async throws(DiscoveryError) {
        guard let count = self.registration.withLock({ $0.lost(lease) }) else { return }
        self.logger.warning(
            "the lease in etcd was lost, because this process was suspended or etcd lost its data; publishing again",
            metadata: ["instance": "\(InstanceID(rawValue: lease))", "records": "\(count)"]
        )
        _ = try await self.gateway.grantLease(seconds: self.timing.timeToLive, id: lease)
    }

    /// Writes what is not in etcd yet; what cannot be written is tried again with the next renewal.
    private func writePending() async throws(DiscoveryError) {
        var losses = 0
        while let write = self.registration.withLock({ $0.next }) {
            if try await self.gateway.put(write.key.full, write.value, lease: write.lease) {
                let stays = self.registration.withLock { $0.wrote(write) }
                if !stays { try await self.gateway.delete(write.key.full) }
            } else {
                losses += 1
                guard losses < 3 else {
                    throw DiscoveryError(.storeUnavailable, "etcd loses the lease again and again")
                }
                try await self.regain(write.lease)
            }
        }
    }

    // MARK: The watch

    private func follow() async throws {
        let (watched, continuation) = AsyncStream.makeStream(of: Void.self)
        self.watchers.whenWatched { continuation.finish() }
        for await _ in watched {}
        var hasSucceeded = false
        var isBroken = false
        while true {
            let started = ContinuousClock.now
            do {
                let listing = try await self.gateway.range(prefix: Self.root)
                if isBroken { self.logger.info("etcd answers again") }
                (hasSucceeded, isBroken) = (true, false)
                let end = try await self.follow(listing)
                self.logger.debug("listing etcd again", metadata: ["reason": "\(end.rawValue)"])
            } catch {
                try Task.checkCancellation()
                // Later it may be a mistake of somebody else that will be mended.
                if error.code == .invalidConfiguration, !hasSucceeded { throw error }
                // Once, not every second for as long as etcd is down.
                if !isBroken {
                    self.logger.error("cannot watch etcd; the last state is kept", metadata: ["error": "\(error)"])
                }
                isBroken = true
            }
            try Task.checkCancellation()
            if started.duration(to: .now) < self.timing.retry { try await Task.sleep(for: self.timing.retry) }
        }
    }

    /// Offers what was listed and then what changes, until everything must be listed again.
    private func follow(_ listing: EtcdGateway.Listing) async throws(DiscoveryError) -> EtcdGateway.WatchEnd {
        var records = self.records(listing)
        self.watchers.offer(Array(records.values))
        return try await self.gateway.watch(prefix: Self.root, after: listing) { changes in
            for change in changes {
                guard let key = Self.key(change.key) else { continue }
                records[key] = change.value.flatMap { self.record(key, $0) }
            }
            self.watchers.offer(Array(records.values))
        }
    }

    private func records(_ listing: EtcdGateway.Listing) -> [DiscoveryKey: DiscoveryRecord] {
        var records: [DiscoveryKey: DiscoveryRecord] = [:]
        for entry in listing.entries {
            guard let key = Self.key(entry.key) else { continue }
            records[key] = self.record(key, entry.value ?? [])
        }
        return records
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
