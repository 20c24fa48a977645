import Deployment
import Supervisor
import Testing

@testable import Rollout

/// Whether, and in which order, one generation follows another.
@Suite struct MigrationPlanTests {
    private func plan(
        _ old: MigrationPlan.Side,
        _ new: MigrationPlan.Side,
        _ settings: MigrationSettings = MigrationSettings(),
        confirms: Bool = false,
        devices: KnownDevices = KnownDevices()
    ) throws(MigrationPlan.Refusal) -> MigrationPlan {
        try MigrationPlan(from: old, to: new, settings: settings, confirms: confirms, devices: devices)
    }

    private func reasons(
        _ old: MigrationPlan.Side,
        _ new: MigrationPlan.Side,
        _ strategy: MigrationSettings.Strategy = .blueGreen,
        minimumWorkers: Int? = nil,
        devices: KnownDevices = KnownDevices()
    ) -> [String] {
        let settings = MigrationSettings(strategy: strategy, minimumWorkers: minimumWorkers)
        do throws(MigrationPlan.Refusal) {
            _ = try self.plan(old, new, settings, devices: devices)
            return []
        } catch {
            return error.reasons
        }
    }

    // MARK: Blue-green

    @Test func `two generations side by side, step by step`() throws {
        let old = Generations.side(1, Generations.workers(2), plane: .nats)
        let new = Generations.side(2, [Generations.worker(leased: 20001)])
        var settings = MigrationSettings(canary: [.init(prompt: "2 + 2", expect: "4")])
        settings.startTimeout = 300
        let plan = try self.plan(old, new, settings, confirms: true)
        #expect(plan.shares == [5, 25, 100])
        #expect(plan.waves == [])
        #expect(plan.outline.from == "1 (nats)")
        #expect(plan.outline.to == "2 (tcp)")
        #expect(plan.outline.gap == nil)
        #expect(
            plan.outline.steps == [
                "start 2 processes of generation 2 beside generation 1, until it is ready through every layer, within 5m",
                "compare what is registered in discovery with the plans of both",
                "ask generation 2 for a token, a long stream and a cancelled one, and the request under 'migration.canary'",
                "wait for 'dynamo-launch migrate promote'",
                "give generation 2 5% of the requests and watch for 10s",
                "give generation 2 25% of the requests and watch for 10s",
                "give generation 2 100% of the requests and watch for 10s",
                "let generation 1 answer what it has, for at most 30s",
                "keep generation 1 for 1m, for a return at once",
                "stop generation 1",
            ]
        )
        #expect(
            plan.outline.needs == [
                "no GPU by the manifest ('gpus')", "1 port that the launcher chooses",
                "memory for both generations at once; how much that is, is not known here",
            ]
        )
    }

    @Test func `what both would need at once is refused, with the places`() {
        let old = Generations.side(
            1,
            [Generations.worker(gpus: [0, 1], port: 8081)],
            frontend: Generations.frontend(port: 9000)
        )
        let new = Generations.side(
            2,
            [Generations.worker(gpus: [1, 2], port: 8081)],
            frontend: Generations.frontend(port: 9000)
        )
        #expect(
            self.reasons(old, new) == [
                "chat.yaml:5:3: frontend of generation 2 needs port 9000 ('http'), which frontend of generation 1 has\n"
                    + "  remedy: write 'auto' for the port 'http' of process 'frontend', or use 'recreate'",
                "chat.yaml:9:3: worker of generation 2 needs GPU 1, which worker of generation 1 has\n"
                    + "  remedy: give it others under 'gpus', or use 'rolling' (worker by worker) or 'recreate'",
                "chat.yaml:9:3: worker of generation 2 needs port 8081 ('system'), which worker of generation 1 has\n"
                    + "  remedy: write 'auto' for the port 'system' of process 'worker', or use 'rolling' or 'recreate'",
            ]
        )
        // Workers change places, frontends do not.
        #expect(self.reasons(old, new, .rolling).count == 1)
        #expect(self.reasons(old, new, .recreate) == [])
    }

    @Test func `a socket that the launcher opens is a port too`() {
        var listening = Generations.worker()
        listening.listens = [ListenPlan(name: "main", address: HTTPAddress(host: "127.0.0.1", port: 7000))]
        let old = Generations.side(1, [listening])
        let new = Generations.side(2, [Generations.worker(port: 7000)])
        #expect(self.reasons(old, new).count == 1)
    }

    @Test(
        arguments: [
            (["0", "1"], 1), (["0", "1", "2"], 0), ([], 1), (nil, 0),
        ] as [([String]?, Int)]
    )
    func `GPUs must exist where that is known`(_ devices: [String]?, _ count: Int) throws {
        let old = Generations.side(1, [Generations.worker(gpus: [0])])
        let new = Generations.side(2, [Generations.worker(gpus: [1, 2])])
        for strategy in MigrationSettings.Strategy.allCases {
            let reasons = self.reasons(old, new, strategy, devices: KnownDevices(indexes: devices))
            #expect(reasons.count == count)
            #expect(reasons.allSatisfy { $0.contains("needs GPU") && $0.contains("remedy: change 'gpus'") })
        }
    }

    @Test func `an index and an identifier of one device are the same device`() {
        let old = Generations.side(1, [Generations.worker(gpus: [1])])
        var worker = Generations.worker()
        worker.gpus = ["GPU-b"]
        let new = Generations.side(2, [worker])
        let devices = KnownDevices(indexes: ["0", "1"], identifiers: ["0": "GPU-a", "1": "GPU-b-7"])
        #expect(
            self.reasons(old, new, devices: devices) == [
                "chat.yaml:9:3: worker of generation 2 needs GPU GPU-b, which worker of generation 1 has\n"
                    + "  remedy: give it others under 'gpus', or use 'rolling' (worker by worker) or 'recreate'"
            ]
        )
        #expect(self.reasons(old, new) == [])
        let one = try? self.plan(old, new, MigrationSettings(strategy: .rolling), devices: devices)
        #expect(one?.waves == [.init(removedFirst: ["worker"], added: ["worker"], share: 100)])
    }

    // MARK: What must be the same, and what apart

    @Test func `nothing can be moved without a gateway that stays`() {
        let side = Generations.side(1, [])
        let without = { (number: Int) in Generations.side(number, []) { $0.gateway = nil } }
        let elsewhere = Generations.side(2, []) { $0.publicAddress.port = 8001 }
        let otherwise = Generations.side(2, []) { $0.gateway?.connections = 7 }
        for strategy in MigrationSettings.Strategy.allCases {
            #expect(
                self.reasons(without(1), Generations.side(2, []), strategy).first?.contains("stop the deployment")
                    == true
            )
            #expect(self.reasons(side, without(2), strategy).first?.contains("add 'gateway: true'") == true)
            #expect(
                self.reasons(side, elsewhere, strategy).first?.contains("write 'http: {host: 0.0.0.0, port: 8000}'")
                    == true
            )
            #expect(
                self.reasons(side, otherwise, strategy).first?.contains("the settings under 'gateway' differ") == true
            )
            #expect(
                self.reasons(side, Generations.side(2, []) { $0.deployment = "other" }, strategy).first?
                    .contains("write 'name: chat'") == true
            )
        }
    }

    @Test(
        arguments: [
            ("chat", "g2-chat", true), ("chat", "chat", false), ("chat", "chat-2", false), ("g2-chat", "g2", false),
            ("g1-chat", "g10-chat", true), ("dynamo", "x", false), ("x", "dynamo", false),
        ]
    )
    func `namespaces are apart`(_ old: String, _ new: String, _ isFine: Bool) {
        let (old, new) = (Generations.side(1, [], namespace: old), Generations.side(2, [], namespace: new))
        #expect(self.reasons(old, new).isEmpty == isFine)
        #expect(self.reasons(old, new, .rolling).isEmpty == isFine)
        #expect(self.reasons(old, new, .recreate) == [])
    }

    // MARK: Recreate

    @Test func `recreate has a gap and one step`() throws {
        let old = Generations.side(1, [Generations.worker(gpus: [0])])
        let new = Generations.side(2, [Generations.worker(gpus: [0])])
        let plan = try self.plan(old, new, MigrationSettings(strategy: .recreate, observe: 0, drainTimeout: 5))
        #expect(plan.shares == [100])
        #expect(
            plan.outline.gap
                == "from the stop of generation 1 to the readiness of generation 2: all of its start, models and all; "
                + "the gateway holds up to 1024 requests for at most 1m each"
        )
        #expect(
            plan.outline.steps.first
                == "hold new requests in the gateway, let generation 1 answer what it has, for at most 5s, and stop it"
        )
        #expect(plan.outline.steps.last == "give generation 2 100% of the requests")
        #expect(plan.outline.needs.first == "GPU 0, of which generation 1 has 0")
    }
}
