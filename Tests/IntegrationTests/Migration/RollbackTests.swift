import Foundation
import Supervisor
import TestSupport
import Testing

/// Migrations to generations with faults, while 32 clients go on: each is taken back, and the old generation serves as before.
@Suite("Rollbacks", .serialized, .timeLimit(.minutes(4)))
struct RollbackTests {
    private static let quick = "restart: {maxRestarts: 2, initialDelay: 100ms}"
    /// Whoever does not end when asked is killed soon.
    private static let impatient = ", stop: {grace: 1s}"

    @Test func `faults that show before clients are reached cost no request`() async throws {
        try await FaultyGenerations.run { generations in
            try generations.switchOn()
            let totals = try await SteadyClients.run(generations.deployment.url, model: "echo") {
                // A worker that nobody hears of.
                let silent = try generations.worker("silent", more: Self.impatient)
                try await generations.takesBack(
                    try generations.manifest(worker: silent, migration: ", startTimeout: 2s"),
                    because: "generation 2 was not ready within 2 s ('migration.startTimeout'): g2/frontend starting",
                    "waits for model-listed"
                )
                // The same by its own limit and policy.
                let limited = ", ports: {system: auto}, timing: {startupTimeout: 2s}, \(Self.quick)\(Self.impatient)"
                try await generations.takesBack(
                    try generations.manifest(worker: try generations.worker("silent", more: limited)),
                    because: "g3/worker: given up after 2 restarts in a row; last: layer port not reached within",
                    "g3/logs/worker.log"
                )
                try await generations.takesBack(
                    try generations.manifest(
                        worker: try generations.worker("nonsense"),
                        migration: ", canary: [{prompt: one two, expect: ^one two}]"
                    ),
                    because:
                        "g4/frontend: it was asked 'one two': the answer must match /^one two/, and it is 'lorem ipsum"
                )
                try await generations.takesBack(
                    try generations.manifest(
                        frontend: #"{command: [/bin/sh, -c, "exit 3"], role: frontend, \#(Self.quick)}"#
                    ),
                    because: "g5/frontend: given up after 2 restarts in a row; last: exit code 3",
                    "g5/logs/frontend.log"
                )
                // A program that is not there is found before anything is begun.
                let absent = try generations.manifest(frontend: "{command: [/no/program], role: frontend}")
                let ending = try await generations.migrate(absent)
                #expect(ending.exit == .code(1) && ending.status.to.number == 5)
                #expect(ending.output.contains("'/no/program' of process 'frontend' cannot be run"), "\(ending.output)")
                #expect(ending.output.hasSuffix("nothing was changed\n"), "\(ending.output)")
            }
            #expect(totals.failures == [])
            #expect(totals.requests > 300, "\(totals)")
        }
    }

    @Test func `a generation that fails once it has clients is taken back`() async throws {
        try await FaultyGenerations.run { generations in
            var endings: [FaultyGenerations.Ending] = []
            let totals = try await SteadyClients.run(generations.deployment.url, model: "echo") {
                let failing = try generations.manifest(worker: try generations.worker("errors"))
                endings.append(
                    try await generations.takesBack(
                        failing,
                        because: "requests to generation 2 failed (",
                        "the limit is 2%"
                    ) {
                        try await $0.waitForOutput("observing 1 of 2")
                        try generations.switchOn()
                    }
                )
                generations.switchOff()
                let late = try generations.manifest(
                    worker: try generations.worker("late"),
                    migration: ", thresholds: {minimumRequests: 10}"
                )
                let slow = try await generations.takesBack(
                    late,
                    because: "time to first token ",
                    "the limit is 3 times"
                ) {
                    try await $0.waitForOutput("observing 1 of 2")
                    try generations.switchOn()
                }
                #expect(slow.status.to.errors == 0)
                #expect(slow.status.to.requests > 20, "\(slow.status)")
                // One that is killed once is started again; the second time is one too many.
                let fragile = try generations.manifest(
                    frontend: "{builtin: frontend, restart: {initialDelay: 100ms}}",
                    migration: ", thresholds: {errorRate: 100%, \(FaultyGenerations.patience)}"
                )
                endings.append(
                    try await generations.takesBack(fragile, because: "g4/frontend was started again 2 times") {
                        program in
                        try await program.waitForOutput("observing 1 of 2")
                        for turn in 1...2 {
                            try await eventually("the frontend serves in its turn \(turn)") {
                                generations.deployment.program.output.components(separatedBy: "g4/frontend: serving")
                                    .count
                                    == turn + 1
                            }
                            for pid in generations.processes(of: 4, running: "dynamo-frontend") { kill(pid, SIGKILL) }
                        }
                    }
                )
                // One whose worker is given up is given up itself.
                let lost = try generations.manifest(
                    worker: FaultyGenerations.worker.dropLast() + ", restart: {policy: never}}"
                )
                endings.append(
                    try await generations.takesBack(lost, because: "the new generation was given up: g5/worker: ") {
                        program in
                        try await program.waitForOutput("observing 1 of 2")
                        for pid in generations.processes(of: 5, running: "dynamo-worker") { kill(pid, SIGKILL) }
                    }
                )
            }
            // What the clients did not get is what the faulty generations answered wrongly, and no more.
            let errors = endings.map(\.status.to.errors).reduce(0, +)
            #expect(totals.failures.count == min(errors, 20), "\(endings.map(\.status.to)): \(totals)")
            #expect(errors > 0 && errors < totals.requests / 20, "\(errors) errors: \(totals)")
            #expect(totals.requests > 500, "\(totals)")
        }
    }

    @Test func `NATS that is lost takes a migration to it back`() async throws {
        try await FaultyGenerations.run { generations in
            var endings: [FaultyGenerations.Ending] = []
            let url = generations.deployment.url
            let totals = try await SteadyClients.run(url, model: "echo") {
                // The new generation's own server, again and again, while it starts: the worker is never there.
                let starting = try generations.manifest(
                    worker: try generations.worker("silent", more: Self.impatient),
                    plane: "nats",
                    migration: ", startTimeout: 30s"
                )
                try generations.switchOn()
                try await generations.takesBack(starting, because: "g2/nats: given up after 5 restarts in a row") {
                    try await Self.killAgainAndAgain(generations, 2, $0)
                }
                generations.switchOff()
                // While it is watched. Requests that stand still may be seen before its second start, and are not judged here.
                let watched = try generations.manifest(
                    plane: "nats",
                    migration:
                        ", thresholds: {errorRate: 100%, minimumRequests: 1000000, \(FaultyGenerations.patience)}"
                )
                endings.append(
                    try await generations.takesBack(
                        watched,
                        because: "g3/nats was started again 2 times while it was watched"
                    ) { program in
                        try await program.waitForOutput("observing 1 of 2")
                        try await Self.killAgainAndAgain(generations, 3, program)
                    }
                )
            }
            let errors = endings.map(\.status.to.errors).reduce(0, +)
            #expect(totals.failures.count == min(errors, 20), "\(endings.map(\.status.to)): \(totals)")
        }
    }

    /// Kills a generation's NATS server whenever there is one, until the migration is being taken back.
    private static func killAgainAndAgain(
        _ generations: FaultyGenerations,
        _ number: Int,
        _ program: RunningProgram
    ) async throws {
        try await eventually(within: .seconds(40), "it is taken back: \(program.output)") {
            for pid in generations.processes(of: number, running: "nats-server") { kill(pid, SIGKILL) }
            return program.output.contains("rolling-back") || !program.isRunning
        }
    }

    @Test func `a NATS server elsewhere that is lost takes a migration to it back`() async throws {
        try await FaultyGenerations.run { generations in
            var ending: FaultyGenerations.Ending?
            let totals = try await SteadyClients.run(generations.deployment.url, model: "echo") {
                // While the new generation starts; its worker would never be there, and nothing else limits that.
                try generations.switchOn()
                let port = try await NATSServerFixture.run { server in
                    let worker = try generations.worker("silent", more: Self.impatient)
                    let manifest = try generations.manifest(worker: worker, plane: "nats", nats: server.url)
                    try await generations.takesBack(
                        manifest,
                        because: "nats at \(server.url) does not answer: ",
                        "Start it"
                    ) { program in
                        try await eventually(within: .seconds(20), "its worker runs: \(program.output)") {
                            !generations.processes(of: 2, running: "faulty_worker").isEmpty
                        }
                        server.process.send(SIGKILL)
                    }
                    return server.port
                }
                generations.switchOff()
                // While it is watched.
                ending = try await NATSServerFixture.run { server in
                    let manifest = try generations.manifest(plane: "nats", nats: server.url)
                    return try await generations.takesBack(
                        manifest,
                        because: "nats at \(server.url) does not answer: "
                    ) { program in
                        try await program.waitForOutput("observing 1 of 2")
                        server.process.send(SIGKILL)
                    }
                }
                // Without it nothing is started.
                let dead = try generations.manifest(plane: "nats", nats: "nats://127.0.0.1:\(port)")
                let refused = try await generations.migrate(dead)
                #expect(
                    refused.exit == .code(1) && refused.output.contains("nats at nats://127.0.0.1:\(port) does not")
                )
                #expect(!refused.output.contains("starting"), "\(refused.output)")
            }
            // Only what the new generation had when its server went.
            let errors = try #require(ending?.status.to.errors)
            #expect(totals.failures.count == min(errors, 20), "\(errors) errors: \(totals)")
            #expect(totals.failures.allSatisfy { $0.contains("g3-chat.backend.generate") }, "\(totals)")
            #expect(totals.requests > 200, "\(totals)")
        }
    }

    @Test func `a first generation that is lost while clients move leaves the new one`() async throws {
        let fragile = FaultyGenerations.worker.dropLast() + ", restart: {policy: never}}"
        try await FaultyGenerations.run(worker: String(fragile)) { generations in
            var errors = 0
            let totals = try await SteadyClients.run(generations.deployment.url, model: "echo") {
                let ending = try await generations.migrate(try generations.manifest()) { program in
                    try await program.waitForOutput("observing 1 of 2")
                    for pid in generations.processes(of: 1, running: "dynamo-worker") { kill(pid, SIGKILL) }
                }
                #expect(ending.exit == .code(0), "\(ending.output)")
                let lost =
                    "the old generation was given up, and the new one gets all requests: worker: killed by SIGKILL"
                #expect(ending.status.notes.contains { $0.hasPrefix(lost) }, "\(ending.output)")
                #expect(ending.status.step == .done && ending.status.to.errors == 0)
                errors = ending.status.from.errors
                #expect(generations.processes(of: 1) == [])
                try await eventually("clients go on") {
                    let gateway = try await generations.status().gateway
                    let new = gateway?.backends.filter { $0.generation == 2 } ?? []
                    return new.map(\.requests).reduce(0, +) > 150 && new.map(\.errors) == [0]
                }
            }
            // What the lost worker had, and what its frontend was sent before it was known.
            #expect(totals.failures.count == min(errors, 20) && errors <= 32, "\(errors) errors: \(totals)")
            #expect(try await generations.status().generation == 2)
        }
    }
}
