package import Logging
package import RequestPlane
import Synchronization

/// Publishes records beside those of another process of this deployment, under that process's instance id.
///
/// For what serves a worker from outside of it: callers find it as a part of the worker, and it goes with the worker.
package struct CompanionRegistration: Sendable {
    private enum Store: Sendable {
        /// Whoever publishes a file keeps it alive.
        case file(FileDiscovery)
        /// The other process keeps its lease alive.
        case etcd(EtcdCompanion)
    }

    private let store: Store

    /// With file discovery.
    ///
    /// - Parameters:
    ///   - directory: the root, `DYN_FILE_KV`.
    ///   - id: the other process's.
    ///   - logger: where problems go.
    package init(directory: String, of id: InstanceID, logger: Logger) {
        self.store = .file(FileDiscovery(directory: directory, instanceID: id, logger: logger))
    }

    /// With etcd, where an instance's id is the id of its lease.
    ///
    /// - Parameters:
    ///   - configuration: where the cluster is.
    ///   - id: the other process's.
    ///   - logger: where problems go.
    package init(_ configuration: EtcdConfiguration, of id: InstanceID, logger: Logger) {
        self.store = .etcd(EtcdCompanion(configuration, lease: id, logger: logger))
    }

    /// Adds or replaces records, whose ids must be the other process's.
    ///
    /// - Throws: `DiscoveryError` when the store cannot be written, or the other process is gone from etcd.
    package func publish(_ records: [DiscoveryRecord]) async throws(DiscoveryError) {
        switch self.store {
        case .file(let discovery): try await discovery.publish(records)
        case .etcd(let companion): try await companion.publish(records)
        }
    }

    /// Takes back what was published here, and nothing of the other process.
    package func withdraw() async {
        switch self.store {
        case .file(let discovery): await discovery.withdraw()
        case .etcd(let companion): await companion.withdraw()
        }
    }

    /// Keeps the records alive until cancelled.
    package func run() async throws {
        switch self.store {
        case .file(let discovery): try await discovery.run()
        case .etcd: try await Task.sleep(for: .seconds(Int64.max / 1_000_000_000))
        }
    }
}

/// Writes records in etcd under a lease that another process keeps.
private final class EtcdCompanion: Sendable {
    private let gateway: EtcdGateway
    private let lease: InstanceID
    private let logger: Logger
    private let keys = Mutex<Set<DiscoveryKey>>([])

    init(_ configuration: EtcdConfiguration, lease: InstanceID, logger: Logger) {
        self.gateway = EtcdGateway(configuration)
        self.lease = lease
        self.logger = logger
    }

    func publish(_ records: [DiscoveryRecord]) async throws(DiscoveryError) {
        for record in records {
            // Before it is written: a withdrawal that comes meanwhile deletes it.
            self.keys.withLock { _ = $0.insert(record.key) }
            guard try await self.gateway.put(record.key.full, record.json.bytes, lease: self.lease.rawValue) else {
                throw DiscoveryError(.storeUnavailable, "instance \(self.lease) has no lease in etcd any more")
            }
        }
    }

    func withdraw() async {
        let keys = self.keys.withLock { keys in
            defer { keys = [] }
            return keys.sorted()
        }
        for key in keys {
            do { try await self.gateway.delete(key.full) } catch {
                self.logger.warning(
                    "cannot withdraw from etcd; the record goes with the worker's lease",
                    metadata: ["key": "\(key.full)", "error": "\(error)"]
                )
            }
        }
    }
}
