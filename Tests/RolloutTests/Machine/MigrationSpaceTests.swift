import Deployment
import Supervisor
import Testing

@testable import Rollout

/// What must hold in every state for every event.
struct MigrationSpaceTests {
    typealias Machine = MigrationMachine
    private let moves = MigrationSpace.moves
    private let states = MigrationSpace.states

    @Test func `every step is reached with every strategy that has it`() {
        for strategy in MigrationSettings.Strategy.allCases {
            var steps = Set(MigrationStep.allCases)
            if strategy != .recreate { steps.remove(.emptying) }
            if strategy != .blueGreen { steps.remove(.warm) }
            #expect(Set(states.filter { $0.strategy == strategy }.map(\.step)) == steps)
        }
    }

    @Test func `every row of the table is used, and no other change of step happens`() {
        var used: [Machine.Transition: Set<MigrationStep?>] = [:]
        for move in moves {
            if let row = move.row { used[row, default: []].insert(move.before.hasBegun ? move.before.step : nil) }
            guard move.before.step != move.after.step || move.before.stage != move.after.stage else { continue }
            // A resumed migration follows the row of the work that was done during the pause.
            var resumed = move.before
            if resumed.isPaused, !resumed.isWorking { _ = resumed.handle(.command(.resume)) }
            let isRow = move.row?.to == move.after.step
            let isHeld = move.before.isPaused && !move.before.isWorking && move.row?.does.contains(.resume) == true
            #expect(isRow || isHeld, "\(move)")
        }
        for row in Machine.table {
            let wanted: Set<MigrationStep?> = row.from.isEmpty ? [nil] : Set(row.from)
            #expect(used[row] == wanted, "\(row) is not used from \(wanted.subtracting(used[row] ?? []))")
        }
    }

    @Test func `an end is final, and says nothing but refusals`() {
        for move in moves where move.before.step.isEnd {
            #expect(move.after == move.before)
            #expect(move.actions.count == move.actions.refusals.count)
            if case .command = move.event {
                #expect(move.actions.refusals.count == 1)
            } else {
                #expect(move.actions == [])
            }
        }
    }

    @Test func `each step that is entered is asked for exactly once, and nothing else is`() {
        for move in moves {
            let entered = move.actions.performed
            let isEntered =
                (move.before.step, move.before.stage) != (move.after.step, move.after.stage)
                || (!move.before.hasBegun && move.after.hasBegun)
            // Entering an end, or the same step again, cannot be told from the position alone.
            if move.after.step.isEnd {
                #expect(entered == [] && move.actions.end == (move.before.step.isEnd ? nil : move.after.step))
            } else if isEntered {
                #expect(entered == [.init(move.after.step, stage: move.after.stage)], "\(move)")
            } else {
                #expect(entered == [], "\(move)")
            }
        }
    }

    @Test func `a work under way is cancelled before the next one, and only then`() {
        for move in moves where move.before.isWorking {
            let isResult =
                move.event == .workFinished(move.before.step, stage: move.before.stage)
                || move.event == .workFailed(move.before.step, stage: move.before.stage, "broken")
            let leaves = !move.actions.performed.isEmpty || move.actions.end != nil
            let cancel = move.actions.firstIndex(of: .cancelWork)
            #expect((cancel != nil) == (leaves && !isResult), "\(move)")
            if let cancel {
                let next = move.actions.firstIndex {
                    switch $0 {
                    case .perform, .ended: true
                    default: false
                    }
                }
                #expect(next.map { cancel < $0 } == true)
            }
        }
        for move in moves where !move.before.isWorking { #expect(!move.actions.contains(.cancelWork)) }
    }

    @Test func `a result that is not of the current work changes nothing`() {
        for move in moves {
            switch move.event {
            case .workFinished(let step, let stage), .workFailed(let step, let stage, _):
                let isCurrent = move.before.isWorking && step == move.before.step && stage == move.before.stage
                if !isCurrent { #expect(move.actions == [] && move.after == move.before) }
            default: break
            }
        }
    }

    @Test func `every step has an exit, and work or a timer or a person leads to it`() {
        for state in states where state.hasBegun && !state.step.isEnd {
            let exits: [Machine.Event] = [
                .workFinished(state.step, stage: state.stage), .command(.resume), .command(.promote), .warmOver,
            ]
            #expect(
                exits.contains { event in
                    var next = state
                    _ = next.handle(event)
                    return next != state
                },
                "\(state) is stuck"
            )
            if !state.isPaused {
                #expect(state.isWorking == state.step.hasWork)
                #expect(state.remaining.last?.step == (state.step == .rollingBack ? .rolledBack : .done))
            }
        }
    }

    @Test func `stopping ends every migration at once, on the side of the commit point`() {
        for move in moves where move.event == .stopped && !move.before.step.isEnd {
            let isCommitted = [.draining, .warm, .retiring].contains(move.before.step)
            #expect(move.after.step == (isCommitted ? .done : .rolledBack))
            #expect(move.actions.end == move.after.step)
        }
    }

    @Test func `an abort always leads back, or is refused with a reason`() {
        for move in moves where move.event == .command(.abort) || move.event == .command(.rollback) {
            let isReversible = Machine.reversible.contains(move.before.step) && move.before.hasBegun
            if isReversible, !move.before.oldIsLost {
                #expect(move.actions.performed.map(\.step) == [.rollingBack])
                var after = move.after
                let end = after.handle(.workFinished(.rollingBack, stage: after.stage))
                #expect(end.end == .rolledBack && after.reason?.isEmpty == false)
            } else {
                #expect(move.actions.refusals.count == 1 && move.after == move.before)
            }
        }
    }

    @Test func `a command that is refused changes nothing, and one that is obeyed does something`() {
        for move in moves {
            if !move.actions.refusals.isEmpty {
                #expect(move.actions.count == 1 && move.after == move.before)
                guard case .command = move.event else {
                    Issue.record("\(move.event) was refused")
                    continue
                }
            } else if case .command = move.event {
                #expect(move.after != move.before, "\(move)")
            }
        }
    }

    @Test func `nothing goes back but through rolling back, and what is rolled back has been asked for`() {
        for move in moves where move.after.step == .rolledBack && move.before.step != .rolledBack {
            #expect(move.before.step == .rollingBack || move.event == .stopped)
        }
        for move in moves where move.after.step == .rollingBack && move.before.step != .rollingBack {
            #expect(move.actions.performed.map(\.step) == [.rollingBack])
            #expect(!move.before.oldIsLost, "there is nothing to go back to: \(move)")
            #expect(move.after.reason?.isEmpty == false)
        }
    }

    @Test func `clients reach the new generation only after the canary, and after the person who is asked`() {
        for move in moves
        where move.before.stage == 0 && move.actions.performed.contains(where: { $0.step == .shifting }) {
            let from = move.before.step
            if Machine.unproved.contains(from) {
                #expect(from == .canary && !move.before.asksPerson)
                #expect(move.before.isPaused == (move.event == .command(.resume)))
            }
            if from == .confirming { #expect(move.event == .command(.promote) || move.event == .oldEnded("old")) }
        }
    }

    @Test func `every failure of the new generation takes the migration back while that is possible`() {
        for move in moves where move.before.hasBegun && Machine.reversible.contains(move.before.step) {
            let isFailure =
                move.event == .newEnded("new")
                || (move.before.isWorking
                    && move.event == .workFailed(move.before.step, stage: move.before.stage, "broken"))
            guard isFailure else { continue }
            if !move.before.oldIsLost {
                #expect(move.after.step == .rollingBack)
            } else if move.before.step == .draining, move.event != .newEnded("new") {
                #expect(move.after.step == .retiring && move.actions.notes.count == 1)
            } else {
                #expect(move.after.step == .failed)
            }
        }
    }

    @Test func `what is given up while the old generation is being stopped is no success`() {
        let given = moves.filter { $0.before.step == .retiring && $0.event == .newEnded("new") }
        #expect(!given.isEmpty)
        for move in given { #expect(move.after.step == .failed) }
    }

    @Test func `a lost old generation is never waited for`() {
        for move in moves where move.event == .oldEnded("old") && move.before.hasBegun && !move.before.step.isEnd {
            switch move.before.step {
            case _ where move.before.strategy == .recreate && Machine.reversible.dropFirst().contains(move.before.step),
                .retiring:
                #expect(move.after == move.before && move.actions == [])
            case .preparing, .emptying, .starting, .verifying, .canary, .rollingBack:
                #expect(move.after.step == .failed)
            case .draining where move.before.oldIsLost:
                #expect(move.after == move.before)
            case .draining, .warm:
                #expect(move.after.step == .retiring)
            default:
                #expect(move.after.oldIsLost && move.after.isHurried && !move.after.isPaused)
                #expect(![.confirming, .observing].contains(move.after.step))
            }
        }
    }

    @Test func `the journal takes the migration back only before the commit point`() {
        for move in moves where move.event == .journalFailed("disk full") && move.before.hasBegun {
            switch move.before.step {
            case .done, .rolledBack, .failed: #expect(move.actions == [])
            case .warm, .retiring, .rollingBack:
                #expect(move.actions.notes.count == 1 && move.actions.count == 1 && move.after == move.before)
            default: #expect(move.after.step == (move.before.oldIsLost ? move.before.step : .rollingBack))
            }
        }
    }

    @Test func `a pause lets the work end and holds the next step`() {
        for state in states where state.isPaused {
            #expect(Machine.reversible.contains(state.step))
            var ended = state
            #expect(ended.handle(.workFinished(state.step, stage: state.stage)) == [])
            #expect(ended.step == state.step && ended.isPaused)
            var over = state
            #expect(over.handle(.warmOver) == [] && over == state)
        }
    }

    @Test func `pausing and resuming at once changes nothing, wherever it is done`() {
        for move in moves where move.event == .command(.pause) && move.actions.refusals.isEmpty {
            var machine = move.after
            let actions = machine.handle(.command(.resume))
            #expect(machine == move.before)
            #expect(move.actions == (move.before.step == .warm ? [.cancelWarm] : []))
            #expect(actions == (move.before.step == .warm ? [.armWarm] : []))
        }
    }

    @Test func `the timer is armed exactly in a warm step that is not paused`() {
        for move in moves {
            let wasArmed = move.before.step == .warm && !move.before.isPaused
            let isArmed = move.after.step == .warm && !move.after.isPaused
            #expect(move.actions.contains(.armWarm) == (!wasArmed && isArmed))
            #expect(move.actions.contains(.cancelWarm) == (wasArmed && !isArmed && move.event != .warmOver))
        }
    }
}
