import Deployment
import Supervisor
import Testing

@testable import Rollout

/// In which order workers change places.
@Suite struct RollingWavesTests {
    typealias Wave = MigrationPlan.Wave

    private func plan(_ old: [ReplicaPlan], _ new: [ReplicaPlan], minimumWorkers: Int? = nil) throws -> MigrationPlan {
        try MigrationPlan(
            from: Generations.side(1, old),
            to: Generations.side(2, new),
            settings: MigrationSettings(strategy: .rolling, minimumWorkers: minimumWorkers)
        )
    }

    private func refusal(_ old: [ReplicaPlan], _ new: [ReplicaPlan], minimumWorkers: Int?) -> String? {
        do {
            _ = try self.plan(old, new, minimumWorkers: minimumWorkers)
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test func `on the same GPUs one goes before one comes`() throws {
        let workers = Generations.workers(4) { [$0] }
        let plan = try self.plan(workers, workers)
        #expect(
            plan.waves
                == (0..<4).map {
                    Wave(removedFirst: ["worker-\($0)"], added: ["worker-\($0)"], share: ($0 + 1) * 25)
                }
        )
        #expect(plan.shares == [25, 50, 75, 100])
        #expect(plan.floor == 3)
        #expect(plan.outline.gap == nil)
        #expect(plan.outline.steps[0] == "stop worker-0 of generation 1, whose place is needed")
        #expect(
            plan.outline.steps[1] == "start frontend, worker-0 of generation 2, until it is ready through every layer"
        )
        #expect(plan.outline.steps.contains("give generation 2 25% of the requests and watch for 10s"))
        #expect(
            plan.outline.steps.contains(
                "stop worker-3 of generation 1, then start worker-3 of generation 2, then give generation 2 100% of the requests and watch for 10s"
            )
        )
        #expect(plan.outline.notes.contains("4 waves; at least 3 of the workers of both generations stay ready"))
    }

    @Test func `a lower floor moves more at a time`() throws {
        let workers = Generations.workers(4) { [$0] }
        let plan = try self.plan(workers, workers, minimumWorkers: 2)
        #expect(plan.waves.map(\.added) == [["worker-0", "worker-1"], ["worker-2", "worker-3"]])
        #expect(plan.waves.map(\.removedFirst) == plan.waves.map(\.added))
        // No gap that can be done without.
        let quick = try self.plan(workers, workers, minimumWorkers: 0)
        #expect(quick.waves.map(\.added) == [["worker-0", "worker-1", "worker-2"], ["worker-3"]])
        #expect(quick.outline.gap == nil)
    }

    @Test func `where there is room one comes before one goes`() throws {
        let plan = try self.plan(Generations.workers(2) { [$0] }, Generations.workers(2) { [$0 + 2] })
        #expect(
            plan.waves == [
                Wave(added: ["worker-0"], removedAfter: ["worker-1"], share: 50),
                Wave(added: ["worker-1"], removedAfter: ["worker-0"], share: 100),
            ]
        )
        #expect(plan.outline.gap == nil)
        // All of them can be asked to stay.
        let all = try self.plan(Generations.workers(2) { [$0] }, Generations.workers(2), minimumWorkers: 2)
        #expect(all.floor == 2)
        #expect(all.waves.allSatisfy { $0.removedFirst.isEmpty })
    }

    @Test func `one worker on one GPU has a gap, unless one must stay`() throws {
        let worker = [Generations.worker(gpus: [0], port: 8081)]
        for minimum in [nil, 0] {
            let plan = try self.plan(worker, worker, minimumWorkers: minimum)
            #expect(plan.waves == [Wave(removedFirst: ["worker"], added: ["worker"], share: 100)])
            #expect(plan.floor == 0)
            #expect(
                plan.outline.gap
                    == "from the stop of worker to the readiness of worker there is no worker; "
                    + "the gateway holds up to 1024 requests for at most 1m each"
            )
        }
        #expect(
            self.refusal(worker, worker, minimumWorkers: 1)
                == "chat.yaml:9:3: generation 2 needs GPUs or ports of more workers at once than 'migration.minimumWorkers: 1' lets go: "
                + "at most 0 can stay ready\n  remedy: write 'minimumWorkers: 0', or give its workers GPUs and ports that are free"
        )
        #expect(
            self.refusal(worker, worker, minimumWorkers: 2)
                == "chat.yaml:9:3: 'migration.minimumWorkers' is 2, and generation 1 has 1 workers, generation 2 1\n"
                + "  remedy: write 1 or less"
        )
        // A port alone is in the way too.
        let ported = try self.plan([Generations.worker(port: 8081)], [Generations.worker(port: 8081)])
        #expect(ported.waves == [Wave(removedFirst: ["worker"], added: ["worker"], share: 100)])
    }

    @Test func `the first wave has one of each process, and each process of the old generation keeps one`() throws {
        let workers =
            Generations.workers(2, process: "prefill") { [$0] } + Generations.workers(2, process: "decode") { [$0 + 2] }
        let plan = try self.plan(workers, workers)
        #expect(
            plan.waves == [
                Wave(removedFirst: ["prefill-0", "decode-0"], added: ["prefill-0", "decode-0"], share: 50),
                Wave(removedFirst: ["prefill-1", "decode-1"], added: ["prefill-1", "decode-1"], share: 100),
            ]
        )
        #expect(plan.floor == 2)
        #expect(plan.outline.gap == nil)
        let single = [Generations.worker("prefill", gpus: [0]), Generations.worker("decode", gpus: [1])]
        let gap = try self.plan(single, single)
        #expect(gap.waves == [Wave(removedFirst: ["prefill", "decode"], added: ["prefill", "decode"], share: 100)])
        #expect(gap.outline.gap?.contains("there is no worker") == true)
        // One of the two has a GPU of its own; the other process is missing meanwhile.
        let half = try self.plan(
            single,
            [Generations.worker("prefill", gpus: [2]), Generations.worker("decode", gpus: [1])]
        )
        #expect(half.waves.first?.removedFirst == ["decode"])
        #expect(half.outline.gap?.contains("there is none of decode;") == true)
    }

    @Test func `a larger worker takes the place of several`() throws {
        let plan = try self.plan(Generations.workers(4) { [$0] }, Generations.workers(2) { [2 * $0, 2 * $0 + 1] })
        #expect(
            plan.waves == [
                Wave(removedFirst: ["worker-0", "worker-1"], added: ["worker-0"], share: 33),
                Wave(removedFirst: ["worker-2", "worker-3"], added: ["worker-1"], share: 100),
            ]
        )
        #expect(plan.floor == 1)
    }

    @Test func `workers that come or go alone are moved too`() throws {
        #expect(
            try self.plan([], Generations.workers(2)).waves == [
                Wave(added: ["worker-0"], share: 100), Wave(added: ["worker-1"], share: 100),
            ]
        )
        #expect(
            try self.plan(Generations.workers(2), []).waves == [
                Wave(added: [], removedAfter: ["worker-0", "worker-1"], share: 100)
            ]
        )
        #expect(try self.plan([], []).waves == [Wave(added: [], share: 100)])
    }

    @Test func `two hundred workers are ordered in no time`() throws {
        let workers = Generations.workers(200) { [$0] }
        var plan: MigrationPlan?
        let time = try ContinuousClock().measure { plan = try self.plan(workers, workers) }
        #expect(plan?.waves.count == 200)
        #expect(time < .seconds(10))
    }

    // MARK: Whatever the plans

    /// Repeats itself.
    private struct Dice: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            self.state &+= 0x9E37_79B9_7F4A_7C15
            var value = self.state
            value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
            return value ^ (value >> 31)
        }
    }

    private func workers(_ dice: inout Dice) -> [ReplicaPlan] {
        var gpus = Array(0..<Int.random(in: 1...12, using: &dice)).shuffled(using: &dice)
        var ports = Array(8081...8090).shuffled(using: &dice)
        var workers: [ReplicaPlan] = []
        for process in ["worker", "prefill", "decode"].prefix(Int.random(in: 1...3, using: &dice)) {
            for index in 0..<Int.random(in: 1...4, using: &dice) {
                let count = min(gpus.count, Int.random(in: 0...3, using: &dice))
                let port = Bool.random(using: &dice) ? ports.popLast() : nil
                workers.append(Generations.worker(process, index, gpus: Array(gpus.prefix(count)), port: port))
                gpus.removeFirst(count)
            }
        }
        return workers
    }

    @Test(arguments: 0..<40)
    func `no order breaks the floor, uses a GPU twice or forgets a worker`(_ seed: UInt64) throws {
        var dice = Dice(state: seed)
        var planned = 0
        for _ in 0..<50 {
            let (old, new) = (self.workers(&dice), self.workers(&dice))
            let stated = Bool.random(using: &dice) ? Int.random(in: 0...min(old.count, new.count), using: &dice) : nil
            let plan: MigrationPlan
            do {
                plan = try self.plan(old, new, minimumWorkers: stated)
            } catch {
                // Only a stated floor is refused, and what is proposed instead is possible.
                let reason = "\(error)"
                let match = try #require(reason.firstMatch(of: /write 'minimumWorkers: (\d+)'/), "\(reason)")
                let best = try #require(Int(match.1))
                #expect(best < stated ?? 0)
                plan = try self.plan(old, new, minimumWorkers: best)
            }
            planned += 1
            try self.check(plan, old, new)
            if let stated, plan.floor != stated { #expect(plan.floor < stated) }
        }
        #expect(planned == 50)
    }

    private func check(_ plan: MigrationPlan, _ old: [ReplicaPlan], _ new: [ReplicaPlan]) throws {
        let before = Dictionary(uniqueKeysWithValues: old.map { ($0.name, $0) })
        let after = Dictionary(uniqueKeysWithValues: new.map { ($0.name, $0) })
        var running = Set(before.keys)
        var added: Set<String> = []
        var share = 0
        func remove(_ names: [String]) {
            for name in names { #expect(running.remove(name) != nil, "\(name) is removed twice") }
            #expect(running.count + added.count >= plan.floor)
        }
        for (index, wave) in plan.waves.enumerated() {
            remove(wave.removedFirst)
            for name in wave.added {
                let worker = try #require(after[name])
                #expect(added.insert(name).inserted, "\(name) is added twice")
                for other in running {
                    let other = try #require(before[other])
                    #expect(Set(other.gpus).isDisjoint(with: worker.gpus))
                    #expect(Set(other.ports.map(\.port)).isDisjoint(with: worker.ports.map(\.port)))
                }
            }
            if index == 0 {
                #expect(Set(wave.added.compactMap { after[$0]?.process }) == Set(new.map(\.process)))
            }
            remove(wave.removedAfter)
            #expect(wave.share >= share && (1...100).contains(wave.share))
            share = wave.share
            // What the old generation has left can answer as long as it is asked.
            let left = Set(running.compactMap { before[$0]?.process })
            #expect(share == 100 || left == Set(old.map(\.process)))
        }
        #expect(running.isEmpty)
        #expect(added == Set(after.keys))
        #expect(plan.shares == plan.waves.map(\.share))
        #expect(share == 100)
    }
}
