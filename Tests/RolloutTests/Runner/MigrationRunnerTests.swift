import Deployment
import Supervisor
import TestSupport
import Testing

@testable import Rollout

/// Whole migrations against generations on paper: in which order what is asked, and that the journal has each step before.
@Suite(.serialized, .timeLimit(.minutes(2))) struct MigrationRunnerTests {
    private static let all = "worker-0, worker-1"

    @Test func `blue-green does one thing after another, each behind its record`() async throws {
        try await Rehearsal.run { rehearsal in
            let end = try await rehearsal.migrate()
            #expect(end?.step == .done && end?.share == 100 && end?.reason == nil)
            #expect(
                rehearsal.control.calls == [
                    "-: plan 2", "preparing: check 2", "starting: start 2 (\(Self.all))", "verifying: compare 1 2",
                    "canary: canary 2", "shifting: shares 1:50 2:50", "shifting: shares 2:100", "draining: activate 2",
                    "draining: shares 2:100", "draining: idle 1", "retiring: stop 1",
                ]
            )
            #expect(rehearsal.control.running == [2] && !rehearsal.control.isMigrating)
            let history = try rehearsal.history
            #expect(history == rehearsal.journal.history)
            #expect(history.current.number == 2 && history.current.source == JournalSamples.source("http"))
            #expect(history.unfinished == nil && history.records.map(\.step) == [.done])
        }
    }

    @Test func `recreate empties and stops the old generation before the new one starts`() async throws {
        try await Rehearsal.run { rehearsal in
            let end = try await rehearsal.migrate(MigrationRequest(strategy: .recreate))
            #expect(end?.step == .done)
            #expect(
                rehearsal.control.calls == [
                    "-: plan 2", "preparing: check 2", "emptying: shares nobody", "emptying: idle 1",
                    "emptying: stop 1",
                    "starting: start 2 (\(Self.all))", "verifying: compare 1 2", "canary: canary 2",
                    "shifting: shares 2:100", "draining: activate 2", "draining: shares 2:100", "draining: idle 1",
                ]
            )
        }
    }

    @Test func `recreate that fails starts the old generation again before anybody is answered`() async throws {
        try await Rehearsal.run { rehearsal in
            rehearsal.control.fail("canary 2", "nonsense")
            let end = try await rehearsal.migrate(MigrationRequest(strategy: .recreate))
            #expect(end?.step == .rolledBack && end?.reason == "nonsense")
            #expect(
                rehearsal.control.calls.suffix(4) == [
                    "rolling-back: shares nobody", "rolling-back: stop 2", "rolling-back: start 1 (\(Self.all))",
                    "rolling-back: shares 1:100",
                ]
            )
            #expect(try rehearsal.history.current == .first)
        }
    }

    @Test func `rolling exchanges worker for worker`() async throws {
        try await Rehearsal.run(workers: Generations.workers(2) { [$0] }) { rehearsal in
            let end = try await rehearsal.migrate(MigrationRequest(strategy: .rolling))
            #expect(end?.step == .done)
            #expect(
                rehearsal.control.calls == [
                    "-: plan 2", "preparing: check 2", "starting: apply 1 (worker-1)", "starting: start 2 (worker-0)",
                    "verifying: compare 1 2", "canary: canary 2", "shifting: shares 1:50 2:50",
                    // The last one answers what it has before its worker goes.
                    "shifting: shares 2:100", "shifting: idle 1", "shifting: apply 1 ()",
                    "shifting: apply 2 (\(Self.all))", "shifting: shares 2:100", "draining: activate 2",
                    "draining: shares 2:100", "draining: idle 1", "retiring: stop 1",
                ]
            )
        }
    }

    @Test func `rolling that is taken back gives the old generation its workers back first`() async throws {
        try await Rehearsal.run(workers: Generations.workers(2) { [$0] }) { rehearsal in
            rehearsal.control.fail("apply 2 (\(Self.all))", "no memory")
            let end = try await rehearsal.migrate(MigrationRequest(strategy: .rolling))
            #expect(end?.step == .rolledBack && end?.reason == "no memory")
            #expect(
                rehearsal.control.calls.suffix(5) == [
                    // The workers of both need the same GPUs, and the old one has none left: what comes waits.
                    "rolling-back: shares nobody", "rolling-back: idle 2", "rolling-back: stop 2",
                    "rolling-back: apply 1 (\(Self.all))", "rolling-back: shares 1:100",
                ]
            )
            #expect(rehearsal.control.running == [1] && rehearsal.control.active == 1)
        }
    }

    @Test func `rolling with room keeps serving with the new workers while the old ones come back`() async throws {
        let workers = Generations.workers(2)
        try await Rehearsal.run(workers: workers) { rehearsal in
            rehearsal.control.hold("idle 1")
            let follower = try await rehearsal.begin(MigrationRequest(strategy: .rolling))
            try await rehearsal.control.wait(for: "shifting: idle 1")
            rehearsal.control.forget()
            _ = try await rehearsal.runner.command(.rollback)
            #expect(await follower.end()?.step == .rolledBack)
            #expect(
                rehearsal.control.calls == [
                    "rolling-back: apply 1 (\(Self.all))", "rolling-back: shares 1:100",
                    "rolling-back: idle 2", "rolling-back: stop 2",
                ]
            )
        }
    }

    /// What may fail before clients are moved, and in which step.
    private static let failures: [(call: String, step: String)] = [
        ("check 2", "preparing"), ("start 2 (\(Self.all))", "starting"), ("compare 1 2", "verifying"),
        ("canary 2", "canary"),
    ]

    @Test(arguments: Self.failures.indices)
    func `what fails is taken back, and nothing but the old generation is left`(index: Int) async throws {
        let (call, step) = Self.failures[index]
        try await Rehearsal.run { rehearsal in
            rehearsal.control.fail(call, "broken")
            let end = try await rehearsal.migrate()
            #expect(end?.step == .rolledBack && end?.reason?.contains("broken") == true)
            let calls = rehearsal.control.calls
            #expect(calls.contains("\(step): \(call)"))
            #expect(!calls.contains { $0.contains("2:") } && !calls.contains { $0.contains("stop 1") })
            #expect(calls.contains("rolling-back: stop 2") == (index > 0))
            #expect(rehearsal.control.running == [1] && rehearsal.control.shares == [1: 100])
            let record = try #require(try rehearsal.history.records.last)
            #expect(record.step == .rolledBack && record.reason?.contains("broken") == true)
            // The next one has numbers of its own.
            rehearsal.control.fail(call, nil)
            #expect(try await rehearsal.migrate()?.step == .done)
            #expect(rehearsal.control.active == 3 && rehearsal.control.running == [3])
        }
    }

    @Test func `a generation that is not ready in time is taken back`() async throws {
        var settings = Rehearsal.settings
        settings.startTimeout = 0.05
        try await Rehearsal.run(settings) { rehearsal in
            rehearsal.control.hold("start 2 (\(Self.all))")
            let end = try await rehearsal.migrate()
            #expect(end?.step == .rolledBack)
            #expect(end?.reason == "generation 2 was not ready within 0.05 s ('migration.startTimeout')")
            #expect(rehearsal.control.running == [1])
        }
    }

    @Test func `a rollback that fails gives everything up`() async throws {
        try await Rehearsal.run { rehearsal in
            rehearsal.control.fail("start 1 (\(Self.all))", "no GPU")
            rehearsal.control.fail("canary 2", "nonsense")
            let end = try await rehearsal.migrate(MigrationRequest(strategy: .recreate))
            #expect(end?.step == .failed)
            #expect(rehearsal.control.givenUp == "nonsense; rolling back failed: no GPU")
            #expect(try rehearsal.history.current == .first)
        }
    }

    @Test func `the old generation is kept for its window, which a pause stops`() async throws {
        try await Rehearsal.run { rehearsal in
            let follower = try await rehearsal.begin(MigrationRequest(rollbackWindow: 0.3))
            try await rehearsal.waitUntil(.warm)
            #expect(try await rehearsal.runner.command(.pause).isPaused)
            // It ticks once a second: two of them must not end it.
            let paused = ContinuousClock.now
            try await eventually("two seconds pass") { ContinuousClock.now - paused > .seconds(2.2) }
            #expect(await rehearsal.runner.status()?.step == .warm)
            #expect(rehearsal.control.running == [1, 2])
            #expect(try await !rehearsal.runner.command(.resume).isPaused)
            #expect(await follower.end()?.step == .done)
            #expect(rehearsal.control.running == [2])
        }
    }

    @Test func `a migration that cannot begin leaves the generation that is kept for a return`() async throws {
        try await Rehearsal.run { rehearsal in
            let follower = try await rehearsal.begin(MigrationRequest(rollbackWindow: 60))
            try await rehearsal.waitUntil(.warm)
            rehearsal.control.fail("plan 3", "runs on the http plane already")
            await #expect(throws: MigrationRefusal.self) { try await rehearsal.begin(MigrationRequest()) }
            #expect(await rehearsal.runner.status()?.step == .warm)
            #expect(rehearsal.control.running == [1, 2])
            _ = try await rehearsal.runner.command(.promote)
            #expect(await follower.end()?.step == .done)
        }
    }

    @Test func `three in quick succession are each done, and the one that is kept gives way`() async throws {
        try await Rehearsal.run { rehearsal in
            let request = MigrationRequest(rollbackWindow: 60)
            var followers: [Rehearsal.Follower] = []
            for generation in 2...4 {
                followers.append(try await rehearsal.begin(request))
                try await rehearsal.waitUntil(.warm)
                #expect(rehearsal.control.active == generation)
                #expect(rehearsal.control.running == [generation - 1, generation])
            }
            #expect(await followers[0].end()?.step == .done)
            #expect(await followers[1].end()?.step == .done)
            _ = try await rehearsal.runner.command(.promote)
            #expect(await followers[2].end()?.step == .done)
            #expect(rehearsal.control.running == [4])
            let history = try rehearsal.history
            #expect(history.records.map(\.step) == [.done, .done, .done] && history.current.number == 4)
        }
    }
}
