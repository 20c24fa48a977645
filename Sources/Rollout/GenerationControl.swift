package import Deployment
internal import FoundationEssentials
package import Gateway
package import Supervisor

/// The generations that run, and the gateway in front of them, as a migration sees them.
package protocol GenerationControl: Sendable {
    /// What a request leads to; nothing is done.
    ///
    /// - Parameters:
    ///   - request: what is wanted.
    ///   - generation: the number of the new one.
    ///   - isOutline: it will not be begun, so no ports are kept for it.
    /// - Returns: the migration.
    /// - Throws: `MigrationRefusal` with what is wrong with the manifest, or what the machine lacks.
    func plan(
        _ request: MigrationRequest,
        generation: Int,
        isOutline: Bool
    ) async throws(MigrationRefusal) -> PlannedMigration

    /// A migration begins or has ended: what else would change the deployment is refused in between.
    func setMigrating(_ isMigrating: Bool)

    /// Whether what a plan needs beside its own processes answers.
    func check(_ plan: Plan) async throws(MigrationFailure)

    /// Starts a generation; returns when it is ready through every layer, and discovery does not contradict its plan.
    ///
    /// - Throws: `MigrationFailure` when it never will be, `CancellationError`.
    func start(_ plan: Plan) async throws

    /// Waits until a generation that an earlier launcher has started, and that goes on under this one, is ready as after a start.
    ///
    /// - Throws: `MigrationFailure` when it never will be, `CancellationError`.
    func takeOver(_ plan: Plan) async throws

    /// Makes a running generation match another plan of it, replica by replica.
    ///
    /// - Throws: `MigrationFailure` when it does not, `CancellationError`.
    func apply(_ plan: Plan) async throws

    /// Whether a generation was given up: it is ending, or has ended.
    func isLost(_ generation: Int) -> Bool

    /// Ends a generation; returns when nothing of it is left, or nothing more can be done.
    ///
    /// - Returns: what could not be ended.
    func stop(_ generation: Int) async -> [String]

    /// Compares discovery with the plans of two generations that run beside each other.
    ///
    /// - Returns: what contradicts them, in words.
    func contradictions(_ old: Plan, _ new: Plan) async -> [String]

    /// From now on this generation is the deployment: its end is the launcher's.
    func activate(_ generation: Int)

    /// A migration has failed, and neither generation can be kept: everything is stopped, and the launcher ends with a failure.
    ///
    /// - Parameter reason: what it failed of.
    func giveUp(_ reason: String)

    /// Which part of the requests each generation gets; one that is missing gets nothing new.
    func setShares(_ shares: [Int: Int])

    /// Waits until a generation that gets nothing new has answered everything.
    ///
    /// - Returns: how many requests it still has.
    func waitUntilIdle(_ generation: Int, within limit: Duration) async -> Int

    /// What was counted of a generation's requests; every one that had ended is in it.
    func figures(of generation: Int) async -> TrafficFigures

    /// How many replicas of a generation are ready, and how many it has.
    func readiness(of generation: Int) -> (ready: Int, replicas: Int)

    /// How each process of a generation is.
    func conditions(of generation: Int) async -> [ProcessCondition]

    /// Says something to whoever watches the launcher.
    func say(_ text: String, isWarning: Bool)
}

/// Why a step of a migration failed, in words.
package struct MigrationFailure: Error, Sendable, Hashable, CustomStringConvertible {
    package var description: String

    package init(_ description: String) { self.description = description }
}

/// A migration that can be begun.
package struct PlannedMigration: Sendable {
    package var from: Plan
    package var to: Plan
    /// What the old generation was planned from.
    package var fromSource: GenerationSource
    /// What the new generation was planned from.
    package var source: GenerationSource
    /// What `up` was called with.
    package var base: GenerationSource
    package var settings: MigrationSettings
    /// Whether a person is asked before clients reach the new generation.
    package var asksPerson: Bool
    /// What is done in which step.
    package var plan: MigrationPlan

    package init(
        from: Plan,
        to: Plan,
        fromSource: GenerationSource,
        source: GenerationSource,
        base: GenerationSource,
        settings: MigrationSettings,
        asksPerson: Bool,
        plan: MigrationPlan
    ) {
        self.from = from
        self.to = to
        self.fromSource = fromSource
        self.source = source
        self.base = base
        self.settings = settings
        self.asksPerson = asksPerson
        self.plan = plan
    }
}

extension PlannedMigration {
    /// What is left of the new generation when it was taken back, in words.
    var remains: String {
        let logs = self.to.directories.logs
        // It may have been taken back before its first process was started.
        let files = (try? FileManager.default.contentsOfDirectory(atPath: logs)) ?? []
        return files.contains { $0.hasSuffix(".log") }
            ? "what generation \(self.to.generation) has written stays in \(logs)"
            : "no process of generation \(self.to.generation) was started"
    }
}
