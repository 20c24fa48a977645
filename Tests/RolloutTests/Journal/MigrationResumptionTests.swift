import Deployment
import Supervisor
import Testing

@testable import Rollout

/// Where a migration goes on whose launcher is gone, by its journal.
struct MigrationResumptionTests {
    private typealias Position = MigrationMachine.Position

    private static func began(_ strategy: MigrationSettings.Strategy = .blueGreen) -> JournalRecord.Began {
        var began = JournalSamples.began(strategy: strategy)
        began.fromSource = JournalSamples.base
        began.settings = MigrationSettings(strategy: strategy, steps: [5, 25, 100])
        began.asksPerson = true
        return began
    }

    private static func history(
        _ step: MigrationStep?,
        stage: Int = 0,
        _ began: JournalRecord.Began = Self.began()
    ) throws -> MigrationHistory {
        var history = MigrationHistory()
        try history.add(JournalRecord(.began(began), time: JournalSamples.time))
        if let step {
            try history.add(JournalRecord(.step(step, stage: stage, migration: 1), time: JournalSamples.time))
        }
        return history
    }

    @Test(arguments: [
        (MigrationStep.starting, 0, MigrationStep.starting, 0), (.verifying, 0, .verifying, 0),
        (.canary, 0, .canary, 0),
        // A person is asked again.
        (.confirming, 0, .canary, 0),
        // What was being moved, or watched, is not counted as moved or watched.
        (.shifting, 0, .shifting, 0), (.observing, 0, .shifting, 5), (.shifting, 1, .shifting, 5),
        (.observing, 1, .shifting, 25), (.shifting, 2, .shifting, 25), (.observing, 2, .shifting, 100),
        (.draining, 2, .draining, 100), (.warm, 2, .draining, 100),
    ])
    func `each step goes on at the last place that is safe`(
        step: MigrationStep,
        stage: Int,
        expected: MigrationStep,
        share: Int
    ) throws {
        let history = try Self.history(step, stage: stage)
        let resumption = try #require(try history.resumption(calledWith: JournalSamples.base))
        #expect(resumption.position == Position(expected, stage: stage))
        #expect(resumption.share([5, 25, 100]) == share && !resumption.isPaused && resumption.asksPerson)
        #expect(resumption.isCommitted == [.draining, .warm].contains(step))
        let words = resumption.words([5, 25, 100])
        #expect(words.contains("goes on at its step \(step.rawValue)"), "\(words)")
    }

    @Test func `with rolling the parts are those of its workers`() throws {
        let history = try Self.history(.shifting, stage: 1, Self.began(.rolling))
        let resumption = try #require(try history.resumption(calledWith: JournalSamples.base))
        #expect(resumption.share([33, 66, 100]) == 33 && resumption.finishedStages(of: 3) == 1)
        #expect(resumption.words([33, 66, 100]).hasSuffix("goes on at its step shifting (66 %)"))
        let proving = try Self.history(.canary, Self.began(.rolling))
        #expect(try proving.resumption(calledWith: JournalSamples.base)?.finishedStages(of: 3) == 0)
        let late = try Self.history(.warm, stage: 2, Self.began(.rolling))
        #expect(try late.resumption(calledWith: JournalSamples.base)?.finishedStages(of: 3) == 3)
    }

    @Test(arguments: [MigrationStep.retiring, .rollingBack])
    func `what only has to be ended is not gone on with`(step: MigrationStep) throws {
        #expect(try Self.history(step).resumption(calledWith: JournalSamples.base) == nil)
        #expect(try MigrationHistory().resumption(calledWith: JournalSamples.base) == nil)
        #expect(try Self.history(nil).resumption(calledWith: JournalSamples.base) == nil)
    }

    @Test func `what cannot be gone on with says why`() throws {
        func reason(_ history: MigrationHistory, _ base: GenerationSource = JournalSamples.base) -> String? {
            do throws(MigrationResumption.Refusal) {
                _ = try history.resumption(calledWith: base)
                return nil
            } catch { return error.description }
        }
        #expect(try reason(Self.history(.preparing)) == "nothing of it had been done")
        #expect(try reason(Self.history(.emptying, Self.began(.recreate))) == "nothing of it had been done")
        #expect(
            try reason(Self.history(.shifting, JournalSamples.began()))
                == "the launcher that began it did not note how it is done"
        )
        var other = JournalSamples.base
        other.manifestText += "# more"
        #expect(try reason(Self.history(.shifting), other) == "the manifest changed since it began")
    }

    @Test func `a pause is remembered until it is over, whatever step follows`() throws {
        var history = try Self.history(.observing)
        try history.add(JournalRecord(.paused(true, migration: 1), time: JournalSamples.time))
        try history.add(JournalRecord(.step(.shifting, stage: 0, migration: 1), time: JournalSamples.time))
        let resumption = try #require(try history.resumption(calledWith: JournalSamples.base))
        #expect(
            resumption.isPaused
                && resumption.words([5, 25, 100]).hasSuffix("goes on at its step shifting (5 %), paused")
        )
        try history.add(JournalRecord(.paused(false, migration: 1), time: JournalSamples.time))
        #expect(try history.resumption(calledWith: JournalSamples.base)?.isPaused == false)
    }

    @Test func `what an earlier launcher did is done again from there, and a person who had agreed is not asked`() {
        func machine(_ step: MigrationStep, stage: Int = 0, isPaused: Bool = false) -> MigrationMachine {
            var machine = MigrationMachine(strategy: .blueGreen, stages: 3, asksPerson: true, keepsWarm: true)
            #expect(machine.takeUp(Position(step, stage: stage), isPaused: isPaused) == [.perform(step, stage: stage)])
            #expect(machine.takeUp(Position(step), isPaused: false) == [])
            return machine
        }
        var shifting = machine(.shifting, stage: 1)
        #expect(shifting.handle(.workFinished(.shifting, stage: 1)) == [.perform(.observing, stage: 1)])
        var canary = machine(.canary)
        #expect(canary.handle(.workFinished(.canary, stage: 0)) == [.perform(.confirming, stage: 0)])
        var draining = machine(.draining, stage: 2)
        #expect(draining.handle(.workFinished(.draining, stage: 2)) == [.perform(.warm, stage: 2), .armWarm])
        var paused = machine(.shifting, isPaused: true)
        #expect(paused.handle(.workFinished(.shifting, stage: 0)) == [])
        #expect(paused.handle(.command(.resume)) == [.perform(.observing, stage: 0)])
        var broken = machine(.shifting)
        #expect(
            broken.handle(.workFailed(.shifting, stage: 0, "not ready")) == [.perform(.rollingBack, stage: 0)]
        )
    }
}
