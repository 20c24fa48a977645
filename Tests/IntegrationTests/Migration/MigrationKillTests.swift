import Deployment
import Foundation
import Glibc
import Rollout
import Supervisor
import TestSupport
import Testing

/// The launcher is killed in each step of a migration: the next one undoes or finishes it, says which, and nothing runs twice.
@Suite("A launcher that is killed in mid-migration", .serialized, .timeLimit(.minutes(10)))
struct MigrationKillTests {
    /// In which step the launcher is killed, and which migration passes it.
    struct Moment: Sendable, CustomStringConvertible {
        var step: MigrationStep
        var strategy = MigrationSettings.Strategy.blueGreen
        /// The longest time from the step's record to the kill.
        ///
        /// About as long as the step takes; zero for one that is over in a millisecond.
        var span: Duration

        var description: String { "\(self.strategy.rawValue) \(self.step.rawValue)" }
    }

    private static let rounds = 20
    /// For steps in which no launcher has died yet.
    private static let moreRounds = 60
    private static let moments: [Moment] = [
        Moment(step: .preparing, span: .zero),
        Moment(step: .starting, span: .milliseconds(500)),
        Moment(step: .verifying, span: .milliseconds(25)),
        Moment(step: .canary, span: .milliseconds(120)),
        Moment(step: .confirming, span: .milliseconds(100)),
        Moment(step: .shifting, span: .milliseconds(200)),
        Moment(step: .observing, span: .milliseconds(100)),
        Moment(step: .draining, span: .zero),
        Moment(step: .warm, span: .milliseconds(100)),
        Moment(step: .retiring, span: .milliseconds(400)),
        Moment(step: .rollingBack, span: .milliseconds(400)),
        Moment(step: .emptying, strategy: .recreate, span: .milliseconds(500)),
        Moment(step: .shifting, strategy: .rolling, span: .milliseconds(400)),
    ]

    @Test func `each step 20 times: journal and reality agree afterwards, and nothing is left or runs twice`()
        async throws
    {
        let seed = UInt64.random(in: 0...(.max))
        do {
            // Three deployments beside each other: much of a round is waiting.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<3 {
                    let moments = Self.moments.enumerated().filter { $0.offset % 3 == index }.map(\.element)
                    group.addTask {
                        try await withTemporaryDirectory { directory in
                            try await Self.run(moments, "kill\(index)", in: directory, seed: seed &+ UInt64(index))
                        }
                    }
                }
                try await group.waitForAll()
            }
        } catch {
            Issue.record("seed \(seed): \(error)")
        }
    }

    private static func run(_ moments: [Moment], _ name: String, in directory: URL, seed: UInt64) async throws {
        let manifest = """
            name: \(name)
            processes:
              frontend: {builtin: frontend, stop: {grace: 2s}}
              worker: {builtin: worker, stop: {grace: 2s}}
            """
        let deployment = try KilledDeployment(name, in: directory, manifest: manifest)
        var random = SeededNumbers(state: seed)
        var order = Array(repeating: moments, count: Self.rounds).flatMap { $0 }
        order.shuffle(using: &random)
        var died: MigrationHistory?
        var hits: [String: Int] = [:]
        var round = 0
        while round < order.count {
            let moment = order[round]
            // Who waits for all of them sees that it goes on.
            if round.isMultiple(of: 20) { print("\(name): round \(round)") }
            do {
                try await deployment.up { program in
                    try await self.expectRecovery(of: deployment, from: died, program)
                    try await self.migrate(deployment, until: moment, program, &random)
                }
                died = try deployment.history
                if died?.unfinished?.step == moment.step { hits[moment.description, default: 0] += 1 }
                try await deployment.waitUntilGone()
            } catch {
                throw RoundFailed(place: "\(name), round \(round), \(moment)", error: error)
            }
            round += 1
            // Some steps last a few milliseconds, and the launcher then died in the next one: those are tried again.
            if round == order.count, round < Self.rounds * moments.count + Self.moreRounds {
                order += moments.filter { hits[$0.description] == nil }
            }
        }
        try await deployment.up { program in
            try await self.expectRecovery(of: deployment, from: died, program)
        }
        try await deployment.waitUntilGone()
        for moment in moments { #expect(hits[moment.description] ?? 0 >= 1, "\(moment): \(hits)") }
    }

    struct RoundFailed: Error, CustomStringConvertible {
        var place: String
        var error: any Error
        var description: String { "\(self.place): \(self.error)" }
    }

    /// Begins a migration and kills the launcher in one of its steps.
    private static func migrate(
        _ deployment: KilledDeployment,
        until moment: Moment,
        _ program: RunningProgram,
        _ random: inout SeededNumbers
    ) async throws {
        let history = try deployment.history
        let migration = history.nextMigration
        let offset = deployment.journalLength
        let isTCP = history.current.source?.requestPlane ?? "tcp" == "tcp"
        var request = MigrationRequest(requestPlane: isTCP ? "http" : "tcp", strategy: moment.strategy)
        // Without a pause between them the stages are shifts, one after another.
        let isShift = moment.step == .shifting && moment.strategy == .blueGreen
        request.observe = moment.step == .observing ? 60 : isShift ? 0 : 0.02
        request.rollbackWindow = moment.step == .retiring ? 0 : 60
        request.steps = isShift ? Array(1...100) : [50, 100]
        // Half of the rollbacks begin behind the commit point.
        let isLate = Bool.random(using: &random)
        request.confirm = moment.step == .confirming || moment.step == .rollingBack && !isLate
        let delay = moment.span * Double.random(in: 0...1, using: &random)
        try await deployment.migrating(request) { refusal in
            if moment.step == .rollingBack {
                let start: MigrationStep = isLate ? .warm : .confirming
                try await deployment.waitForRecord(start, of: migration, after: offset, unless: refusal)
                // Its answer comes when the way back has begun: too late to be killed at its beginning.
                async let answer = deployment.client.migration(.abort)
                try await deployment.waitForRecord(moment.step, of: migration, after: offset, unless: refusal)
                try await Task.sleep(for: delay)
                program.send(SIGKILL)
                _ = try? await answer
            } else {
                try await deployment.waitForRecord(
                    moment.step,
                    of: migration,
                    after: offset,
                    isBrief: moment.span == .zero,
                    unless: refusal
                )
                if delay > .zero { try await Task.sleep(for: delay) }
                program.send(SIGKILL)
            }
            try await program.waitForExit()
        }
    }

    /// Holds what the next launcher does and says to the records that the dead one has left.
    private static func expectRecovery(
        of deployment: KilledDeployment,
        from died: MigrationHistory?,
        _ program: RunningProgram
    ) async throws {
        try await eventually("the control socket answers") {
            guard program.isRunning else { throw OutputMissing(text: "up", ended: true, output: program.output) }
            return await (try? deployment.client.status(waitingFor: .ready, timeout: .seconds(20)))?.state == .ready
        }
        try await deployment.expectAnswer()
        let expected = died ?? MigrationHistory()
        let status = try await deployment.client.status()
        #expect(status.generation == expected.current.number)
        #expect(status.planes.request.rawValue == expected.current.source?.requestPlane ?? "tcp")
        let replicas = deployment.replicas
        #expect(replicas == deployment.replicas(of: expected.current.number))
        let now = try deployment.history
        #expect(now.current == expected.current)
        #expect(now.unfinished == nil)
        let records = try await deployment.client.migrations()
        #expect(records == now.records)
        #expect(records.allSatisfy { $0.ended != nil })
        let output = program.output
        if let unfinished = expected.unfinished {
            let place = unfinished.step.map { "in its step \($0.rawValue)" } ?? "before its first step"
            let last = try #require(records.last)
            #expect(last.step == (unfinished.isCommitted ? .done : .rolledBack))
            #expect(last.reason == "the launcher ended \(place)")
            let words = unfinished.isCommitted ? "the migration is finished" : "it is undone"
            #expect(
                output.contains("migration \(unfinished.began.migration) from ")
                    && output.contains("was interrupted \(place)") && output.contains(words),
                "\(output)"
            )
        } else {
            #expect(!output.contains("was interrupted"), "\(output)")
        }
        if let words = expected.current.words {
            #expect(output.contains("the deployment was migrated to \(words), and starts as that"), "\(output)")
        }
    }
}
