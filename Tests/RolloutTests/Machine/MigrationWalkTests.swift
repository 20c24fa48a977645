import Deployment
import Supervisor
import Testing

@testable import Rollout

/// Whole migrations, step by step.
struct MigrationWalkTests {
    typealias Machine = MigrationMachine

    /// Does whatever is asked, and writes down the steps: `shifting 1`.
    private struct Walk {
        var machine: Machine
        var steps: [String] = []
        var notes: [String] = []

        init(_ strategy: MigrationSettings.Strategy, stages: Int = 3, asksPerson: Bool = false, keepsWarm: Bool = false)
        {
            self.machine = Machine(
                strategy: strategy,
                stages: stages,
                asksPerson: asksPerson,
                keepsWarm: keepsWarm
            )
        }

        mutating func tell(_ event: Machine.Event) {
            let actions = self.machine.handle(event)
            self.notes += actions.notes
            for case .perform(let step, let stage) in actions {
                self.steps.append([.shifting, .observing].contains(step) ? "\(step.rawValue) \(stage)" : step.rawValue)
            }
            if let end = actions.end { self.steps.append(end.rawValue) }
        }

        /// Finishes work after work until a step, or until nothing is under way.
        mutating func goOn(until step: MigrationStep? = nil) {
            while self.machine.step != step, self.machine.isWorking {
                self.tell(.workFinished(self.machine.step, stage: self.machine.stage))
            }
        }
    }

    @Test func `blue-green shifts by stages and keeps the old generation warm`() {
        var walk = Walk(.blueGreen, keepsWarm: true)
        walk.tell(.begin)
        walk.goOn()
        #expect(walk.machine.step == .warm)
        walk.tell(.warmOver)
        walk.goOn()
        #expect(
            walk.steps == [
                "preparing", "starting", "verifying", "canary", "shifting 0", "observing 0", "shifting 1",
                "observing 1",
                "shifting 2", "observing 2", "draining", "warm", "retiring", "done",
            ]
        )
        #expect(walk.machine.reason == nil)
    }

    @Test func `rolling moves wave by wave and keeps nothing warm`() {
        var walk = Walk(.rolling, stages: 2, keepsWarm: true)
        walk.tell(.begin)
        walk.goOn()
        #expect(
            walk.steps == [
                "preparing", "starting", "verifying", "canary", "shifting 0", "observing 0", "shifting 1",
                "observing 1",
                "draining", "retiring", "done",
            ]
        )
    }

    @Test func `recreate empties the old generation first`() {
        var walk = Walk(.recreate, stages: 1)
        walk.tell(.begin)
        walk.goOn()
        #expect(
            walk.steps == [
                "preparing", "emptying", "starting", "verifying", "canary", "shifting 0", "observing 0", "draining",
                "retiring", "done",
            ]
        )
    }

    @Test func `what remains is what a flawless migration passes`() {
        for machine in MigrationSpace.configurations {
            var walk = Walk(
                machine.strategy,
                stages: machine.stages,
                asksPerson: machine.asksPerson,
                keepsWarm: machine.keepsWarm
            )
            walk.tell(.begin)
            while !walk.machine.step.isEnd {
                let next = walk.machine.remaining.first?.step
                switch walk.machine.step {
                case .confirming: walk.tell(.command(.promote))
                case .warm: walk.tell(.warmOver)
                default: walk.tell(.workFinished(walk.machine.step, stage: walk.machine.stage))
                }
                #expect(walk.machine.step == next)
            }
            #expect(walk.steps.count == machine.remaining.count)
        }
    }

    @Test func `a person is waited for`() {
        var walk = Walk(.blueGreen, stages: 1, asksPerson: true)
        walk.tell(.begin)
        walk.goOn()
        #expect(walk.steps.last == "confirming")
        walk.tell(.warmOver)
        walk.tell(.workFinished(.confirming, stage: 0))
        #expect(walk.steps.last == "confirming")
        walk.tell(.command(.promote))
        #expect(walk.steps.last == "shifting 0")
    }

    @Test func `promoting skips what is left of the observation and of the stages`() {
        var walk = Walk(.blueGreen, stages: 4)
        walk.tell(.begin)
        walk.goOn(until: .observing)
        walk.tell(.command(.promote))
        walk.goOn()
        #expect(walk.steps.suffix(5) == ["observing 0", "shifting 3", "draining", "retiring", "done"])
    }

    @Test func `promoting a shift lets it end`() {
        var walk = Walk(.blueGreen, stages: 4)
        walk.tell(.begin)
        walk.goOn(until: .shifting)
        walk.tell(.command(.promote))
        #expect(walk.machine.isWorking && walk.steps.last == "shifting 0")
        walk.goOn()
        #expect(walk.steps.suffix(5) == ["shifting 0", "shifting 3", "draining", "retiring", "done"])
    }

    @Test func `promoting with rolling still moves every wave`() {
        var walk = Walk(.rolling, stages: 3)
        walk.tell(.begin)
        walk.goOn(until: .observing)
        walk.tell(.command(.promote))
        walk.goOn()
        #expect(walk.steps.suffix(6) == ["observing 0", "shifting 1", "shifting 2", "draining", "retiring", "done"])
    }

    @Test func `a pause lets the work end, and resuming goes on from there`() {
        var walk = Walk(.blueGreen, stages: 1)
        walk.tell(.begin)
        walk.goOn(until: .starting)
        walk.tell(.command(.pause))
        walk.goOn()
        #expect(walk.steps.last == "starting")
        walk.tell(.command(.resume))
        #expect(walk.steps.last == "verifying")
    }

    @Test func `a failure is not held by a pause`() {
        var walk = Walk(.blueGreen, stages: 1)
        walk.tell(.begin)
        walk.goOn(until: .canary)
        walk.tell(.command(.pause))
        walk.tell(.workFailed(.canary, stage: 0, "it said no"))
        walk.goOn()
        #expect(walk.steps.suffix(3) == ["canary", "rolling-back", "rolled-back"])
        #expect(walk.machine.reason == "it said no")
    }

    @Test func `promoting in warm stops the old generation now`() {
        var walk = Walk(.blueGreen, stages: 1, keepsWarm: true)
        walk.tell(.begin)
        walk.goOn()
        #expect(walk.machine.handle(.command(.promote)) == [.cancelWarm, .perform(.retiring, stage: 0)])
    }

    @Test func `from warm there is an instant return`() {
        var walk = Walk(.blueGreen, stages: 1, keepsWarm: true)
        walk.tell(.begin)
        walk.goOn()
        #expect(walk.machine.handle(.command(.rollback)) == [.cancelWarm, .perform(.rollingBack, stage: 0)])
        #expect(walk.machine.handle(.workFinished(.rollingBack, stage: 0)).end == .rolledBack)
    }

    @Test func `the loss of the old generation sends everything to the new one, and nothing back any more`() {
        var walk = Walk(.blueGreen, stages: 3, keepsWarm: true)
        walk.tell(.begin)
        walk.goOn(until: .observing)
        walk.tell(.oldEnded("out of restarts"))
        #expect(walk.notes == ["the old generation was given up, and the new one gets all requests: out of restarts"])
        #expect(walk.machine.handle(.command(.abort)).refusals.count == 1)
        walk.goOn()
        #expect(walk.steps.suffix(5) == ["observing 0", "shifting 2", "draining", "retiring", "done"])
    }

    @Test func `a rollback that fails says both reasons`() {
        var walk = Walk(.blueGreen)
        walk.tell(.begin)
        walk.tell(.workFailed(.preparing, stage: 0, "port 8000 is taken"))
        walk.tell(.workFailed(.rollingBack, stage: 0, "it hangs"))
        #expect(walk.machine.reason == "port 8000 is taken; rolling back failed: it hangs")
        #expect(walk.steps.last == "failed")
    }

    @Test func `a refusal says what, where and why`() {
        var walk = Walk(.blueGreen)
        walk.tell(.begin)
        #expect(
            walk.machine.handle(.command(.promote)) == [
                .refuse(
                    "the migration cannot be promoted in the step preparing: the new generation has not shown yet that it "
                        + "answers; wait for it, or take it back with `abort`"
                )
            ]
        )
    }
}
