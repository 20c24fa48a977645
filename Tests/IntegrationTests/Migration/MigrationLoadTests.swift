import Foundation
import Supervisor
import TestSupport
import Testing

/// Migrations under the load of 32 clients, of whose requests none may be lost, cut short or done twice.
@Suite(.serialized) struct MigrationLoadTests {
    /// One migration of a chain in one launcher.
    struct Move: Sendable {
        var name: String
        /// Of `migrate`.
        var arguments: [String]

        static func to(_ plane: String) -> Move { Move(name: plane, arguments: ["--to", plane]) }
    }

    /// Each of the six ordered pairs of planes once, from `http` on and back to it.
    static let allPairs: [Move] = ["nats", "tcp", "http", "tcp", "nats", "http"].map(Move.to)

    /// The launcher's own judge is to let these pass.
    ///
    /// It looks at two seconds at a time, in which other programs of the machine may take the processors; here the clients' p99 over whole
    /// phases is held to less. What the judge does has tests of its own (`RollbackTests`).
    private static let patience = [
        "--set", "migration.thresholds.firstToken=20", "--set", "migration.thresholds.betweenTokens=20",
    ]

    /// Requests that one migration must have seen.
    private static let requests = 2000

    @Test func `embedded: all six pairs of planes`() async throws {
        let arguments = [
            "--http", "--set", #"processes.worker.args=[--engine, echo, --model-name, "{{model}}", --rate, 500]"#,
        ]
        // More of them take both of a small machine's processors in a debug build already when nothing moves; the steady p99, which the
        // shift's is compared with, is several times as long then.
        try await self.run(arguments, moves: Self.allPairs, rate: 1.5)
    }

    @Test func `Dynamo 1_2_1: all six pairs of planes, and from its http to 1_6_1 on tcp`() async throws {
        let newer = try TestEnvironment.python(.v161)
        let last = Move(name: "1.6.1 on tcp", arguments: ["--to", "tcp", "--set", "dynamo.python=\(newer)"])
        try await self.run(
            [
                RealDynamoTests.manifest, "--http", "--set",
                #"processes.worker.args=[--model-path, "${MODEL_PATH}", --speedup-ratio, 4]"#,
            ],
            environment: try RealDynamoTests.environment(.v121),
            moves: Self.allPairs + [last],
            rate: 4,
            generates: true
        )
    }

    // MARK: Parts

    /// Runs a deployment through some migrations, and counts everything.
    ///
    /// Each migration has three phases of clients' requests: (1) while the new generation starts and is tried out; (2) both run, warm,
    /// and the old one has all requests: the steady state; (3) the shift, from the first share to the drained old generation. The shift
    /// is compared with (2), not with a time in which there was one generation, since what a second set of processes costs on this
    /// machine is not what is asked; what moving the requests costs is.
    private func run(
        _ arguments: [String],
        environment: [String: String?] = [:],
        moves: [Move],
        rate: Double,
        generates: Bool = false
    ) async throws {
        let (_, exit) = try await Launcher.up(arguments + Self.patience, environment: environment) { deployment in
            try await deployment.waitUntilReady()
            let model = try await Chat.firstModel(deployment.url)
            var ledger = MigrationLedger(deployment)
            try await ledger.open(1)
            let totals = try await SteadyClients.run(
                deployment.url,
                model: model,
                rate: rate,
                library: 4,
                streamLength: 64,
                generates: generates
            ) { clients in
                for (index, move) in moves.enumerated() {
                    try await self.migrate(deployment, move, generation: index + 2, &clients, &ledger)
                }
                try await clients.waitForHundreds(1)
            }
            try await ledger.close(moves.count + 1)
            #expect(totals.failures == [])
            #expect(totals.connections == 28, "each client that is not the library keeps its connection")
            try await ledger.check(totals, generations: moves.count + 1)
            Self.checkTimes(totals, moves)
        }
        #expect(exit == .code(0))
    }

    private func migrate(
        _ deployment: LaunchedDeployment,
        _ move: Move,
        generation: Int,
        _ clients: inout SteadyClients,
        _ ledger: inout MigrationLedger
    ) async throws {
        let arguments =
            ["migrate"] + move.arguments
            + ["--confirm", "--json", "--steps", "25,50,100", "--observe", "2", "--rollback-window", "60"]
        let (_, exit) = try await withProgram(Launcher.path, arguments, environment: deployment.environment) {
            program in
            try await program.waitForOutput(#""step":"confirming""#, within: .seconds(60))
            try await ledger.open(generation)
            // Together with the two phases that follow.
            try await clients.waitForHundreds(Self.requests / 100 - 14)
            clients.beginPhase()
            try await clients.waitForHundreds(7)
            clients.beginPhase()
            let promotion = try await deployment.command("migrate", "promote")
            #expect(promotion.exit == .code(0), "\(promotion.output)")
            try await program.waitForExit(within: .seconds(60))
            #expect(program.output.contains(#""step":"warm""#), "\(program.output)")
        }
        #expect(exit == .code(0))
        try await clients.waitForHundreds(7)
        // The old generation is kept for a return, so that it can be asked what it did.
        try await ledger.close(generation - 1)
        clients.beginPhase()
        let promotion = try await deployment.command("migrate", "promote")
        #expect(promotion.exit == .code(0), "\(promotion.output)")
        let end = try await deployment.command("migrate", "status", "--follow")
        #expect(end.exit == .code(0), "\(end.output)")
        #expect(try await ledger.status().generation == generation)
        // Who waits for the whole chain sees that it goes on.
        print("migration \(generation - 1), to \(move.name): done")
    }

    /// Holds each shift to the steady time.
    ///
    /// Of the 700 requests of one steady phase the p99 is the seventh longest, and differs by a quarter from phase to phase while nothing is
    /// different; so that of all steady phases together counts, too, and where the machine was slow before and during one shift, that of its
    /// own.
    private static func checkTimes(_ totals: SteadyClients.Totals, _ moves: [Move]) {
        #expect(totals.phases.count == 3 * moves.count + 1)
        guard totals.phases.count == 3 * moves.count + 1 else { return }
        let steadyP99 = SteadyClients.p99(of: moves.indices.map { totals.phases[3 * $0 + 1] })
        print("steady, all together: p99 \(Int((steadyP99 * 1000).rounded())) ms")
        for (index, move) in moves.enumerated() {
            let (start, steady, shift) = (
                totals.phases[3 * index], totals.phases[3 * index + 1], totals.phases[3 * index + 2]
            )
            let words = "migration \(index + 1), to \(move.name): steady \(steady), shift \(shift)"
            #expect(start.requests + steady.requests + shift.requests >= Self.requests, "\(words)")
            #expect(shift.p99 <= 2 * max(steadyP99, steady.p99), "\(words)")
            // One plane may be faster than the others.
            #expect(shift.p99 <= 3 * steady.p99, "\(words)")
            print(words)
        }
    }
}
