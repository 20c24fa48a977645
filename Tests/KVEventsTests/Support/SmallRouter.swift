import KVEvents
import KVRouter
import RequestPlane
import Synchronization
import TestSupport

/// A router that believes what one worker publishes, and asks it for what it has missed.
final class SmallRouter: Sendable {
    private let model = Mutex(BlockModel())
    private let recovery: KVRecovery
    private let instance: Instance
    private let worker: WorkerRank

    init(_ client: any RequestPlaneClient, form: DynamoEventForm, worker: WorkerRank, at instance: Instance) {
        self.recovery = KVRecovery(client, form: form)
        self.instance = instance
        self.worker = worker
    }

    var blocks: [BlockHash: StoredBlock] { self.model.withLock { $0.blocks } }
    var lastID: UInt64 { self.model.withLock { $0.lastID } }

    func receive(_ events: [RouterEvent]) {
        self.model.withLock { model in for event in events { model.apply(event.event) } }
    }

    /// Asks whenever something is missing, until cancelled.
    func run() async throws {
        while true {
            try await eventually(within: .seconds(120), "something is missing") {
                self.model.withLock { $0.missing } != nil
            }
            guard let missing = self.model.withLock({ $0.missing }) else { continue }
            let answer = try await self.recovery.recoverWithRetries(self.worker, from: missing, at: self.instance)
            self.model.withLock { $0.apply(answer) }
        }
    }
}
