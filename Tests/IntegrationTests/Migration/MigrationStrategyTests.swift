import Deployment
import Foundation
import Supervisor
import TestSupport
import Testing

/// Migrations that do not have two complete generations beside each other, and one whose workers are chosen by what they hold.
@Suite(.serialized) struct MigrationStrategyTests {
    private static let clients = 32
    /// Debug builds on two cores, which others use too, and what was held comes at once: their times are not what this is about.
    private static let patience = [
        "--set", "migration.thresholds.firstToken=100", "--set", "migration.thresholds.betweenTokens=100",
    ]

    /// What was seen of a migration while it was under way.
    private struct Seen: Sendable {
        var steps: Set<MigrationStep> = []
        /// Workers of both generations that were ready, at the least.
        var fewestWorkers = Int.max
        /// Requests that waited for a frontend, at the most.
        var mostHeld = 0
        var looks = 0

        mutating func look(at status: MigrationStatus) {
            self.looks += 1
            self.steps.insert(status.step)
            // Beside its workers each generation has one frontend; that of the new one may come after a worker.
            let workers = max(0, status.from.ready - 1) + max(0, status.to.ready - 1)
            self.fewestWorkers = min(self.fewestWorkers, workers)
        }
    }

    @Test func `rolling keeps two of three workers, recreate holds requests in the gap, and both lose none`()
        async throws
    {
        let arguments = [
            "--set", "processes.worker.replicas=3", "--set", "processes.worker.gpus=[0, 1, 2]",
            "--set", #"processes.worker.args=[--engine, echo, --model-name, "{{model}}", --rate, 500]"#,
        ]
        let (_, exit) = try await Launcher.up(arguments) { deployment in
            try await deployment.waitUntilReady()
            var (rolling, recreate) = (Seen(), Seen())
            let totals = try await SteadyClients.run(
                deployment.url,
                model: "echo",
                count: Self.clients,
                rate: 2,
                library: 4,
                streamLength: 64
            ) { clients in
                rolling = try await self.migrate(
                    deployment,
                    "--to",
                    "http",
                    "--strategy",
                    "rolling",
                    "--observe",
                    "1",
                    arguments: Self.patience
                )
                clients.beginPhase()
                recreate = try await self.migrate(
                    deployment,
                    "--to",
                    "nats",
                    "--strategy",
                    "recreate",
                    "--observe",
                    "2",
                    arguments: Self.patience
                )
                clients.beginPhase()
                try await clients.waitForHundreds(1)
            }
            #expect(totals.failures == [])
            #expect(totals.connections == 28, "each client that is not the library keeps its connection")
            #expect(totals.phases.count == 3 && totals.phases.allSatisfy { $0.requests > 50 }, "\(totals)")

            // Each new worker needs the GPU of an old one, which goes before it comes: two of three are what can be kept.
            #expect(rolling.looks > 10 && rolling.fewestWorkers == 2, "\(rolling)")
            #expect(rolling.mostHeld == 0, "\(rolling)")
            #expect(recreate.looks > 5 && recreate.mostHeld > 0, "\(recreate)")
            let gap =
                "the gap of recreate: the longest request took \(totals.phases[1].longest) s, \(recreate.mostHeld) were held"
            #expect(totals.phases[1].longest < 15, "\(gap)")
            print(gap)

            let json = try await deployment.command("status", "--json").output
            let status = try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.utf8))
            #expect(status.generation == 3 && status.planes.request.rawValue == "nats")
            let gateway = try #require(status.gateway)
            #expect(gateway.refused == 0 && gateway.backends.map(\.errors) == [0, 0, 0], "\(gateway)")
            // And the request that has proved the public port.
            #expect(gateway.backends.reduce(0) { $0 + $1.requests } == totals.requests + 1, "\(gateway)")
        }
        #expect(exit == .code(0))
    }

    @Test
    func `two generations with a number of GPUs each have different ones, and one that finds none says what to do`()
        async throws
    {
        try await withTemporaryDirectory { directory in
            let tool = directory.appending(path: "nvidia-smi")
            let script = "#!/bin/sh\ncase $1 in *index*) echo '0, GPU-a'; echo '1, GPU-b';; esac\n"
            try script.write(to: tool, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: tool.path())
            let path = "\(directory.path()):\(ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")"
            let (_, exit) = try await Launcher.up(
                ["--set", "processes.worker.gpus=1"],
                environment: ["PATH": path, "CUDA_VISIBLE_DEVICES": nil]
            ) { deployment in
                try await deployment.waitUntilReady()
                func gpus() async throws -> [[String]] {
                    let json = try await deployment.command("status", "--json").output
                    let status = try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.utf8))
                    return status.replicas.compactMap(\.gpus).filter { !$0.isEmpty }
                }
                #expect(try await gpus() == [["0"]])
                let plan = try await deployment.command("migrate", "--to", "http", "--dry-run")
                #expect(plan.output.contains("GPU 1, which generation 1 does not use"), "\(plan.output)")
                let migrated = try await deployment.command("migrate", "--to", "http", "--observe", "0.2")
                #expect(migrated.exit == .code(0), "\(migrated.output)")
                #expect(try await gpus() == [["1"]])
                // The others have what they have.
                let rolling = try await deployment.command(
                    "migrate",
                    "--to",
                    "nats",
                    "--strategy",
                    "rolling",
                    "--dry-run"
                )
                #expect(rolling.output.contains("GPU 1, of which generation 2 has 1"), "\(rolling.output)")
                let two = try await deployment.command(
                    "migrate",
                    "--to",
                    "tcp",
                    "--set",
                    "processes.worker.replicas=2"
                )
                #expect(two.exit == .code(1), "\(two.output)")
                let refusal = "worker-1 of generation 3 needs GPU 1, which worker of generation 2 has"
                #expect(two.output.contains(refusal) && two.output.contains("'rolling'"), "\(two.output)")
            }
            #expect(exit == .code(0))
        }
    }

    /// Migrates, and looks at it all the while.
    private func migrate(
        _ deployment: LaunchedDeployment,
        _ words: String...,
        arguments: [String]
    ) async throws -> Seen {
        try await withThrowingTaskGroup(of: Seen?.self) { group in
            group.addTask {
                let (output, exit) = try await Launcher.run(
                    ["migrate"] + words + arguments,
                    environment: deployment.environment,
                    within: .seconds(90)
                )
                #expect(exit == .code(0), "\(output)")
                return nil
            }
            group.addTask {
                var seen = Seen()
                do {
                    while !Task.isCancelled {
                        // Nothing is there before it has begun.
                        if let status = try await deployment.migration() { seen.look(at: status) }
                        if let gateway = try await deployment.gateway() {
                            seen.mostHeld = max(seen.mostHeld, gateway.held)
                        }
                        try await Task.sleep(for: .milliseconds(50))
                    }
                } catch {
                    // The end of the migration may meet a request.
                    if !Task.isCancelled { throw error }
                }
                return seen
            }
            _ = try await group.next()
            group.cancelAll()
            return try #require(try await group.next() ?? nil)
        }
    }

    // MARK: KV routing

    @Test(arguments: ["embedded", "mocker"])
    func `a prompt goes to the worker that holds it, also after a migration`(_ kind: String) async throws {
        let manifest = TestEnvironment.root.appending(path: "launch/\(kind)/agg_router.yaml").path()
        let environment = kind == "mocker" ? try RealDynamoTests.environment(.v121) : [:]
        let (_, exit) = try await Launcher.up([manifest, "--tcp"], environment: environment) { deployment in
            try await deployment.waitUntilReady()
            let before = try await self.holders(deployment)
            let (output, migrated) = try await Launcher.run(
                ["migrate", "--to", "nats", "--observe", "0", "--rollback-window", "60"],
                environment: deployment.environment,
                within: .seconds(60)
            )
            #expect(migrated == .code(0), "\(output)")
            let after = try await self.holders(deployment)
            #expect(before.isDisjoint(with: after), "the workers are others")
            // Both generations run now, and are stopped together.
        }
        #expect(exit == .code(0))
    }

    /// Checks that prompts go where they are held.
    ///
    /// - Returns: the workers that were met.
    private func holders(_ deployment: LaunchedDeployment) async throws -> Set<UInt64> {
        let model = try await Chat.firstModel(deployment.url)
        var workers: Set<UInt64> = []
        // A router that has just started has not asked every worker for its blocks yet.
        try await eventually("the router knows who holds a prompt") {
            let answer = try await KVAnswer.ask(deployment.url, model, "alpha")
            workers.insert(answer.worker)
            return answer.hitRate > 0.9
        }
        for number in 0..<4 {
            try await RouterManifestTests.expectSteering([deployment.url, deployment.url], model, "word\(number)")
        }
        return workers
    }
}

extension LaunchedDeployment {
    /// The migration that is under way, or the last one; asked without a process of its own.
    fileprivate func migration() async throws -> MigrationStatus? {
        let answer = try await HTTPRequests.get(self.controlURL("/v1/migration"), limit: 5)
        return answer.status == 404 ? nil : try JSONDecoder().decode(MigrationStatus.self, from: answer.body)
    }

    /// Nil for the moment in which no generation is there.
    fileprivate func gateway() async throws -> GatewayReport? {
        let answer = try await HTTPRequests.get(self.controlURL("/v1/status"), limit: 5)
        return answer.status == 503 ? nil : try JSONDecoder().decode(DeploymentStatus.self, from: answer.body).gateway
    }

    private func controlURL(_ path: String) throws -> String {
        let socket = self.directory.appending(path: "dynamo-launch/embedded/control.sock").path()
        let host = try #require(socket.addingPercentEncoding(withAllowedCharacters: .alphanumerics))
        return "http+unix://\(host)\(path)"
    }
}
