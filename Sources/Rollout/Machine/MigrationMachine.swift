package import Deployment
package import Supervisor

/// Decides what a migration does next.
///
/// It knows no clock, no process and no file: what happens comes in as events, and what is to be done goes out as actions. What it
/// does in which step stands in `table`, from which the diagram in `docs/migration.md` is made as well.
///
/// Who guarantees what:
/// - The machine has at most one work under way. It asks for the next one by `perform`; when one is under way that is of no more
///   interest, `cancelWork` comes first. A result that is not that of the current work is ignored.
/// - Whoever performs the actions does so one after the other, in the order given. For `perform` it writes the journal's record of
///   the step, then does the work, then tells the result with the same step and stage. For `cancelWork` it cancels the work and
///   waits until it has ended, and does not tell its result. `confirming` and `warm` have a record but no work: nothing is told of them.
/// - `oldEnded` and `newEnded` are told of a generation that is meant to run and is given up for good, not of one that the work
///   of a step stops.
///
/// Rules that hold everywhere:
/// - A pause holds the next step, not the work under way. It never holds what brings clients to safety: a failure and
///   the loss of a generation are acted on at once, and end the pause.
/// - Once the old generation is lost there is nothing to go back to: what would take the migration back makes it fail, or is refused.
package struct MigrationMachine: Sendable, Hashable {
    /// What happened.
    package enum Event: Sendable, Hashable {
        case begin
        /// The current work is done; step and stage as in `perform`.
        case workFinished(MigrationStep, stage: Int)
        /// The current work has failed, and why.
        case workFailed(MigrationStep, stage: Int, String)
        /// The time is over for which the old generation is kept warm.
        case warmOver
        /// The record of the current step could not be written; nothing of the step has been done.
        ///
        /// When the answer asks for no other step, the step is done without its record.
        case journalFailed(String)
        /// The old generation was given up for good.
        case oldEnded(String)
        /// The new generation was given up for good.
        case newEnded(String)
        /// The whole deployment is being stopped.
        case stopped
        /// A person wants something.
        case command(MigrationCommand)
    }

    /// What is to be done.
    package enum Action: Sendable, Hashable {
        /// Write the step's record, then do its work (`confirming` and `warm` have none). Stages count from 0.
        case perform(MigrationStep, stage: Int)
        /// End the work under way, and wait until it has ended.
        case cancelWork
        /// Tell `warmOver` after the rollback window; the whole of it, also after a pause.
        case armWarm
        case cancelWarm
        /// It is over, with one of the three ends; nothing but `refuse` comes after it.
        ///
        /// With `failed` the new generation is still to be stopped, as the whole deployment is.
        case ended(MigrationStep, reason: String?)
        /// A person should know this.
        case note(String)
        /// The command was not obeyed, and why. Nothing has changed.
        case refuse(String)
    }

    /// A step, and which of the stages it is in.
    package struct Position: Sendable, Hashable {
        package var step: MigrationStep
        /// From 0; only `shifting` and `observing` differ by it.
        package var stage: Int

        package init(_ step: MigrationStep, stage: Int = 0) {
            self.step = step
            self.stage = stage
        }
    }

    package let strategy: MigrationSettings.Strategy
    /// How often more of the requests (`rolling`: of the workers) are moved; at least 1.
    package let stages: Int
    package let asksPerson: Bool
    package let keepsWarm: Bool

    /// `preparing` also before `begin`.
    package private(set) var step: MigrationStep = .preparing
    /// From 0.
    package private(set) var stage = 0
    package private(set) var isPaused = false
    /// Why it is or was taken back, or has failed.
    package private(set) var reason: String?
    /// Nothing is observed any more, because a person has promoted the new generation or the old one is lost.
    package private(set) var isHurried = false
    /// The old generation was given up: there is nothing to go back to.
    package private(set) var oldIsLost = false
    /// Whether a work was asked for whose result has not been told.
    package private(set) var isWorking = false
    package private(set) var hasBegun = false
    private var timerIsSet = false

    /// A migration that has not begun.
    ///
    /// - Parameters:
    ///   - strategy: decides about the steps.
    ///   - stages: see `stages`; less than 1 counts as 1.
    ///   - asksPerson: whether a person is waited for before clients reach the new generation.
    ///   - keepsWarm: whether the old generation is kept for a while; only with `blueGreen`, as it does not run
    ///     beside the new one with the other strategies.
    package init(strategy: MigrationSettings.Strategy, stages: Int, asksPerson: Bool, keepsWarm: Bool) {
        self.strategy = strategy
        self.stages = max(1, stages)
        self.asksPerson = asksPerson
        self.keepsWarm = keepsWarm
    }

    /// Takes an event and says what is to be done, in this order.
    ///
    /// - Parameter event: what happened. One that means nothing in this step has no effect.
    /// - Returns: the actions; for a command that is not obeyed, `refuse` alone.
    package mutating func handle(_ event: Event) -> [Action] {
        switch event {
        case .workFinished(let step, let stage), .workFailed(let step, let stage, _):
            guard self.isWorking, step == self.step, stage == self.stage else { return [] }
            self.isWorking = false
        case .warmOver:
            guard self.timerIsSet else { return [] }
            self.timerIsSet = false
        case .begin, .journalFailed, .oldEnded, .newEnded, .stopped, .command:
            break
        }
        guard let row = self.row(for: event.trigger) else { return [] }
        return self.follow(row, text: event.text)
    }

    /// Goes on with a migration that another launcher has begun, as the table says from there on; instead of `begin`.
    ///
    /// - Parameters:
    ///   - position: a step with work, which is done anew.
    ///   - isPaused: whether a person has paused it.
    /// - Returns: what is to be done.
    package mutating func takeUp(_ position: Position, isPaused: Bool) -> [Action] {
        guard !self.hasBegun, position.step.hasWork else { return [] }
        self.stage = min(max(0, position.stage), self.stages - 1)
        let actions = self.enter(position.step, stage: .same)
        self.isPaused = isPaused
        return actions
    }

    /// The row of the table that says what a trigger does now; nil: nothing.
    func row(for trigger: Trigger) -> Transition? {
        Self.table.first { row in
            row.on == trigger && (self.hasBegun ? row.from.contains(self.step) : row.from.isEmpty)
                && row.when.allSatisfy { $0.holds(for: self) }
        }
    }

    private mutating func follow(_ row: Transition, text: String?) -> [Action] {
        var actions: [Action] = []
        for effect in row.does {
            switch effect {
            case .hurry:
                self.isHurried = true
            case .loseOld:
                self.oldIsLost = true
            case .reason(let words):
                let reason = Self.sentence(words, text)
                self.reason = self.reason.map { "\($0); \(reason)" } ?? reason
            case .note(let words):
                actions.append(.note(Self.sentence(words, text)))
            case .refuse(let why):
                let place = self.hasBegun ? "in the step \(self.step.rawValue)" : "before it has begun"
                return [.refuse("the migration cannot be \(row.on.participle) \(place): \(why)")]
            case .pause:
                self.isPaused = true
                if self.timerIsSet {
                    self.timerIsSet = false
                    actions.append(.cancelWarm)
                }
            case .resume:
                self.isPaused = false
                if row.to == nil, self.step == .warm, !self.timerIsSet {
                    self.timerIsSet = true
                    actions.append(.armWarm)
                }
            }
        }
        if let step = row.to {
            actions += self.enter(step, stage: row.stage)
        } else if row.does.contains(.resume), self.step.hasWork, !self.isWorking, let next = self.row(for: .finished) {
            // The work was done during the pause.
            actions += self.follow(next, text: nil)
        }
        return actions
    }

    private mutating func enter(_ step: MigrationStep, stage: StageChoice) -> [Action] {
        var actions: [Action] = []
        if self.isWorking { actions.append(.cancelWork) }
        if self.timerIsSet { actions.append(.cancelWarm) }
        self.timerIsSet = false
        self.isPaused = false
        self.hasBegun = true
        self.step = step
        switch stage {
        case .same: break
        case .first: self.stage = 0
        case .next: self.stage = min(self.stage + 1, self.stages - 1)
        case .last: self.stage = self.stages - 1
        }
        self.isWorking = step.hasWork
        if step.isEnd {
            actions.append(.ended(step, reason: self.reason))
        } else {
            actions.append(.perform(step, stage: self.stage))
        }
        if step == .warm {
            self.timerIsSet = true
            actions.append(.armWarm)
        }
        return actions
    }

    private static func sentence(_ words: String, _ text: String?) -> String {
        [words, text ?? ""].filter { !$0.isEmpty }.joined(separator: ": ")
    }

    /// What is passed from here to the end when nothing goes wrong and a person who is asked agrees; without the current step.
    package var remaining: [Position] {
        var machine = self
        machine.isPaused = false
        var positions: [Position] = []
        while !machine.step.isEnd {
            let trigger: Trigger =
                switch machine.step {
                case _ where !machine.hasBegun: .begin
                case .confirming: .promote
                case .warm: .warmOver
                default: .finished
                }
            guard let row = machine.row(for: trigger) else { break }
            _ = machine.follow(row, text: nil)
            positions.append(Position(machine.step, stage: machine.stage))
        }
        return positions
    }
}

extension MigrationMachine.Event {
    var trigger: MigrationMachine.Trigger {
        switch self {
        case .begin: .begin
        case .workFinished: .finished
        case .workFailed: .failed
        case .warmOver: .warmOver
        case .journalFailed: .journalFailed
        case .oldEnded: .oldEnded
        case .newEnded: .newEnded
        case .stopped: .stopped
        case .command(.pause): .pause
        case .command(.resume): .resume
        case .command(.promote): .promote
        case .command(.abort), .command(.rollback): .abort
        }
    }

    /// What was told with it.
    var text: String? {
        switch self {
        case .workFailed(_, _, let text), .journalFailed(let text), .oldEnded(let text), .newEnded(let text): text
        case .begin, .workFinished, .warmOver, .stopped, .command: nil
        }
    }
}

extension MigrationStep {
    /// Whether something is done in it, which ends by itself; the others wait.
    package var hasWork: Bool { !self.isEnd && self != .confirming && self != .warm }
}
