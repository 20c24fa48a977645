package import Deployment
internal import Supervisor

/// Where a migration goes on whose launcher is gone and whose new generation runs.
package struct MigrationResumption: Sendable, Hashable {
    /// Why it cannot, in words that "cannot be resumed: " can stand before.
    package struct Refusal: Error, Sendable, Hashable, CustomStringConvertible {
        package var description: String

        package init(_ description: String) { self.description = description }
    }

    package var began: JournalRecord.Began
    /// When it began.
    package var time: String
    /// What the journal had last.
    package var last: MigrationMachine.Position
    /// What is done next: nothing that had not come to its end counts as done.
    package var position: MigrationMachine.Position
    /// Whether a person has paused it.
    package var isPaused: Bool
    /// Whether the deployment is the new generation already.
    package var isCommitted: Bool
    package var settings: MigrationSettings
    package var fromSource: GenerationSource
    package var asksPerson: Bool

    /// Percent of the requests that the new generation gets until both were looked at: the part that was being moved is not moved yet.
    ///
    /// - Parameter shares: what it gets in each stage.
    /// - Returns: it.
    package func share(_ shares: [Int]) -> Int {
        switch self.last.step {
        case .observing: shares[min(self.last.stage, shares.count - 1)]
        case .shifting: self.last.stage > 0 ? shares[min(self.last.stage, shares.count) - 1] : 0
        case .draining, .warm: 100
        default: 0
        }
    }

    /// How many stages have come to their end.
    ///
    /// - Parameter count: of all of them.
    /// - Returns: how many.
    package func finishedStages(of count: Int) -> Int {
        switch self.position.step {
        case .shifting: min(self.position.stage, count)
        case .draining: count
        default: 0
        }
    }

    /// For the user, a sentence without a full stop.
    ///
    /// - Parameter shares: percent of the requests that the new generation gets in each stage.
    /// - Returns: the sentence.
    package func words(_ shares: [Int]) -> String {
        let share =
            self.last.step == .shifting || self.last.step == .observing
            ? " (\(shares[min(self.last.stage, shares.count - 1)]) %)" : ""
        let pause = self.isPaused ? ", paused" : ""
        return
            "from generation \(self.began.from) to \(self.began.to), begun at \(self.time) under an earlier launcher, "
            + "goes on at its step \(self.last.step.rawValue)\(share)\(pause)"
    }

    /// How long ago it began.
    var age: Duration {
        guard let began = LogTime(self.time) else { return .zero }
        return .milliseconds(max(0, LogTime.now.milliseconds - began.milliseconds))
    }
}

/// A migration to go on with.
package struct ResumedMigration: Sendable {
    package var migration: PlannedMigration
    package var resumption: MigrationResumption
    /// What runs of the old generation, or shall run; nil: it was stopped.
    package var old: Plan?
    /// The same of the new one.
    package var new: Plan

    package init(_ migration: PlannedMigration, _ resumption: MigrationResumption, old: Plan?, new: Plan) {
        self.migration = migration
        self.resumption = resumption
        self.old = old
        self.new = new
    }
}

extension MigrationHistory {
    /// Where the migration without an end goes on, when what runs of its generations is what it has left.
    ///
    /// - Parameter base: what `up` is called with now.
    /// - Returns: where; nil when there is none, or all that is left of it is the end of the generation that it is done with.
    /// - Throws: `Refusal` when it is to be finished or undone instead.
    package func resumption(
        calledWith base: GenerationSource
    ) throws(MigrationResumption.Refusal) -> MigrationResumption? {
        guard let unfinished = self.unfinished, let step = unfinished.step else { return nil }
        let began = unfinished.began
        let last = MigrationMachine.Position(step, stage: unfinished.stage)
        var position = last
        switch step {
        case .retiring, .rollingBack, .done, .rolledBack, .failed: return nil
        case .preparing, .emptying:
            throw MigrationResumption.Refusal("nothing of it had been done")
        case .starting, .verifying, .canary, .shifting, .draining: break
        // These wait, or watch: what came before them leads to them again.
        case .confirming: position.step = .canary
        case .observing: position.step = .shifting
        case .warm: position.step = .draining
        }
        guard let settings = began.settings, let fromSource = began.fromSource, let asksPerson = began.asksPerson,
            !settings.steps.isEmpty
        else { throw MigrationResumption.Refusal("the launcher that began it did not note how it is done") }
        let changes = base.changes(since: began.base)
        guard changes.isEmpty else {
            throw MigrationResumption.Refusal("\(changes.joined(separator: " and ")) changed since it began")
        }
        return MigrationResumption(
            began: began,
            time: unfinished.time,
            last: last,
            position: position,
            isPaused: unfinished.isPaused,
            isCommitted: unfinished.isCommitted,
            settings: settings,
            fromSource: fromSource,
            asksPerson: asksPerson
        )
    }
}
