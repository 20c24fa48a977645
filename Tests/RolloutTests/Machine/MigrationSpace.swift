import Deployment
import Supervisor

@testable import Rollout

/// Every state that a migration can get into, found by breadth-first search over all events.
struct MigrationSpace {
    typealias Machine = MigrationMachine

    /// What one event did in one state.
    struct Move {
        var before: Machine
        var event: Machine.Event
        /// Nil: the event means nothing in this state.
        var row: Machine.Transition?
        var actions: [Machine.Action]
        var after: Machine
    }

    static let configurations: [Machine] = MigrationSettings.Strategy.allCases.flatMap { strategy in
        [1, 2, 3].flatMap { stages in
            [false, true].flatMap { asks in
                [false, true].map { warm in
                    Machine(strategy: strategy, stages: stages, asksPerson: asks, keepsWarm: warm)
                }
            }
        }
    }

    /// All kinds of events, with results of the current work, of other works and of none.
    static func events(in state: Machine) -> [Machine.Event] {
        var events: [Machine.Event] = [
            .begin, .warmOver, .journalFailed("disk full"), .oldEnded("old"), .newEnded("new"), .stopped,
        ]
        events += MigrationCommand.allCases.map { .command($0) }
        for step in MigrationStep.allCases {
            for stage in [state.stage, state.stage + 1] {
                events += [.workFinished(step, stage: stage), .workFailed(step, stage: stage, "broken")]
            }
        }
        return events
    }

    private static let searched: (moves: [Move], states: Set<Machine>) = {
        var moves: [Move] = []
        var seen = Set(Self.configurations)
        var queue = Self.configurations
        while let state = queue.popLast() {
            for event in Self.events(in: state) {
                var after = state
                let actions = after.handle(event)
                let isOfWorkOrTimer = [.finished, .failed, .warmOver].contains(event.trigger)
                let row = isOfWorkOrTimer && after == state ? nil : state.row(for: event.trigger)
                moves.append(Move(before: state, event: event, row: row, actions: actions, after: after))
                if seen.insert(after).inserted { queue.append(after) }
            }
        }
        return (moves, seen)
    }()

    /// Every move of every reachable state of all configurations.
    static var moves: [Move] { Self.searched.moves }
    static var states: Set<Machine> { Self.searched.states }
}

extension [MigrationMachine.Action] {
    var performed: [MigrationMachine.Position] {
        self.compactMap { if case .perform(let step, let stage) = $0 { .init(step, stage: stage) } else { nil } }
    }

    var end: MigrationStep? {
        for case .ended(let step, _) in self { return step }
        return nil
    }

    var refusals: [String] {
        self.compactMap { if case .refuse(let text) = $0 { text } else { nil } }
    }

    var notes: [String] {
        self.compactMap { if case .note(let text) = $0 { text } else { nil } }
    }
}
