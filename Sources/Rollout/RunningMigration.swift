internal import Supervisor

/// The migration that is under way, as the loop keeps it.
struct RunningMigration {
    let id: Int
    let migration: PlannedMigration
    let work: MigrationWork
    var machine: MigrationMachine
    var startedAt = ContinuousClock.now
    var stepAt = ContinuousClock.now
    var notes: [String] = []
    var watchers: [AsyncStream<MigrationStatus>.Continuation] = []
    var underWay: StepWork?
    /// When the old generation is not kept any more.
    var warmEnd: ContinuousClock.Instant?
    /// What the new generation waits for while it starts.
    var waitingFor: String?
    /// Why not even its beginning is in the journal; nothing of it can be written then.
    var unwritten: MigrationJournalError?
    /// It goes on under this launcher, with the step that is entered first.
    var isTakenUp = false
}
