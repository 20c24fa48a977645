internal import Deployment
internal import Supervisor

extension MigrationMachine {
    /// The kinds of events that the table knows.
    enum Trigger: Sendable, Hashable, CaseIterable {
        case begin, finished, failed, warmOver, journalFailed, oldEnded, newEnded, stopped, pause, resume, promote,
            abort

        /// For the diagram.
        var words: String {
            switch self {
            case .begin: "begin"
            case .finished: "finished"
            case .failed: "failed"
            case .warmOver: "the window is over"
            case .journalFailed: "journal not writable"
            case .oldEnded: "old generation given up"
            case .newEnded: "new generation given up"
            case .stopped: "deployment stopped"
            case .pause: "pause"
            case .resume: "resume"
            case .promote: "promote"
            case .abort: "abort"
            }
        }

        /// For refusals: the migration cannot be ...
        var participle: String {
            switch self {
            case .pause: "paused"
            case .resume: "resumed"
            case .promote: "promoted"
            case .abort: "taken back"
            case .begin, .finished, .failed, .warmOver, .journalFailed, .oldEnded, .newEnded, .stopped: self.words
            }
        }
    }

    /// What a row asks of the state beside the step.
    enum Condition: Sendable, Hashable {
        case blueGreen, rolling, recreate
        case asksPerson, keepsWarm
        case isLastStage, isPaused, isNotPaused
        /// See `isHurried`.
        case isHurried
        case oldIsLost, oldIsThere

        var words: String {
            switch self {
            case .blueGreen: "blue-green"
            case .rolling: "rolling"
            case .recreate: "recreate"
            case .asksPerson: "with --confirm"
            case .keepsWarm: "with a rollback window"
            case .isLastStage: "all is moved"
            case .isPaused: "paused"
            case .isNotPaused: "not paused"
            case .isHurried: "promoted"
            case .oldIsLost: "old generation lost"
            case .oldIsThere: "old generation there"
            }
        }

        func holds(for machine: MigrationMachine) -> Bool {
            switch self {
            case .blueGreen: machine.strategy == .blueGreen
            case .rolling: machine.strategy == .rolling
            case .recreate: machine.strategy == .recreate
            case .asksPerson: machine.asksPerson
            case .keepsWarm: machine.keepsWarm
            case .isLastStage: machine.stage >= machine.stages - 1
            case .isPaused: machine.isPaused
            case .isNotPaused: !machine.isPaused
            case .isHurried: machine.isHurried
            case .oldIsLost: machine.oldIsLost
            case .oldIsThere: !machine.oldIsLost
            }
        }
    }

    /// Which stage a step is entered with.
    enum StageChoice: Sendable, Hashable {
        case same, first, next, last
    }

    /// What a row does beside entering a step.
    enum Effect: Sendable, Hashable {
        /// From here on nothing is observed.
        case hurry
        /// There is no way back from here on.
        case loseOld
        /// Why it ends as it does: these words, and what was told with the event.
        case reason(String)
        case note(String)
        case refuse(String)
        case pause
        /// Ends a pause, and goes on if the work was done during it.
        case resume
    }

    /// One row of the table.
    ///
    /// Of several that fit, the first one counts.
    struct Transition: Sendable, Hashable {
        /// Empty: before it has begun.
        var from: [MigrationStep]
        var on: Trigger
        /// All of them must hold.
        var when: [Condition]
        /// Nil: the step stays.
        var to: MigrationStep?
        var stage: StageChoice
        var does: [Effect]

        init(
            _ from: [MigrationStep],
            _ on: Trigger,
            when: [Condition] = [],
            to: MigrationStep? = nil,
            stage: StageChoice = .same,
            does: [Effect] = []
        ) {
            self.from = from
            self.on = on
            self.when = when
            self.to = to
            self.stage = stage
            self.does = does
        }
    }
}
