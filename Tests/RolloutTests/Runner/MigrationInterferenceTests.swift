import Deployment
import Glibc
import Supervisor
import TestSupport
import Testing

@testable import Rollout

/// What comes across a migration: people, lost generations, the end of the deployment, further migrations, and a full disk.
@Suite(.serialized, .timeLimit(.minutes(3))) struct MigrationInterferenceTests {
    private static let all = "worker-0, worker-1"

    /// A step, and how a migration is held there.
    struct Place: Sendable, CustomStringConvertible {
        var step: MigrationStep
        /// What does not end by itself then.
        var held: String?
        var isCommitted = false
        var strategy = MigrationSettings.Strategy.blueGreen

        var description: String { "\(self.strategy.rawValue) \(self.step.rawValue)" }
    }

    static let places: [Place] = [
        Place(step: .preparing, held: "check 2"), Place(step: .starting, held: "start 2 (\(Self.all))"),
        Place(step: .verifying, held: "compare 1 2"), Place(step: .canary, held: "canary 2"), Place(step: .confirming),
        Place(step: .observing), Place(step: .draining, held: "idle 1", isCommitted: true),
        Place(step: .warm, isCommitted: true),
        Place(step: .emptying, held: "idle 1", strategy: .recreate),
        Place(step: .starting, held: "start 2 (\(Self.all))", strategy: .recreate),
        Place(step: .shifting, held: "idle 1", strategy: .rolling),
    ]

    /// Brings a migration to a step, where it stays.
    private static func held(
        _ place: Place,
        _ body: (Rehearsal, Rehearsal.Follower) async throws -> Void
    ) async throws {
        var settings = Rehearsal.settings
        settings.rollbackWindow = place.step == .warm ? 60 : 0
        settings.observe = place.step == .observing ? 60 : 0
        // Workers that take nothing from each other.
        try await Rehearsal.run(settings, workers: Generations.workers(2)) { rehearsal in
            if let call = place.held { rehearsal.control.hold(call) }
            let follower = try await rehearsal.begin(
                MigrationRequest(strategy: place.strategy, confirm: place.step == .confirming)
            )
            try await rehearsal.waitUntil(place.step)
            if let call = place.held { try await rehearsal.control.wait(for: call) }
            try await body(rehearsal, follower)
        }
    }

    @Test(arguments: Self.places)
    func `a migration is taken back from each step, and only the old generation is left`(place: Place) async throws {
        try await Self.held(place) { rehearsal, follower in
            if let call = place.held { rehearsal.control.fail(call, nil) }
            let command = try await rehearsal.runner.command(.abort)
            #expect(command.step == .rollingBack || command.step == .rolledBack)
            if place.step == .draining { rehearsal.control.release("idle 1") }
            if place.strategy == .recreate, let call = place.held { rehearsal.control.release(call) }
            let end = await follower.end()
            #expect(end?.step == .rolledBack && end?.reason == "taken back by hand")
            #expect(rehearsal.control.running == [1] && rehearsal.control.active == 1)
            #expect(rehearsal.control.shares == [1: 100])
            let isStopped = rehearsal.control.calls.contains { $0.hasSuffix("stop 1") }
            #expect(isStopped == (place.strategy == .recreate && place.step != .emptying), "\(rehearsal.control.calls)")
            let history = try rehearsal.history
            #expect(history.current == .first && history.unfinished == nil)
        }
    }

    @Test(arguments: Self.places)
    func `the new generation is given up in each step`(place: Place) async throws {
        // An end that `start` itself sees is another test's.
        try await Self.held(place) { rehearsal, follower in
            rehearsal.runner.generationEnded(2, "exit code 3")
            let end = await follower.end()
            #expect(end?.step == .rolledBack)
            #expect(end?.reason == "the new generation was given up: exit code 3")
            #expect(rehearsal.control.running == [1] && rehearsal.control.shares == [1: 100])
            let history = try rehearsal.history
            #expect(history.current == .first)
        }
    }

    @Test(arguments: Self.places)
    func `the old generation is given up in each step`(place: Place) async throws {
        try await Self.held(place) { rehearsal, follower in
            // From then on it cannot be changed any more, as `rolling` would.
            rehearsal.control.lose(1)
            rehearsal.runner.generationEnded(1, "exit code 3")
            if place.strategy != .blueGreen, let call = place.held { rehearsal.control.release(call) }
            let end = await follower.end()
            let isProved = place.isCommitted || [.confirming, .shifting, .observing].contains(place.step)
            // With `recreate` it is meant to end.
            #expect(
                end?.step == (isProved || place.strategy == .recreate ? .done : .failed),
                "\(rehearsal.control.calls)"
            )
            #expect((rehearsal.control.givenUp != nil) == (end?.step == .failed))
            let history = try rehearsal.history
            if end?.step == .done {
                #expect(rehearsal.control.active == 2 && rehearsal.control.shares == [2: 100])
                #expect(history.current.number == 2)
            } else {
                #expect(end?.reason == "the old generation was given up: exit code 3")
                #expect(history.current == .first)
            }
        }
    }

    @Test(arguments: Self.places)
    func `the deployment is stopped in each step`(place: Place) async throws {
        try await Self.held(place) { rehearsal, follower in
            await rehearsal.runner.stop()
            let end = await follower.end()
            #expect(end?.step == (place.isCommitted ? .done : .rolledBack) && end?.isStopped == true)
            #expect(end?.notes.contains { $0.contains("begun again") } == false)
            let next = place.isCommitted ? "2 (http)" : "1 (tcp)"
            #expect(
                rehearsal.control.said.last
                    == "migration 1: ended: the deployment is being stopped; the next start is with generation \(next)"
            )
            let history = try rehearsal.history
            #expect(history.current.number == (place.isCommitted ? 2 : 1))
            let refusal = await #expect(throws: MigrationRefusal.self) { try await rehearsal.begin() }
            #expect(refusal?.description == "the deployment is being stopped")
        }
    }

    @Test(arguments: Self.places)
    func `a second migration is refused in each step, unless the first has only to wait`(place: Place) async throws {
        try await Self.held(place) { rehearsal, follower in
            if place.step == .warm {
                _ = try await rehearsal.runner.command(.pause)
                let refusal = await #expect(throws: MigrationRefusal.self) { try await rehearsal.begin() }
                #expect(refusal?.description.contains("under way (warm, paused); wait") == true)
                _ = try await rehearsal.runner.command(.resume)
                #expect(try await rehearsal.begin(MigrationRequest(rollbackWindow: 0)).end()?.step == .done)
                #expect(await follower.end()?.step == .done)
                #expect(rehearsal.control.running == [3])
                return
            }
            let refusal = await #expect(throws: MigrationRefusal.self) { try await rehearsal.begin() }
            #expect(refusal?.cause == .conflict)
            #expect(
                refusal?.description
                    == "the migration from generation 1 (tcp) to 2 (http) is under way (\(place.step.rawValue)); wait for its end "
                    + "('dynamo-launch migrate status --follow'), or take it back first ('dynamo-launch migrate abort')"
            )
            #expect(rehearsal.control.isMigrating)
        }
    }

    @Test func `a second migration is refused while the first one is planned, also at the same instant`() async throws {
        try await Rehearsal.run { rehearsal in
            rehearsal.control.hold("plan 2")
            let results = await withTaskGroup(of: Result<MigrationStep?, any Error>.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        do { return .success(try await rehearsal.migrate()?.step) } catch { return .failure(error) }
                    }
                }
                var results: [Result<MigrationStep?, any Error>] = []
                while let result = await group.next() {
                    results.append(result)
                    if results.count == 7 { rehearsal.control.release("plan 2") }
                }
                return results
            }
            let refusals = results.compactMap { result -> MigrationRefusal? in
                if case .failure(let error) = result { error as? MigrationRefusal } else { nil }
            }
            #expect(refusals.count == 7)
            #expect(Set(refusals.map(\.description)) == ["another migration is about to begin"])
            let last = try results.last?.get()
            #expect(last == .done)
            #expect(rehearsal.control.calls.filter { $0.hasSuffix("plan 2") }.count == 1)
        }
    }

    @Test func `an old generation that is given up while a migration is planned is not forgotten`() async throws {
        try await Rehearsal.run { rehearsal in
            rehearsal.control.hold("plan 2")
            rehearsal.control.hold("check 2")
            async let end = rehearsal.migrate()
            try await rehearsal.control.wait(for: "plan 2")
            rehearsal.runner.generationEnded(1, "exit code 3")
            rehearsal.control.release("plan 2")
            let status = try await end
            #expect(status?.step == .failed && status?.reason == "the old generation was given up: exit code 3")
            #expect(rehearsal.control.givenUp != nil)
        }
    }

    @Test func `a manifest that cannot be run costs nothing, and the next migration begins`() async throws {
        try await Rehearsal.run { rehearsal in
            rehearsal.control.fail("plan 2", "chat.yaml:1:1: no")
            let refusal = await #expect(throws: MigrationRefusal.self) { try await rehearsal.begin() }
            #expect(refusal?.cause == .badManifest)
            try await eventually("changes are accepted again") { !rehearsal.control.isMigrating }
            #expect(try rehearsal.history == MigrationHistory())
            rehearsal.control.fail("plan 2", nil)
            #expect(try await rehearsal.migrate()?.step == .done)
        }
    }

    @Test(arguments: Self.places)
    func `pause, resume and promote in each step`(place: Place) async throws {
        try await Self.held(place) { rehearsal, follower in
            #expect(try await rehearsal.runner.command(.pause).isPaused)
            let twice = await Self.refusal(of: .pause, rehearsal)
            #expect(twice == "the migration cannot be paused in the step \(place.step.rawValue): it is paused already")
            #expect(try await !rehearsal.runner.command(.resume).isPaused)
            let again = await Self.refusal(of: .resume, rehearsal)
            #expect(again == "the migration cannot be resumed in the step \(place.step.rawValue): it is not paused")
            switch place.step {
            case .confirming, .shifting, .observing, .warm:
                if place.step == .shifting { rehearsal.control.release("idle 1") }
                _ = try await rehearsal.runner.command(.promote)
                #expect(await follower.end()?.step == .done)
                #expect(rehearsal.control.running == [2])
            case .draining:
                let refusal = await Self.refusal(of: .promote, rehearsal)
                #expect(refusal?.hasSuffix(": the new generation gets all requests already") == true)
            default:
                let refusal = await Self.refusal(of: .promote, rehearsal)
                #expect(refusal?.contains("the new generation has not shown yet that it answers") == true)
            }
        }
    }

    private static func refusal(of command: MigrationCommand, _ rehearsal: Rehearsal) async -> String? {
        do throws(MigrationRefusal) {
            _ = try await rehearsal.runner.command(command)
            return nil
        } catch { return error.description }
    }

    @Test func `a pause lets the work under way end and nothing begin`() async throws {
        try await Rehearsal.run { rehearsal in
            rehearsal.control.hold("start 2 (\(Self.all))")
            let follower = try await rehearsal.begin()
            try await rehearsal.waitUntil(.starting)
            _ = try await rehearsal.runner.command(.pause)
            rehearsal.control.release("start 2 (\(Self.all))")
            // A status is told at every event and every second.
            try await eventually("a second has passed") { await rehearsal.runner.status()?.stepElapsed ?? 0 > 1.2 }
            #expect(await rehearsal.runner.status()?.step == .starting)
            #expect(!rehearsal.control.calls.contains { $0.contains("compare") })
            _ = try await rehearsal.runner.command(.resume)
            #expect(await follower.end()?.step == .done)
        }
    }

    @Test func `commands without a migration are refused`() async throws {
        try await Rehearsal.run { rehearsal in
            for command in MigrationCommand.allCases {
                #expect(await Self.refusal(of: command, rehearsal) == "no migration is under way")
            }
            _ = try await rehearsal.migrate()
            #expect(
                await Self.refusal(of: .rollback, rehearsal)
                    == "no migration is under way; generation 1 (tcp) is gone, go back to it with 'dynamo-launch migrate --to tcp'"
            )
        }
    }

    // MARK: The disk is full

    @Test func `without room for its beginning a migration is taken back, and a later one works`() async throws {
        try await Rehearsal.run { rehearsal in
            let end = try await Self.withFilesLimited(to: 0) { try await rehearsal.migrate() }
            #expect(end?.step == .rolledBack)
            #expect(
                end?.reason
                    == "the journal cannot be written: the migration journal \(rehearsal.journal.path): "
                    + "cannot be written: File too large; make room on its file system"
            )
            #expect(!rehearsal.control.calls.contains { $0.contains("check") || $0.contains("start") })
            #expect(try rehearsal.history == MigrationHistory() && rehearsal.control.shares == [1: 100])
            #expect(try await rehearsal.migrate()?.step == .done)
            #expect(try rehearsal.history.records.map(\.step) == [.done])
        }
    }

    @Test func `a disk that is full in mid-migration takes it back, and its end is written when there is room`()
        async throws
    {
        try await Self.held(Place(step: .confirming)) { rehearsal, follower in
            let size = try rehearsal.size
            let end = try await Self.withFilesLimited(to: size) {
                _ = try await rehearsal.runner.command(.promote)
                return await follower.end()
            }
            #expect(end?.step == .rolledBack && end?.reason?.hasPrefix("the journal cannot be written: ") == true)
            #expect(rehearsal.control.running == [1] && rehearsal.control.shares == [1: 100])
            try await eventually("its end is written") { try rehearsal.history.unfinished == nil }
            #expect(try rehearsal.history.records.map(\.step) == [.rolledBack])
            #expect(try rehearsal.history.current == .first)
            #expect(try await rehearsal.migrate(MigrationRequest())?.step == .done)
            #expect(rehearsal.control.said.contains { $0.contains("can be written again") })
        }
    }

    @Test func `from draining on a full disk stops nothing`() async throws {
        try await Self.held(Place(step: .draining, held: "idle 1")) { rehearsal, follower in
            let size = try rehearsal.size
            let end = await Self.withFilesLimited(to: size) {
                rehearsal.control.release("idle 1")
                return await follower.end()
            }
            #expect(end?.step == .done && rehearsal.control.running == [2])
            #expect(try rehearsal.history.current.number == 2)
            try await eventually("its end is written") { try rehearsal.history.unfinished == nil }
        }
    }

    /// Runs a body while no file of this process may grow beyond a size: what a full disk does, without one.
    static func withFilesLimited<Value>(to bytes: Int, _ body: () async throws -> Value) async rethrows -> Value {
        var before = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before)
        let handler = signal(SIGXFSZ, SIG_IGN)
        var limited = before
        limited.rlim_cur = rlim_t(bytes)
        setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limited)
        defer {
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before)
            signal(SIGXFSZ, handler)
        }
        return try await body()
    }
}
