import Deployment
import Supervisor
import TestSupport
import Testing

@testable import Rollout

/// Migrations of paper generations that an earlier launcher has begun.
@Suite(.serialized, .timeLimit(.minutes(2))) struct MigrationResumingTests {
    /// Takes a migration up whose launcher was killed in a step.
    ///
    /// - Parameters:
    ///   - rehearsal: whose.
    ///   - step: in which it was.
    ///   - stage: of it.
    ///   - settings: of the migration.
    ///   - old: the workers that the old generation has left; nil: all.
    ///   - new: those that the new one has.
    ///   - isDiskFull: whether the journal cannot be written.
    /// - Throws: what the rehearsal throws.
    private static func takeUp(
        _ rehearsal: Rehearsal,
        at step: MigrationStep,
        stage: Int = 0,
        settings: MigrationSettings = Rehearsal.settings,
        old: [String]? = nil,
        new: [String]? = nil,
        isDiskFull: Bool = false
    ) async throws {
        let planned = try await rehearsal.control.plan(
            MigrationRequest(
                requestPlane: "http",
                strategy: settings.strategy,
                rollbackWindow: settings.rollbackWindow
            ),
            generation: 2,
            isOutline: false
        )
        func part(_ plan: Plan, _ workers: [String]?) -> Plan {
            var plan = plan
            plan.replicas.removeAll { $0.role == .worker && workers?.contains($0.name) == false }
            return plan
        }
        var began = JournalSamples.began(strategy: settings.strategy)
        (began.settings, began.fromSource, began.asksPerson) = (settings, planned.fromSource, false)
        began.base = JournalSamples.base
        try rehearsal.journal.append(.began(began))
        try rehearsal.journal.append(.step(step, stage: stage, migration: 1))
        let resumption = try #require(try rehearsal.history.resumption(calledWith: JournalSamples.base))
        let resumed = ResumedMigration(
            planned,
            resumption,
            old: settings.strategy == .recreate ? nil : part(planned.from, old),
            new: part(planned.to, new)
        )
        let stages = resumption.finishedStages(of: planned.plan.waves.count)
        #expect(planned.plan.fits(old: resumed.old, new: resumed.new, after: stages))
        rehearsal.control.forget()
        if resumption.isCommitted {
            rehearsal.control.activate(2)
            rehearsal.control.forget()
        }
        guard isDiskFull else {
            rehearsal.runner.takeUp(resumed)
            return #expect(rehearsal.control.isMigrating)
        }
        let size = try rehearsal.size
        try await MigrationInterferenceTests.withFilesLimited(to: size) {
            rehearsal.runner.takeUp(resumed)
            try await rehearsal.control.wait(for: "idle 1")
        }
    }

    private static func end(of rehearsal: Rehearsal) async throws -> MigrationHistory {
        try await eventually("its end") { try rehearsal.history.unfinished == nil }
        try await eventually("nothing is under way") { !rehearsal.control.isMigrating }
        return try rehearsal.history
    }

    @Test func `the new generation is proved again before it gets more, and nothing is started`() async throws {
        try await Rehearsal.run { rehearsal in
            try await Self.takeUp(rehearsal, at: .shifting, stage: 1)
            let history = try await Self.end(of: rehearsal)
            #expect(history.records.map(\.step) == [.done] && history.current.number == 2)
            #expect(
                rehearsal.control.calls == [
                    "shifting: shares 1:50 2:50", "shifting: take over 2",
                    "shifting: compare 1 2", "shifting: canary 2", "shifting: shares 2:100", "draining: activate 2",
                    "draining: shares 2:100", "draining: idle 1", "retiring: stop 1",
                ]
            )
        }
    }

    @Test func `one that had not started is proved as by a start`() async throws {
        try await Rehearsal.run { rehearsal in
            try await Self.takeUp(rehearsal, at: .starting)
            #expect(try await Self.end(of: rehearsal).records.map(\.step) == [.done])
            #expect(
                rehearsal.control.calls.prefix(5) == [
                    "starting: shares 1:100", "starting: take over 2",
                    "verifying: compare 1 2", "canary: canary 2", "shifting: shares 1:50 2:50",
                ]
            )
        }
    }

    @Test func `one that does not become ready any more is taken back`() async throws {
        try await Rehearsal.run { rehearsal in
            rehearsal.control.fail("take over 2", "it crashed")
            try await Self.takeUp(rehearsal, at: .observing, stage: 0)
            let history = try await Self.end(of: rehearsal)
            #expect(history.records.map(\.step) == [.rolledBack] && history.records.last?.reason == "it crashed")
            #expect(
                rehearsal.control.calls.suffix(3) == [
                    "rolling-back: shares 1:100", "rolling-back: idle 2", "rolling-back: stop 2",
                ]
            )
            #expect(history.current == .first)
        }
    }

    @Test func `the old generation may be lost while the new one is looked at`() async throws {
        try await Rehearsal.run { rehearsal in
            rehearsal.control.hold("take over 2")
            rehearsal.control.lose(1)
            try await Self.takeUp(rehearsal, at: .observing, stage: 0)
            try await rehearsal.control.wait(for: "take over 2")
            rehearsal.runner.generationEnded(1, "it is gone")
            try await eventually("it is looked at anew") {
                rehearsal.control.calls.count { $0.hasSuffix("take over 2") } == 2
            }
            rehearsal.control.release("take over 2")
            #expect(try await Self.end(of: rehearsal).records.map(\.step) == [.done])
            #expect(!rehearsal.control.calls.contains { $0.hasSuffix("compare 1 2") })
        }
    }

    @Test func `the window for a return begins anew`() async throws {
        let settings = MigrationSettings(steps: [50, 100], observe: 0, rollbackWindow: 600)
        try await Rehearsal.run(settings) { rehearsal in
            try await Self.takeUp(rehearsal, at: .warm, stage: 1, settings: settings)
            try await rehearsal.waitUntil(.warm)
            let status = try #require(await rehearsal.runner.status())
            #expect(status.share == 100 && status.notes.contains { $0.contains("goes on at its step warm") })
            _ = try await rehearsal.runner.command(.rollback)
            let history = try await Self.end(of: rehearsal)
            #expect(history.records.map(\.step) == [.rolledBack] && rehearsal.control.active == 1)
        }
    }

    private static let rolling = MigrationSettings(strategy: .rolling, observe: 0, rollbackWindow: 0)

    @Test func `rolling goes on with the workers that have not changed places`() async throws {
        try await Rehearsal.run(workers: Generations.workers(3) { [$0] }) { rehearsal in
            // Killed when the second one of the old generation was gone, and the new one in its place was not there yet.
            try await Self.takeUp(
                rehearsal,
                at: .shifting,
                stage: 1,
                settings: Self.rolling,
                old: ["worker-2"],
                new: ["worker-0"]
            )
            #expect(try await Self.end(of: rehearsal).records.map(\.step) == [.done])
            #expect(
                rehearsal.control.calls == [
                    "shifting: shares 1:67 2:33", "shifting: take over 2", "shifting: compare 1 2",
                    "shifting: canary 2", "shifting: apply 1 (worker-2)",
                    "shifting: apply 2 (worker-0, worker-1)", "shifting: shares 1:34 2:66",
                    "shifting: shares 2:100", "shifting: idle 1", "shifting: apply 1 ()",
                    "shifting: apply 2 (worker-0, worker-1, worker-2)", "shifting: shares 2:100",
                    "draining: activate 2", "draining: shares 2:100", "draining: idle 1", "retiring: stop 1",
                ]
            )
        }
    }

    @Test func `rolling that is taken back after that gives the old generation all of its workers`() async throws {
        try await Rehearsal.run(workers: Generations.workers(3) { [$0] }) { rehearsal in
            rehearsal.control.fail("canary 2", "nonsense")
            try await Self.takeUp(
                rehearsal,
                at: .observing,
                stage: 0,
                settings: Self.rolling,
                old: ["worker-1", "worker-2"],
                new: ["worker-0"]
            )
            #expect(try await Self.end(of: rehearsal).records.map(\.step) == [.rolledBack])
            #expect(rehearsal.control.calls.contains("rolling-back: apply 1 (worker-0, worker-1, worker-2)"))
            #expect(rehearsal.control.running == [1] && rehearsal.control.shares == [1: 100])
        }
    }

    @Test(arguments: [(MigrationStep.shifting, 1, "2:100"), (.starting, 0, "nobody")])
    func `an old generation without a worker gets nothing`(step: MigrationStep, stage: Int, shares: String) async throws
    {
        try await Rehearsal.run(workers: Generations.workers(stage + 1) { [$0] }) { rehearsal in
            try await Self.takeUp(
                rehearsal,
                at: step,
                stage: stage,
                settings: Self.rolling,
                old: [],
                new: ["worker-0"]
            )
            #expect(try await Self.end(of: rehearsal).records.map(\.step) == [.done])
            #expect(rehearsal.control.calls.first == "\(step.rawValue): shares \(shares)")
        }
    }

    @Test func `what does not fit the order of the workers is noticed`() throws {
        let (old, new) = (Generations.workers(3) { [$0] }, Generations.workers(3) { [$0] })
        let sides = (Generations.side(1, old), Generations.side(2, new, plane: .http))
        let plan = try MigrationPlan(from: sides.0, to: sides.1, settings: Self.rolling)
        func fits(_ old: [Int], _ new: [Int], after stages: Int) -> Bool {
            plan.fits(
                old: Generations.side(1, old.map { Generations.worker("worker", $0) }).plan,
                new: Generations.side(2, new.map { Generations.worker("worker", $0) }).plan,
                after: stages
            )
        }
        #expect(fits([0, 1, 2], [], after: 0) && fits([1, 2], [0], after: 0) && fits([1, 2], [0], after: 1))
        #expect(!fits([0, 1, 2], [0], after: 1), "worker-0 was to be gone")
        #expect(!fits([1, 2], [], after: 1), "and its successor there")
        #expect(fits([], [0, 1, 2], after: 3) && !fits([2], [0, 1], after: 3))
    }

    @Test(arguments: [
        (MigrationStep.starting, ["starting: shares nobody", "starting: take over 2", "verifying: compare 1 2"]),
        (.observing, ["observing: shares 2:100", "shifting: take over 2", "shifting: compare 1 2"]),
    ])
    func `recreate goes on without the old generation, which is started again when it fails`(
        step: MigrationStep,
        calls: [String]
    ) async throws {
        let settings = MigrationSettings(strategy: .recreate, observe: 0, rollbackWindow: 0)
        try await Rehearsal.run { rehearsal in
            try await Self.takeUp(rehearsal, at: step, settings: settings)
            #expect(try await Self.end(of: rehearsal).records.map(\.step) == [.done])
            #expect(Array(rehearsal.control.calls.prefix(3)) == calls)
            #expect(!rehearsal.control.calls.contains { $0.contains(": start ") || $0.contains(": stop ") })
        }
        try await Rehearsal.run { rehearsal in
            rehearsal.control.fail("canary 2", "nonsense")
            try await Self.takeUp(rehearsal, at: step, settings: settings)
            #expect(try await Self.end(of: rehearsal).records.map(\.step) == [.rolledBack])
            #expect(rehearsal.control.calls.contains("rolling-back: start 1 (worker-0, worker-1)"))
        }
    }

    @Test func `a full disk takes nothing back that is done, and its end is written when there is room`() async throws {
        try await Rehearsal.run { rehearsal in
            rehearsal.control.hold("idle 1")
            try await Self.takeUp(rehearsal, at: .draining, stage: 1, isDiskFull: true)
            rehearsal.control.release("idle 1")
            let history = try await Self.end(of: rehearsal)
            #expect(history.records.map(\.step) == [.done] && history.current.number == 2)
            #expect(rehearsal.control.active == 2 && rehearsal.control.shares == [2: 100])
        }
    }

    @Test func `a pause is in the journal before it is confirmed`() async throws {
        try await Rehearsal.run { rehearsal in
            rehearsal.control.hold("canary 2")
            let follower = try await rehearsal.begin()
            try await rehearsal.control.wait(for: "canary 2")
            _ = try await rehearsal.runner.command(.pause)
            #expect(try rehearsal.history.unfinished?.isPaused == true)
            _ = try await rehearsal.runner.command(.resume)
            #expect(try rehearsal.history.unfinished?.isPaused == false)
            rehearsal.control.release("canary 2")
            #expect(await follower.end()?.step == .done)
        }
    }
}
