internal import Deployment

/// Replicas that an earlier launcher has started.
extension DeploymentMachine {
    /// What it leaves of one.
    struct Adopted: Sendable, Equatable {
        var run: Int
        var restarts: Int
        var restartsAskedFor = 0
        var note: KeptNote
        /// nil: it has ended.
        var pid: Int32?
        var startedAt: ContinuousClock.Instant
    }

    /// To be told before `begin`; whether all are there is looked at when all are known.
    mutating func adopt(_ index: Int, _ kept: Adopted, at now: ContinuousClock.Instant) -> [Action] {
        self.isAdopted = true
        self.services.isUnknown = true
        let inner = self.replicas[index].adopt(
            run: kept.run,
            restarts: (all: kept.restarts, askedFor: kept.restartsAskedFor),
            note: kept.note,
            pid: kept.pid,
            startedAt: kept.startedAt,
            at: now
        )
        return inner.map { .replica(index, $0) }
    }
}
