import Discovery
import DynamoRuntime
import Glibc
import Logging
import RequestPlane
import Synchronization

/// Keeps the directory of models up to date and answers questions about it.
final class ModelStore: Sendable {
    private struct State {
        var directory = ModelDirectory()
        /// The models that are served.
        var listed: Set<String> = []
    }

    private let state = Mutex(State())
    private let logger: Logger
    private let onInstanceChange: @Sendable (RuntimeService.InstanceChange) -> Void
    private let onTokenModels: @Sendable ([ModelDirectory.TokenModelSource]) -> Void

    init(
        logger: Logger,
        onInstanceChange: @escaping @Sendable (RuntimeService.InstanceChange) -> Void,
        onTokenModels: @escaping @Sendable ([ModelDirectory.TokenModelSource]) -> Void = { _ in }
    ) {
        self.logger = logger
        self.onInstanceChange = onInstanceChange
        self.onTokenModels = onTokenModels
    }

    /// Follows discovery until cancelled.
    func follow(_ snapshots: AsyncStream<DiscoverySnapshot>) async {
        var refused: Set<ModelDirectory.Refusal> = []
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
            let (refusals, sources) = self.change { directory in
                (Set(directory.update(snapshot, now: time(nil))), directory.tokenModels)
            }
            for refusal in refusals.subtracting(refused) {
                self.logger.error(
                    "model card refused",
                    metadata: ["key": "\(refusal.key.full)", "reason": "\(refusal.reason)"]
                )
            }
            refused = refusals
            self.onTokenModels(sources)
        }
    }

    /// The models of workers that take tokens for which everything is there now.
    func prepared(_ names: Set<String>) { self.change { $0.prepared = names } }

    /// Changes the directory, and tells which models are served from now on and which are not any more.
    private func change<Value: Sendable>(_ body: (inout ModelDirectory) -> Value) -> Value {
        let (value, come, gone) = self.state.withLock { state in
            let value = body(&state.directory)
            let listed = Set(state.directory.listings.map(\.name))
            defer { state.listed = listed }
            return (value, listed.subtracting(state.listed), state.listed.subtracting(listed))
        }
        for name in come.sorted() { self.logger.info("model is served", metadata: ["model": "\(name)"]) }
        for name in gone.sorted() { self.logger.info("model is gone", metadata: ["model": "\(name)"]) }
        return value
    }

    /// The directory as it is now.
    var current: ModelDirectory { self.state.withLock { $0.directory } }

    func blockSize(of model: String) -> Int? { self.state.withLock { $0.directory.blockSize(of: model) } }

    func lookup(_ model: String, _ kind: TextRequestKind) -> ModelDirectory.Lookup {
        self.state.withLock { $0.directory.lookup(model, kind) }
    }

    /// The workers that process prompts for others.
    func prefillInstances(of model: String) -> [Instance] {
        self.state.withLock { $0.directory.prefillInstances(of: model) }
    }
}
