import Deployment
import Supervisor
import TestSupport
import Testing

@testable import Rollout

/// Migrations of paper generations that an earlier launcher has begun.
@Suite(.serialized, .timeLimit(.minutes(2))) struct MigrationResumingTests {
    /// Takes a migration up whose launcher was killed in a step.
    private static func takeUp(
        _ rehearsal: Rehearsal,
        at step: MigrationStep,
        stage: Int = 0,
        settings: MigrationSettings = Rehearsal.settings
    ) async throws {
        let planned = try await rehearsal.control.plan(
            MigrationRequest(requestPlane: "http", rollbackWindow: settings.rollbackWindow),
            generation: 2,
            isOutline: false
        )
        var began = JournalSamples.began()
        (began.settings, began.fromSource, began.asksPerson) = (settings, planned.fromSource, false)
        began.base = JournalSamples.base
        try rehearsal.journal.append(.began(began))
        try rehearsal.journal.append(.step(step, stage: stage, migration: 1))
        let resumption = try #require(try rehearsal.history.resumption(calledWith: JournalSamples.base))
        rehearsal.control.forget()
        if resumption.isCommitted {
            rehearsal.control.activate(2)
            rehearsal.control.forget()
        }
        rehearsal.runner.takeUp(ResumedMigration(planned, resumption))
        #expect(rehearsal.control.isMigrating)
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
