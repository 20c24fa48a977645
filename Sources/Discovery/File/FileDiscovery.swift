public import Logging
import NIOPosix
public import RequestPlane
import Synchronization

/// Discovery through a directory that all processes of a machine share; Dynamo's `file` backend.
///
/// There is no server: owners touch their files, and whoever watches deletes those that nobody touches any more.
public final class FileDiscovery: DiscoveryClient {
    /// How often the owner touches its files: a third of the lease.
    private static let touchInterval: Duration = .milliseconds(3300)
    /// How often files are checked for age, and the directory is read again in case a notification got lost.
    private static let sweepInterval: Duration = .milliseconds(1100)

    private let store: FileStore
    private let id: InstanceID
    private let logger: Logger
    private let watchers = SnapshotWatchers()
    private let own = Mutex<[DiscoveryKey: [UInt8]]>([:])

    /// Creates a client; nothing is written before something is published.
    ///
    /// - Parameters:
    ///   - directory: the root, `DYN_FILE_KV`.
    ///   - instanceID: the id to publish under; a random one by default.
    ///   - logger: where problems go.
    public init(directory: String, instanceID: InstanceID? = nil, logger: Logger) {
        self.store = FileStore(root: directory)
        self.id = instanceID ?? InstanceID(rawValue: .random(in: 1 ... .max))
        self.logger = logger
    }

    /// The id under which this process publishes.
    public func instanceID() -> InstanceID { self.id }

    /// Adds or replaces records.
    public func publish(_ records: [DiscoveryRecord]) async throws(DiscoveryError) {
        let files = records.map { ($0.key, $0.json.bytes) }
        self.own.withLock { own in
            for (key, bytes) in files { own[key] = bytes }
        }
        try await Self.blocking { [store] () throws(DiscoveryError) in
            for (key, bytes) in files {
                try store.write(bytes, to: key)
                // Withdrawn meanwhile: the file must not come back after it was deleted.
                if self.own.withLock({ $0[key] == nil }) { try store.remove(key) }
            }
        }
    }

    /// Takes back the models this client published.
    public func withdrawModels() async -> Bool {
        let keys = self.own.withLock { own in
            let models = own.keys.filter { $0.bucket == .models }
            for key in models { own[key] = nil }
            return models
        }
        try? await self.remove(keys)
        return !keys.isEmpty
    }

    /// Takes back everything this client published.
    public func withdraw() async {
        let keys = self.own.withLock { own in
            defer { own = [:] }
            return own.keys.sorted()
        }
        try? await self.remove(keys)
    }

    /// Takes instances of another process out, one that is known to be gone.
    public func remove(_ instances: [InstanceRecord]) async throws(DiscoveryError) {
        try await self.remove(instances.map(\.key))
    }

    private func remove(_ keys: [DiscoveryKey]) async throws(DiscoveryError) {
        try await Self.blocking { [store] () throws(DiscoveryError) in
            var failure: DiscoveryError?
            for key in keys {
                do throws(DiscoveryError) { try store.remove(key) } catch { failure = failure ?? error }
            }
            if let failure { throw failure }
        }
    }

    /// What is published now.
    public func snapshot(_ filter: NamespaceFilter) async throws(DiscoveryError) -> DiscoverySnapshot {
        var views = Views()
        try await self.refresh(&views, deleting: false)
        return DiscoverySnapshot(views.records, filter: filter)
    }

    /// What is left of processes that are gone: records that nobody renews, with the time since the last renewal.
    ///
    /// - Returns: the keys as etcd would have them, in order.
    /// - Throws: `DiscoveryError` when the directory cannot be read.
    package func leftovers() async throws(DiscoveryError) -> [(key: String, age: Duration)] {
        try await Self.blocking { [store] () throws(DiscoveryError) in
            let now = FileStore.now
            var result: [(key: String, age: Duration)] = []
            for bucket in DiscoveryBucket.allCases {
                for entry in try store.entries(of: bucket) where now - entry.modified > FileStore.timeToLive {
                    let key = DiscoveryKey(bucket: bucket, fileName: entry.name)?.full
                    result.append((key ?? "\(bucket.rawValue)/\(entry.name)", now - entry.modified))
                }
            }
            return result.sorted { $0.key < $1.key }
        }
    }

    /// The present state, then the new state after each change.
    public func watch(_ filter: NamespaceFilter) -> AsyncStream<DiscoverySnapshot> { self.watchers.add(filter) }

    /// Keeps the lease and the watches going until cancelled.
    public func run() async throws {
        defer { self.watchers.finish() }
        let (wakeUps, wakeUp) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.tick(wakeUp) }
            group.addTask { await self.notify(wakeUp) }
            try await self.serve(wakeUps)
            group.cancelAll()
        }
    }

    // MARK: The parts of run()

    private func tick(_ wakeUp: AsyncStream<Void>.Continuation) async throws {
        while true {
            wakeUp.yield()
            try await Task.sleep(for: Self.sweepInterval)
        }
    }

    private func notify(_ wakeUp: AsyncStream<Void>.Continuation) async {
        let (watched, continuation) = AsyncStream.makeStream(of: Void.self)
        self.watchers.whenWatched { continuation.finish() }
        for await _ in watched {}
        do {
            try await DirectoryWatcher(store: self.store, renewal: Self.sweepInterval).run { wakeUp.yield() }
        } catch is CancellationError {
        } catch {
            self.logger.warning(
                "no notifications from the discovery directory; it is read every \(Self.sweepInterval) instead",
                metadata: ["error": "\(error)", "directory": "\(self.store.root)"]
            )
        }
    }

    private func serve(_ wakeUps: AsyncStream<Void>) async throws {
        var views = Views()
        var lastTouch = ContinuousClock.now
        for await _ in wakeUps {
            let now = ContinuousClock.now
            if now - lastTouch >= Self.touchInterval - .milliseconds(100) {
                lastTouch = now
                await self.touch()
            }
            guard self.watchers.isWatched else { continue }
            do {
                try await self.refresh(&views, deleting: true)
                self.watchers.offer(views.records)
            } catch {
                // Readers keep the last good state.
                self.logger.error("cannot read the discovery directory", metadata: ["error": "\(error)"])
            }
        }
        try Task.checkCancellation()
    }

    private func touch() async {
        let own = self.own.withLock { $0 }
        let cleans = self.watchers.isWatched
        do {
            let (restored, failure) = try await Self.blocking { [store, self] () throws(DiscoveryError) in
                // All of them first: one that cannot be restored must not cost the others their lives.
                let gone = own.filter { !store.touch($0.key) }
                var restored: [DiscoveryKey] = []
                var failure: DiscoveryError?
                for (key, bytes) in gone.sorted(by: { $0.key < $1.key }) {
                    // Somebody took this process for dead, for example after it was suspended.
                    do throws(DiscoveryError) { try store.write(bytes, to: key) } catch {
                        failure = error
                        continue
                    }
                    if self.own.withLock({ $0[key] }) == nil { try? store.remove(key) } else { restored.append(key) }
                }
                if cleans { store.removeAbandonedTemporaries() }
                return (restored, failure)
            }
            for key in restored {
                self.logger.warning(
                    "a discovery record was deleted by others and is published again",
                    metadata: ["key": "\(key.full)"]
                )
            }
            if let failure { throw failure }
        } catch {
            self.logger.error("cannot renew the discovery records", metadata: ["error": "\(error)"])
        }
    }

    // MARK: Reading

    private struct Views: Sendable {
        var buckets = Dictionary(uniqueKeysWithValues: DiscoveryBucket.allCases.map { ($0, FileBucketView()) })

        var records: [DiscoveryRecord] { self.buckets.values.flatMap(\.records) }
    }

    private func refresh(_ views: inout Views, deleting: Bool) async throws(DiscoveryError) {
        let current = views
        let own = self.own.withLock { Set($0.keys) }
        views = try await Self.blocking { [store, logger] () throws(DiscoveryError) in
            var views = current
            for bucket in DiscoveryBucket.allCases {
                var view = views.buckets[bucket] ?? FileBucketView()
                let entries = try store.entries(of: bucket)
                let actions = view.listed(entries, wallClock: FileStore.now, now: .now)
                for name in actions.read {
                    view.read(name, Self.record(name, in: bucket, of: store, logger: logger))
                }
                if deleting { Self.delete(actions.delete, in: bucket, of: store, sparing: own, logger: logger) }
                views.buckets[bucket] = view
            }
            return views
        }
    }

    private static func record(
        _ name: String,
        in bucket: DiscoveryBucket,
        of store: FileStore,
        logger: Logger
    ) -> DiscoveryRecord? {
        do {
            // Empty: created and not yet filled; the notification at its closing brings it back here.
            guard let bytes = try store.read(name, in: bucket), !bytes.isEmpty else { return nil }
            return try DiscoveryRecord(bucket: bucket, bytes: bytes)
        } catch {
            logger.warning(
                "a discovery record cannot be read and is left out",
                metadata: ["file": "\(store.path(of: bucket))/\(name)", "error": "\(error)"]
            )
            return nil
        }
    }

    private static func delete(
        _ entries: [FileStore.Entry],
        in bucket: DiscoveryBucket,
        of store: FileStore,
        sparing own: Set<DiscoveryKey>,
        logger: Logger
    ) {
        for entry in entries {
            let name = entry.name
            if let key = DiscoveryKey(bucket: bucket, fileName: name), own.contains(key) { continue }
            // Its owner may have come back since the listing.
            guard store.entry(name, in: bucket) == entry else { continue }
            store.remove(name, in: bucket)
            logger.info("deleted the discovery record of a process that is gone", metadata: ["file": "\(name)"])
        }
    }

    /// Runs file-system calls outside the cooperative pool.
    private static func blocking<Value: Sendable>(
        _ body: @escaping @Sendable () throws(DiscoveryError) -> Value
    ) async throws(DiscoveryError) -> Value {
        do {
            return try await NIOThreadPool.singleton.runIfActive(body)
        } catch let error as DiscoveryError {
            throw error
        } catch {
            throw DiscoveryError(.storeUnavailable, "file access was cancelled", cause: error)
        }
    }
}
