import Deployment
import Foundation
import Gateway
import Supervisor
import Synchronization
import TestSupport
import Testing

@testable import Rollout

/// Generations that exist only on paper: it writes down what it is asked, and does what a test wants of it.
final class ScriptedControl: GenerationControl {
    private struct State: Sendable {
        var calls: [String] = []
        var failing: [String: String] = [:]
        var held: Set<String> = []
        var active = 1
        var running: Set<Int> = [1]
        var shares: [Int: Int] = [:]
        var isMigrating = false
        var givenUp: String?
        var lost: Set<Int> = []
        var said: [String] = []
    }

    /// Where the journal is that must have the step before it is done.
    private let folder: String
    private let state = Mutex(State())
    /// How the migrations are, beside what is asked for.
    let settings: MigrationSettings
    /// Of each generation.
    let workers: [ReplicaPlan]

    init(
        folder: String,
        settings: MigrationSettings,
        workers: [ReplicaPlan]
    ) {
        self.folder = folder
        self.settings = settings
        self.workers = workers
    }

    // MARK: For tests

    /// What was asked, each with the step that the journal named at that time: `starting: start 2`.
    var calls: [String] { self.state.withLock { $0.calls } }
    var active: Int { self.state.withLock { $0.active } }
    var running: Set<Int> { self.state.withLock { $0.running } }
    var shares: [Int: Int] { self.state.withLock { $0.shares } }
    var isMigrating: Bool { self.state.withLock { $0.isMigrating } }
    var givenUp: String? { self.state.withLock { $0.givenUp } }
    var said: [String] { self.state.withLock { $0.said } }

    /// A generation is given up for good; it cannot be changed any more.
    func lose(_ generation: Int) { self.state.withLock { _ = $0.lost.insert(generation) } }

    /// From now on this fails.
    func fail(_ call: String, _ reason: String?) { self.state.withLock { $0.failing[call] = reason } }

    /// From now on this takes until it is released, or cancelled where that is possible.
    func hold(_ call: String) { self.state.withLock { _ = $0.held.insert(call) } }

    func release(_ call: String) { self.state.withLock { _ = $0.held.remove(call) } }

    func forget() { self.state.withLock { $0.calls = [] } }

    /// Waits until something was asked.
    func wait(for call: String) async throws {
        try await eventually("\(call) after \(self.calls)") {
            self.calls.contains { $0 == call || $0.hasSuffix(": \(call)") }
        }
    }

    private func write(_ call: String) {
        let step = (try? MigrationJournal.history(folder: self.folder))?.unfinished?.step
        self.state.withLock { $0.calls.append("\(step?.rawValue ?? "-"): \(call)") }
    }

    /// Writes a call down, and does what a test wants of it; one that is firm does not end when it is cancelled.
    private func take(_ call: String, isFirm: Bool = false) async throws {
        self.write(call)
        while self.state.withLock({ $0.held.contains(call) }) {
            if isFirm { await Task.yield() } else { try await Task.sleep(for: .milliseconds(1)) }
        }
        if let reason = self.state.withLock({ $0.failing[call] }) { throw MigrationFailure(reason) }
    }

    private static func words(_ plan: Plan) -> String {
        let workers = plan.replicas.filter { $0.role == .worker }.map(\.name)
        return "\(plan.generation) (\(workers.joined(separator: ", ")))"
    }

    // MARK: GenerationControl

    func plan(
        _ request: MigrationRequest,
        generation: Int,
        isOutline: Bool
    ) async throws(MigrationRefusal) -> PlannedMigration {
        do { try await self.take("plan \(generation)") } catch {
            let isConflict = "\(error)".contains("already")
            throw MigrationRefusal(cause: isConflict ? .conflict : .badManifest, description: "\(error)")
        }
        let from = Generations.side(self.active, self.workers) { $0.generation = self.active }
        let to = Generations.side(generation, self.workers, plane: .http) { $0.generation = generation }
        var settings = self.settings
        settings.strategy = request.strategy ?? settings.strategy
        settings.rollbackWindow = request.rollbackWindow ?? settings.rollbackWindow
        do throws(MigrationPlan.Refusal) {
            return PlannedMigration(
                from: from.plan,
                to: to.plan,
                fromSource: JournalSamples.base,
                source: JournalSamples.source("http"),
                base: JournalSamples.base,
                settings: settings,
                asksPerson: request.confirm,
                plan: try MigrationPlan(from: from, to: to, settings: settings)
            )
        } catch {
            throw MigrationRefusal(cause: .conflict, description: "\(error)")
        }
    }

    func setMigrating(_ isMigrating: Bool) { self.state.withLock { $0.isMigrating = isMigrating } }

    func check(_ plan: Plan) async throws(MigrationFailure) {
        do { try await self.take("check \(plan.generation)") } catch {
            throw error as? MigrationFailure ?? MigrationFailure("cancelled")
        }
    }

    func start(_ plan: Plan) async throws {
        self.state.withLock { _ = $0.running.insert(plan.generation) }
        try await self.take("start \(Self.words(plan))")
    }

    func takeOver(_ plan: Plan) async throws { try await self.take("take over \(plan.generation)") }

    func apply(_ plan: Plan) async throws(MigrationFailure) {
        do { try await self.take("apply \(Self.words(plan))", isFirm: true) } catch {
            throw error as? MigrationFailure ?? MigrationFailure("cancelled")
        }
        if self.isLost(plan.generation) { throw MigrationFailure("generation \(plan.generation) does not run") }
    }

    func stop(_ generation: Int) async -> [String] {
        do { try await self.take("stop \(generation)", isFirm: true) } catch { return ["\(error)"] }
        self.state.withLock { _ = $0.running.remove(generation) }
        return []
    }

    func contradictions(_ old: Plan, _ new: Plan) async -> [String] {
        do { try await self.take("compare \(old.generation) \(new.generation)") } catch { return ["\(error)"] }
        return []
    }

    /// The probe requests.
    func canary(_ plan: Plan) async -> [String] {
        do { try await self.take("canary \(plan.generation)") } catch { return ["\(error)"] }
        return []
    }

    func activate(_ generation: Int) {
        guard self.active != generation else { return }
        self.write("activate \(generation)")
        self.state.withLock { $0.active = generation }
    }

    func giveUp(_ reason: String) { self.state.withLock { $0.givenUp = reason } }

    func setShares(_ shares: [Int: Int]) {
        let words = shares.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }
        self.write("shares \(words.isEmpty ? "nobody" : words.joined(separator: " "))")
        self.state.withLock { $0.shares = shares }
    }

    func waitUntilIdle(_ generation: Int, within limit: Duration) async -> Int {
        do { try await self.take("idle \(generation)") } catch { return 1 }
        return 0
    }

    func figures(of generation: Int) -> TrafficFigures { TrafficFigures() }

    func readiness(of generation: Int) -> (ready: Int, replicas: Int) { (3, 3) }

    func isLost(_ generation: Int) -> Bool { self.state.withLock { $0.lost.contains(generation) } }

    func conditions(of generation: Int) async -> [ProcessCondition] { [] }

    func say(_ text: String, isWarning: Bool) { self.state.withLock { $0.said.append(text) } }
}

/// Migrations of paper generations.
struct Rehearsal: Sendable {
    let control: ScriptedControl
    let runner: MigrationRunner
    let journal: MigrationJournal
    let folder: String

    static let settings = MigrationSettings(steps: [50, 100], observe: 0, rollbackWindow: 0)

    static func run(
        _ settings: MigrationSettings = Self.settings,
        workers: [ReplicaPlan] = Generations.workers(2),
        _ body: (Rehearsal) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { folder in
            let control = ScriptedControl(folder: folder.path, settings: settings, workers: workers)
            let journal = try MigrationJournal(folder: folder.path)
            let runner = MigrationRunner(control, journal: journal) { await control.canary($0) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await runner.run() }
                defer { group.cancelAll() }
                try await body(
                    Rehearsal(control: control, runner: runner, journal: journal, folder: folder.path)
                )
            }
        }
    }

    /// Begins a migration.
    func begin(_ request: MigrationRequest = MigrationRequest(requestPlane: "http")) async throws -> Follower {
        Follower(statuses: try await self.runner.migrate(request))
    }

    /// Does one, to its end.
    func migrate(_ request: MigrationRequest = MigrationRequest(requestPlane: "http")) async throws -> MigrationStatus?
    {
        try await self.begin(request).end()
    }

    func waitUntil(_ step: MigrationStep) async throws {
        do {
            try await eventually("the step \(step.rawValue)") { await self.runner.status()?.step == step }
        } catch {
            Issue.record("\(self.control.calls)")
            throw error
        }
    }

    /// What the file itself comes to.
    var history: MigrationHistory { get throws { try MigrationJournal.history(folder: self.folder) } }

    /// Of the file, in bytes.
    var size: Int {
        get throws { try Data(contentsOf: URL(filePath: self.journal.path)).count }
    }

    /// The statuses of one migration.
    struct Follower: Sendable {
        let statuses: AsyncStream<MigrationStatus>

        /// The last one.
        func end() async -> MigrationStatus? {
            var last: MigrationStatus?
            for await status in self.statuses { last = status }
            return last
        }
    }
}
