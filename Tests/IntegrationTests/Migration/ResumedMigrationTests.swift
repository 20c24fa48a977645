import Deployment
import Foundation
import Glibc
import Rollout
import Supervisor
import TestSupport
import Testing

/// With `survive: true` the launcher is killed in mid-migration, under clients: the next one goes on with it, with the processes that there are.
@Suite(.serialized, .timeLimit(.minutes(10))) struct ResumedMigrationTests {
    /// What a test has in its hands.
    private struct Scene {
        let deployment: KilledDeployment
        let clients: PublicClients

        /// Runs a launcher until it is ready, and kills it after the body, if that has not done so.
        func launch(_ body: (RunningProgram) async throws -> Void) async throws {
            try await self.deployment.up { program in
                try await program.waitForOutput("ready in ")
                try await body(program)
                program.send(SIGKILL)
                try await program.waitForExit()
            }
        }

        /// Begins a migration under a launcher that is killed after a step's record.
        ///
        /// - Parameters:
        ///   - step: the step.
        ///   - request: the migration.
        ///   - serves: whether requests are answered without a launcher.
        ///   - kill: is done before.
        /// - Returns: in which step it has died, which may be the next one, and what runs then.
        /// - Throws: when it does not come so far.
        func killed(
            in step: MigrationStep,
            _ request: MigrationRequest,
            serves: Bool = true,
            before kill: () async throws -> Void = {}
        ) async throws -> (step: MigrationStep, pids: [String: Int32]) {
            try await self.launch { program in
                try await self.deployment.migrating(request) { refusal in
                    try await self.deployment.waitForRecord(step, of: 1, isBrief: step == .draining, unless: refusal)
                    try await kill()
                    program.send(SIGKILL)
                    try await program.waitForExit()
                }
            }
            let died = try #require(try self.deployment.history.unfinished?.step)
            if serves { try await self.clients.answers(20) }
            return (died, self.deployment.pids)
        }

        /// Waits until the migration has ended, and looks at what runs then.
        func expectEnd(_ step: MigrationStep, _ generation: Int, with pids: [String: Int32]) async throws {
            let name = self.deployment.name
            try await eventually(within: .seconds(60), "\(name) ends with \(step.rawValue)") {
                try self.deployment.history.unfinished == nil
            }
            let records = try self.deployment.history.records
            #expect(records.map(\.step) == [step], "\(records)")
            let holder = generation == 1 ? "\(name)/" : "\(name)@\(generation)/"
            try await eventually(within: .seconds(30), "the other generation is gone") {
                self.deployment.replicas.allSatisfy { $0.hasPrefix(holder) }
            }
            #expect(self.deployment.pids == pids.filter { $0.key.hasPrefix(holder) })
            #expect(self.deployment.replicas.count >= 2, "\(self.deployment.replicas)")
            #expect(try await self.deployment.client.status().generation == generation)
            try await self.clients.answers(20)
        }

        /// Takes the migration back that this launcher observes, and waits until that is done.
        func takeBack(_ program: RunningProgram) async throws {
            _ = try await self.expect(.observing)
            let (said, exit) = try await self.deployment.command("rollback")
            #expect(exit == .code(0), "\(said)")
            try await eventually(within: .seconds(60), "it is taken back: \(program.output)") {
                try self.deployment.history.unfinished == nil
            }
            #expect(try self.deployment.history.records.map(\.step) == [.rolledBack])
        }

        /// Waits for a step of the migration under this launcher.
        func expect(_ step: MigrationStep) async throws -> MigrationStatus {
            try await eventually(within: .seconds(40), "the step \(step.rawValue)") {
                (try? await self.deployment.client.migration())?.step == step
            }
            return try await self.deployment.client.migration()
        }
    }

    private func scene(
        _ name: String,
        worker: String = "{builtin: worker}",
        _ body: (Scene) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let manifest = """
                name: \(name)
                survive: true
                processes:
                  frontend: {builtin: frontend}
                  worker: \(worker)
                """
            let deployment = try KilledDeployment(name, in: directory, manifest: manifest)
            let clients = PublicClients(port: deployment.port)
            let scene = Scene(deployment: deployment, clients: clients)
            let result: Result<Void, any Error>
            do {
                try await scene.launch { _ in }
                try await clients.run(8) {
                    try await clients.answers(20)
                    try await body(scene)
                    try await clients.answers(20)
                }
                result = .success(())
            } catch { result = .failure(error) }
            let (said, exit) = try await deployment.command("stop", name)
            #expect(exit == .code(0), "\(said)")
            try await deployment.waitUntilGone()
            try result.get()
            #expect(clients.counts.refused == [] && clients.counts.lost == [])
        }
    }

    private static func request(_ observe: Double, window: Double = 0, confirm: Bool = false) -> MigrationRequest {
        var request = MigrationRequest(requestPlane: "http", strategy: .blueGreen)
        request.steps = [50, 100]
        (request.observe, request.rollbackWindow, request.confirm) = (observe, window, confirm)
        return request
    }

    @Test(arguments: [MigrationStep.verifying, .canary, .shifting, .observing, .draining])
    func `a migration goes on to its end in which the launcher was killed`(step: MigrationStep) async throws {
        try await self.scene("resumed-\(step.rawValue)") { scene in
            // A step that is over at once must not lead to the end.
            let isLate = step == .draining
            let (died, pids) = try await scene.killed(in: step, Self.request(2, window: isLate ? 600 : 0))
            #expect(pids.count == 4, "both generations go on: \(pids)")
            try await scene.launch { program in
                try await program.waitForOutput("goes on at its step \(died.rawValue)")
                #expect(program.output.contains("from generation 1 (tcp) to 2 (http), begun at "), "\(program.output)")
                if isLate {
                    _ = try await scene.expect(.warm)
                    _ = try await scene.deployment.client.migration(.promote)
                }
                try await scene.expectEnd(.done, 2, with: pids)
                #expect(!program.output.contains(": started, pid "), "\(program.output)")
                let (events, exit) = try await scene.deployment.command("events", scene.deployment.name)
                #expect(exit == .code(0) && events.contains("goes on at its step"), "\(events)")
            }
        }
    }

    @Test func `what of the new generation was not started yet is started, and nothing twice`() async throws {
        try await self.scene("resumed-starting") { scene in
            let worker = "resumed-starting@2/worker"
            let (died, pids) = try await scene.killed(in: .starting, Self.request(0.2)) {
                // It must not come further than that.
                try await eventually("its worker is started") { scene.deployment.pids[worker] != nil }
                if let pid = scene.deployment.pids[worker] { kill(pid, SIGSTOP) }
            }
            let pid = try #require(pids[worker])
            try await scene.launch { program in
                try await program.waitForOutput("goes on at its step \(died.rawValue)")
                kill(pid, SIGCONT)
                try await program.waitForOutput("migration 1: verifying")
                let all = scene.deployment.pids
                #expect(pids.allSatisfy { all[$0.key] == $0.value || all[$0.key] == nil })
                try await scene.expectEnd(.done, 2, with: all)
                #expect(scene.deployment.pids[worker] == pid)
            }
        }
    }

    @Test func `a person is asked again, and the old generation is kept for a return again`() async throws {
        try await self.scene("resumed-confirm") { scene in
            let (_, pids) = try await scene.killed(in: .confirming, Self.request(0.2, window: 600, confirm: true))
            #expect(pids.count == 4)
            try await scene.launch { program in
                let status = try await scene.expect(.confirming)
                #expect(status.share == 0 && status.notes.contains { $0.contains("goes on at its step confirming") })
                try await scene.clients.answers(20)
                #expect(try await scene.deployment.client.migration().share == 0)
                _ = try await scene.deployment.client.migration(.promote)
                _ = try await scene.expect(.warm)
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            try await scene.clients.answers(20)
            #expect(scene.deployment.pids == pids)
            try await scene.launch { program in
                let status = try await scene.expect(.warm)
                #expect(status.share == 100, "\(program.output)")
                let (said, exit) = try await scene.deployment.command("rollback")
                #expect(exit == .code(0), "\(said)")
                try await scene.expectEnd(.rolledBack, 1, with: pids)
            }
        }
    }

    @Test func `two launchers are killed in it, and what a person has paused stays so`() async throws {
        try await self.scene("resumed-twice") { scene in
            let (_, pids) = try await scene.killed(in: .observing, Self.request(600))
            #expect(pids.count == 4)
            try await scene.launch { program in
                try await program.waitForOutput("goes on at its step observing (50 %)")
                #expect(try await scene.expect(.observing).share == 50)
                _ = try await scene.deployment.client.migration(.pause)
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            try await scene.clients.answers(20)
            try await scene.launch { program in
                try await program.waitForOutput("(50 %), paused")
                try await eventually("it is shown") { (try? await scene.deployment.client.migration()) != nil }
                let status = try await scene.deployment.client.migration()
                #expect(status.isPaused && status.share == 50 && status.stage == 1)
                _ = try await scene.deployment.client.migration(.resume)
                _ = try await scene.expect(.observing)
                #expect(scene.deployment.pids == pids)
                _ = try await scene.deployment.client.migration(.promote)
                try await scene.expectEnd(.done, 2, with: pids)
            }
        }
    }

    @Test func `one that is begun with another manifest is taken back, and the launcher says why`() async throws {
        try await self.scene("resumed-otherwise") { scene in
            let (_, pids) = try await scene.killed(in: .observing, Self.request(600))
            let file = scene.deployment.manifest
            try scene.deployment.write(try String(contentsOf: file, encoding: .utf8) + "\n# otherwise\n")
            try await scene.launch { program in
                #expect(
                    program.output.contains("migration 1 is not resumed: the manifest changed since it began"),
                    "\(program.output)"
                )
                try await scene.expectEnd(.rolledBack, 1, with: pids)
            }
        }
    }

    @Test func `a process of the new generation that ended meanwhile is started again, and the migration goes on`()
        async throws
    {
        try await self.scene("resumed-less") { scene in
            var (_, pids) = try await scene.killed(in: .confirming, Self.request(0.2, confirm: true))
            let worker = "resumed-less@2/worker"
            let ended = try #require(pids[worker])
            kill(ended, SIGKILL)
            try await eventually("it has ended") { scene.deployment.pids[worker] == nil }
            try await scene.launch { program in
                _ = try await scene.expect(.confirming)
                pids[worker] = scene.deployment.pids[worker]
                #expect(pids[worker] != nil && pids[worker] != ended, "\(program.output)")
                _ = try await scene.deployment.client.migration(.promote)
                try await scene.expectEnd(.done, 2, with: pids)
            }
        }
    }

    // MARK: Generations that are not both complete

    /// Devices that no machine has to have: nobody uses them here.
    private static let workers = "{builtin: worker, replicas: 3, gpus: [0, 1, 2]}"
    private static let places = ["worker-0": ["0"], "worker-1": ["1"], "worker-2": ["2"]]

    private static func gpus(_ status: DeploymentStatus) -> [String: [String]] {
        let workers = status.replicas.filter { $0.role == .worker }
        return Dictionary(workers.map { ($0.name, $0.gpus ?? []) }) { first, _ in first }
    }

    private static func request(_ strategy: MigrationSettings.Strategy, observe: Double) -> MigrationRequest {
        var request = MigrationRequest(requestPlane: "http", strategy: strategy)
        (request.observe, request.rollbackWindow) = (observe, 0)
        return request
    }

    @Test func `rolling goes on with the workers that are left, each on the GPU of the one whose place it takes`()
        async throws
    {
        try await self.scene("resumed-rolling", worker: Self.workers) { scene in
            let (_, pids) = try await scene.killed(in: .observing, Self.request(.rolling, observe: 600))
            let first = "resumed-rolling@2/worker-0"
            #expect(pids.count == 5 && pids[first] != nil, "two workers of the old one, one of the new: \(pids)")
            try await scene.launch { program in
                try await program.waitForOutput("goes on at its step observing (33 %)")
                _ = try await scene.expect(.observing)
                #expect(scene.deployment.pids == pids, "\(program.output)")
                // In the middle of the second wave: its old worker has just gone.
                _ = try await scene.deployment.client.migration(.promote)
                try await eventually("the next worker goes") {
                    scene.deployment.pids["resumed-rolling/worker-1"] == nil
                }
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            try await scene.clients.answers(20)
            let left = scene.deployment.pids
            try await scene.launch { program in
                try await program.waitForOutput("goes on at its step ")
                try await eventually(within: .seconds(60), "it comes to its last part: \(program.output)") {
                    if try scene.deployment.history.unfinished == nil { return true }
                    // Each part is watched for ten minutes otherwise.
                    _ = try? await scene.deployment.client.migration(.promote)
                    return false
                }
                let all = scene.deployment.pids
                try await scene.expectEnd(.done, 2, with: all)
                #expect(all.keys.filter { $0.hasPrefix("resumed-rolling@2/worker-") }.count == 3)
                #expect(all[first] == left[first], "what had changed places already is not touched")
                #expect(Self.gpus(try await scene.deployment.client.status()) == Self.places)
            }
        }
    }

    @Test func `rolling that is taken back later gives the old generation its workers and GPUs back`() async throws {
        try await self.scene("resumed-back", worker: Self.workers) { scene in
            let (_, pids) = try await scene.killed(in: .observing, Self.request(.rolling, observe: 600))
            try await scene.launch { program in
                try await scene.takeBack(program)
                let all = scene.deployment.pids
                #expect(all.count == 4 && all["resumed-back/worker-0"] != nil, "\(all)")
                for worker in ["worker-1", "worker-2"] {
                    #expect(all["resumed-back/\(worker)"] == pids["resumed-back/\(worker)"])
                }
                let status = try await scene.deployment.client.status()
                #expect(status.generation == 1 && Self.gpus(status) == Self.places)
            }
        }
    }

    @Test(arguments: [MigrationStep.starting, .observing])
    func `recreate goes on with the generation that there is`(step: MigrationStep) async throws {
        try await self.scene("resumed-recreate") { scene in
            let worker = "resumed-recreate@2/worker"
            // What comes before the new one is proved waits, and for the next launcher.
            let isEarly = step == .starting
            let request = Self.request(.recreate, observe: 600)
            let (_, pids) = try await scene.killed(in: step, request, serves: !isEarly) {
                guard isEarly else { return }
                try await eventually("its worker is started") { scene.deployment.pids[worker] != nil }
            }
            #expect(pids[worker] != nil && pids["resumed-recreate/worker"] == nil, "\(pids)")
            try await scene.launch { program in
                try await program.waitForOutput("goes on at its step ")
                _ = try await scene.expect(.observing)
                _ = try await scene.deployment.client.migration(.promote)
                let all = scene.deployment.pids
                try await scene.expectEnd(.done, 2, with: all)
                #expect(all[worker] == pids[worker] && all.count == 2, "\(all)")
            }
        }
    }

    @Test func `recreate that is taken back later starts the old generation again`() async throws {
        try await self.scene("resumed-anew", worker: "{builtin: worker, gpus: [0]}") { scene in
            _ = try await scene.killed(in: .observing, Self.request(.recreate, observe: 600))
            try await scene.launch { program in
                try await scene.takeBack(program)
                let all = scene.deployment.pids
                #expect(Set(all.keys) == ["resumed-anew/frontend", "resumed-anew/worker"])
                #expect(try await scene.deployment.client.status().generation == 1)
            }
        }
    }
}
