import Discovery
import DynamoRuntime
import Glibc
import Logging
import RequestPlane
import Synchronization

/// Keeps the directory of models up to date and answers questions about it.
final class ModelStore: Sendable {
    private let directory = Mutex(ModelDirectory())
    private let logger: Logger
    private let onInstanceChange: @Sendable (RuntimeService.InstanceChange) -> Void

    init(
        logger: Logger,
        onInstanceChange: @escaping @Sendable (RuntimeService.InstanceChange) -> Void
    ) {
        self.logger = logger
        self.onInstanceChange = onInstanceChange
    }

    /// Follows discovery until cancelled.
    func follow(_ snapshots: AsyncStream<DiscoverySnapshot>) async {
        var refused: Set<ModelDirectory.Refusal> = []
        var listed: Set<String> = []
        var present: Set<Instance> = []
        for await snapshot in snapshots {
            let instances = Set(snapshot.instances.map(\.instance))
            if instances != present {
                let change = RuntimeService.InstanceChange(
                    left: present.subtracting(instances),
                    come: instances.subtracting(present)
                )
                self.onInstanceChange(change)
                present = instances
            }
            let (refusals, names) = self.directory.withLock { directory in
                let refusals = directory.update(snapshot, now: time(nil))
                return (Set(refusals), Set(directory.listings.map(\.name)))
            }
            for refusal in refusals.subtracting(refused) {
                self.logger.error(
                    "model card refused",
                    metadata: ["key": "\(refusal.key.full)", "reason": "\(refusal.reason)"]
                )
            }
            for name in names.subtracting(listed) {
                self.logger.info("model is served", metadata: ["model": "\(name)"])
            }
            for name in listed.subtracting(names) { self.logger.info("model is gone", metadata: ["model": "\(name)"]) }
            refused = refusals
            listed = names
        }
    }

    /// The directory as it is now.
    var current: ModelDirectory { self.directory.withLock { $0 } }

    func blockSize(of model: String) -> Int? { self.directory.withLock { $0.blockSize(of: model) } }

    func lookup(_ model: String, _ kind: TextRequestKind) -> ModelDirectory.Lookup {
        self.directory.withLock { $0.lookup(model, kind) }
    }
}
