import Deployment
import Testing

@testable import Supervisor

/// A change is not done before what it has started has lasted.
@Suite struct RolloutWatchTests {
    private typealias Running = RolloutTests.Running

    private static let extra = ReplicaPlan.shell("extra", "", role: .infrastructure)

    private func running(_ replicas: [ReplicaPlan], gateway: Bool = false) -> Running {
        var running = Running(replicas, gateway: gateway)
        running.machine.steadyTime = .seconds(2)
        return running
    }

    private static func ended(_ actions: [DeploymentMachine.Action]) -> String? {
        for case .rolloutEnded(let reason, _) in actions { return reason ?? "done" }
        return nil
    }

    @Test func `one without a probe that ends after its start is waited for until it lasts`() {
        let old = RolloutTests.frontends(1)
        var running = self.running(old)
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: old + [Self.extra])))
        let started = running.feed(.spawned(replica: 1, run: 1, pid: 5))
        #expect(started.contains(RolloutTests.progress("extra", .ready)) && started.contains(.watch))
        #expect(Self.ended(started) == nil)
        running.feed(.exited(replica: 1, run: 1, .exited(3)))
        running.feed(.cleared(replica: 1, run: 1))
        let away = running.feed(.watched)
        #expect(away.contains(.watch) && Self.ended(away) == nil)
        running.feed(.timerFired(replica: 1, .backoff))
        running.feed(.spawned(replica: 1, run: 2, pid: 6))
        #expect(Self.ended(running.feed(.watched)) == nil, "it is another process than the one that was seen")
        #expect(Self.ended(running.feed(.watched)) == "done")
        #expect(running.feed(.watched) == [], "of a change that is done")
    }

    @Test func `one that is given up after it was ready is taken back, and the deployment goes on`() {
        let old = RolloutTests.frontends(1)
        var (running, extra) = (self.running(old), Self.extra)
        extra.restart = RestartPolicy(condition: .never)
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: old + [extra])))
        running.feed(.spawned(replica: 1, run: 1, pid: 5))
        running.feed(.exited(replica: 1, run: 1, .exited(3)))
        let given = running.feed(.cleared(replica: 1, run: 1))
        #expect(given.contains { if case .progress(let step) = $0 { step.phase == .reverting } else { false } })
        #expect(Self.ended(given)?.hasPrefix("extra: ") == true && Self.ended(given)?.hasSuffix("as before") == true)
        #expect(!running.machine.isStopping && running.machine.activePlan.replicas == old)
    }

    @Test func `one that was renewed and falls over while a frontend answers what it has is taken back after that`() {
        var extra = Self.extra
        extra.restart = RestartPolicy(condition: .never)
        let old = RolloutTests.frontends(1) + [extra]
        var running = self.running(old, gateway: true)
        let new = old.map(RolloutTests.changed)
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: new)))
        running.ends(1, run: 1)
        #expect(running.feed(.spawned(replica: 1, run: 2, pid: 5)).contains(.release("frontend-0")))
        running.feed(.exited(replica: 1, run: 2, .exited(3)))
        running.feed(.cleared(replica: 1, run: 2))
        #expect(running.machine.rollout?.fault != nil && !running.machine.isStopping)
        let released = running.feed(.released("frontend-0"))
        #expect(released.contains { if case .progress(let step) = $0 { step.phase == .reverting } else { false } })
        #expect(RolloutTests.spawns(released) == [1], "first the one at fault")
        running.ends(0, run: 1)
        running.feed(.spawned(replica: 0, run: 2, pid: 6))
        #expect(running.feed(.spawned(replica: 1, run: 3, pid: 7)).contains(.release("frontend-0")))
        running.feed(.released("frontend-0"))
        running.ends(0, run: 2)
        let back = running.feed(.spawned(replica: 0, run: 3, pid: 8))
        #expect(Self.ended(back)?.hasPrefix("extra: ") == true, "\(back)")
        #expect(running.machine.activePlan.replicas == old)
    }

    @Test func `what is being removed meanwhile is gone before it is started again`() {
        var extra = Self.extra
        extra.restart = RestartPolicy(condition: .never)
        let old = [extra, ReplicaPlan.shell("other", "")]
        var running = self.running(old)
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: [RolloutTests.changed(extra)])))
        running.ends(0, run: 1)
        #expect(RolloutTests.signals(running.feed(.spawned(replica: 0, run: 2, pid: 5))) == [1])
        let failed =
            running.feed(.exited(replica: 0, run: 2, .exited(3))) + running.feed(.cleared(replica: 0, run: 2))
        #expect(RolloutTests.spawns(failed) == [] && running.machine.rollout?.fault != nil)
        let gone = running.ends(1, run: 1)
        #expect(gone.contains(RolloutTests.progress("other", .removed)))
        #expect(RolloutTests.spawns(gone) == [0], "first the one at fault")
        #expect(RolloutTests.spawns(running.feed(.spawned(replica: 0, run: 3, pid: 6))) == [1])
        let back = running.feed(.spawned(replica: 1, run: 2, pid: 7))
        #expect(Self.ended(back)?.hasPrefix("extra: ") == true, "\(back)")
        #expect(running.machine.activePlan.replicas == old && running.machine.phase == .ready)
    }

    @Test func `what the one at fault needs comes back before it, and what is new goes first`() {
        let cache = ReplicaPlan.shell("cache", "", role: .infrastructure)
        var worker = ReplicaPlan.shell("worker", "", dependencies: [Dependency(process: "cache", layer: .alive)])
        worker.restart = RestartPolicy(condition: .never)
        let old = [cache, worker]
        var running = self.running(old)
        running.feed(.spawned(replica: 1, run: 1, pid: 11))
        var without = RolloutTests.changed(worker)
        without.dependencies = []
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: [without, Self.extra])))
        running.ends(1, run: 1)
        // The worker serves without the cache, which goes; then comes what is new, and the worker falls.
        #expect(RolloutTests.signals(running.feed(.spawned(replica: 1, run: 2, pid: 5))) == [0])
        #expect(RolloutTests.spawns(running.ends(0, run: 1)) == [2])
        running.feed(.spawned(replica: 2, run: 1, pid: 6))
        running.feed(.exited(replica: 1, run: 2, .exited(3)))
        let begun = running.feed(.cleared(replica: 1, run: 2))
        #expect(RolloutTests.signals(begun) == [2] && RolloutTests.spawns(begun) == [], "\(begun)")
        #expect(RolloutTests.spawns(running.ends(2, run: 1)) == [0])
        #expect(RolloutTests.spawns(running.feed(.spawned(replica: 0, run: 2, pid: 7))) == [1])
        let back = running.feed(.spawned(replica: 1, run: 3, pid: 8))
        #expect(Self.ended(back)?.hasPrefix("worker: ") == true, "\(back)")
        #expect(running.machine.activePlan.replicas == old && running.machine.phase == .ready)
    }

    @Test func `one that is another process at each look is taken back after a minute`() {
        let old = RolloutTests.frontends(1)
        var (running, extra) = (self.running(old), Self.extra)
        // Each of its processes counts as one that has lasted.
        extra.restart.stableAfter = 0
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: old + [extra])))
        running.feed(.spawned(replica: 1, run: 1, pid: 5))
        for run in 1...30 {
            running.feed(.exited(replica: 1, run: run, .exited(3)))
            running.feed(.cleared(replica: 1, run: run))
            #expect(running.feed(.watched).contains(.watch), "it is being started again, which has its own limits")
            running.feed(.timerFired(replica: 1, .backoff))
            running.feed(.spawned(replica: 1, run: run + 1, pid: 5))
            let looked = running.feed(.watched)
            let reason = "extra: not ready for long enough"
            #expect(looked.contains(.progress(RolloutProgress(.reverting, reason: reason))) == (run == 30))
        }
        #expect(Self.ended(running.ends(1, run: 31))?.hasPrefix("extra: ") == true)
        #expect(running.machine.activePlan.replicas == old)
    }

    @Test func `the one at fault is put back before those that wait for it`() {
        var cache = ReplicaPlan.shell("cache", "", role: .infrastructure)
        cache.restart = RestartPolicy(condition: .never)
        let old = [
            cache, ReplicaPlan.shell("worker", "", dependencies: [Dependency(process: "cache", layer: .alive)]),
        ]
        var running = self.running(old)
        running.feed(.spawned(replica: 1, run: 1, pid: 11))
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: old.map(RolloutTests.changed))))
        running.ends(0, run: 1)
        #expect(RolloutTests.signals(running.feed(.spawned(replica: 0, run: 2, pid: 5))) == [1])
        #expect(RolloutTests.spawns(running.ends(1, run: 1)) == [1])
        running.feed(.exited(replica: 0, run: 2, .exited(3)))
        let given = running.feed(.cleared(replica: 0, run: 2))
        #expect(RolloutTests.spawns(given) == [0] && RolloutTests.signals(given) == [], "\(given)")
        running.feed(.spawned(replica: 1, run: 2, pid: 6))
        #expect(RolloutTests.signals(running.feed(.spawned(replica: 0, run: 3, pid: 7))) == [1])
        running.ends(1, run: 2)
        let back = running.feed(.spawned(replica: 1, run: 3, pid: 8))
        #expect(Self.ended(back)?.hasPrefix("cache: ") == true, "\(back)")
        #expect(running.machine.activePlan.replicas == old && !running.machine.isStopping)
    }

    @Test func `who waited for what is taken back is started`() {
        let old = [ReplicaPlan.shell("worker", "")]
        var (running, worker) = (self.running(old), old[0])
        worker.dependencies = [Dependency(process: "extra", layer: .alive)]
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: [worker, Self.extra])))
        running.feed(.spawned(replica: 1, run: 1, pid: 5))
        running.feed(.exited(replica: 1, run: 1, .exited(3)))
        running.feed(.cleared(replica: 1, run: 1))
        running.feed(.exited(replica: 0, run: 1, .exited(3)))
        running.feed(.cleared(replica: 0, run: 1))
        running.feed(.timerFired(replica: 0, .backoff))
        #expect(running.machine.replicas[0].state == .waiting)
        let back = running.machine.giveUpWaiting(1, "exit code 3", at: running.now)
        #expect(RolloutTests.spawns(back) == [0], "\(back)")
    }

    @Test func `what only waits for others from now on keeps its process`() {
        let old = RolloutTests.frontends(2, role: .worker)
        var running = self.running(old)
        var new = old
        for index in new.indices { new[index].dependencies = [Dependency(process: "extra", layer: .alive)] }
        var plan = running.machine.activePlan
        plan.replicas = new + [Self.extra]
        let change = PlanChange(from: running.machine.activePlan, to: plan)
        #expect(change.reordered == ["frontend-0", "frontend-1"] && change.changed == [] && !change.isEmpty)
        let begun = running.feed(.rolloutRequested(Rollout(from: running.machine.activePlan, to: plan)))
        #expect(RolloutTests.signals(begun) == [] && RolloutTests.spawns(begun) == [2])
        running.feed(.spawned(replica: 2, run: 1, pid: 5))
        #expect(Self.ended(running.feed(.watched)) == "done")
        #expect(running.machine.activePlan.replicas == plan.replicas)
        #expect(running.machine.replicas.map(\.runs) == [1, 1, 1])
        // It counts at the next start, and the order of stopping is the new one.
        #expect(RolloutTests.signals(running.feed(.stopRequested(now: false))) == [0, 1])
    }
}
