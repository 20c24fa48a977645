import Deployment
import Testing

@testable import Supervisor

/// From one plan to another, and back.
extension RolloutTests {
    @Test func `what changed is replaced, what went is stopped, what came is started, and the rest is left alone`() {
        let (old, worker) = (Self.frontends(3), ReplicaPlan.shell("worker", ""))
        var running = Running(old, gateway: false)
        let begun = running.feed(.rolloutRequested(Self.rollout(running, to: [old[0], Self.changed(old[1]), worker])))
        #expect(Self.spawns(begun) == [3], "a worker comes before frontends, which wait for its model")
        // Both would want the public port: the one that goes makes room.
        #expect(Self.signals(running.feed(.spawned(replica: 3, run: 1, pid: 6))) == [2])
        let gone = running.ends(2, run: 1)
        #expect(gone.contains(Self.progress("frontend-2", .removed)))
        #expect(Self.signals(gone) == [1])
        #expect(running.machine.replicas[1].plan == old[1], "the plan of what is being ended is the old one")
        #expect(Self.spawns(running.ends(1, run: 1)) == [1])
        #expect(running.machine.plan.replicas[1] == Self.changed(old[1]))
        #expect(running.feed(.spawned(replica: 1, run: 2, pid: 5)).contains(.rolloutEnded(nil)))
        #expect(running.machine.activePlan.replicas == [old[0], Self.changed(old[1]), worker])
        #expect(running.machine.replicas.map(\.runs) == [1, 2, 1, 1])
        #expect(running.machine.phase == .ready)
        // Stopping goes through all that is there.
        #expect(Self.signals(running.feed(.stopRequested(now: false))) == [0, 1, 3])
    }

    @Test func `what was removed and comes back is started again in its place`() {
        let old = Self.frontends(2)
        var running = Running(old, gateway: false)
        running.feed(.rolloutRequested(Self.rollout(running, to: [old[0]])))
        #expect(running.ends(1, run: 1).contains(.rolloutEnded(nil)))
        #expect(running.machine.activePlan.replicas == [old[0]])
        #expect(Self.spawns(running.feed(.rolloutRequested(Self.rollout(running, to: old)))) == [1])
        #expect(running.feed(.spawned(replica: 1, run: 2, pid: 5)).contains(.rolloutEnded(nil)))
        #expect(running.machine.replicas.count == 2)
    }

    @Test func `one that cannot become ready takes back all that was done before it`() throws {
        let old = Self.frontends(3, never: true, role: .worker)
        var running = Running(old, gateway: false)
        let new = [Self.changed(old[0]), Self.changed(old[1])]
        running.feed(.rolloutRequested(Self.rollout(running, to: new)))
        running.ends(0, run: 1)
        running.feed(.spawned(replica: 0, run: 2, pid: 5))
        running.ends(1, run: 1)
        running.feed(.spawned(replica: 1, run: 2, pid: 6))
        running.ends(2, run: 1)
        #expect(running.machine.activePlan.replicas == new)
        // And when the last step fails.
        var failing = Running(old, gateway: false)
        failing.feed(.rolloutRequested(Self.rollout(failing, to: new)))
        failing.ends(0, run: 1)
        failing.feed(.spawned(replica: 0, run: 2, pid: 5))
        failing.ends(1, run: 1)
        failing.feed(.exited(replica: 1, run: 2, .exited(3)))
        let reverting = failing.feed(.cleared(replica: 1, run: 2))
        #expect(reverting.contains { if case .progress(let step) = $0 { step.phase == .reverting } else { false } })
        #expect(Self.spawns(reverting) == [1], "the one at fault runs by its old plan, at once")
        #expect(failing.machine.plan.replicas[1] == old[1])
        #expect(Self.signals(failing.feed(.spawned(replica: 1, run: 3, pid: 7))) == [0])
        failing.ends(0, run: 2)
        let last = failing.feed(.spawned(replica: 0, run: 3, pid: 8))
        let reason = "frontend-1: exit code 3; everything runs as before"
        #expect(last.contains(.rolloutEnded(reason)), "\(last)")
        #expect(failing.machine.activePlan.replicas == old)
        #expect(failing.machine.phase == .ready)
    }

    @Test func `what was removed comes back when what was added fails`() {
        let old = Self.frontends(2, role: .worker)
        var running = Running(old, gateway: false)
        var worker = ReplicaPlan.shell("worker", "")
        worker.restart = RestartPolicy(condition: .never)
        running.feed(.rolloutRequested(Self.rollout(running, to: [old[0], worker])))
        #expect(Self.spawns(running.ends(1, run: 1)) == [2])
        running.feed(.exited(replica: 2, run: 1, .exited(1)))
        #expect(Self.spawns(running.feed(.cleared(replica: 2, run: 1))) == [1])
        let last = running.feed(.spawned(replica: 1, run: 2, pid: 9))
        #expect(last.contains(.rolloutEnded("worker: exit code 1; everything runs as before")), "\(last)")
        #expect(running.machine.activePlan.replicas == old)
        #expect(running.machine.phase == .ready)
    }

    @Test func `what a person had stopped is stopped again when a change is taken back`() {
        let old = Self.frontends(2, never: true, role: .worker)
        var running = Running(old, gateway: false)
        running.feed(.rolloutRequested(Rollout(.stop, ["frontend-0"])))
        running.ends(0, run: 1)
        let changed = running.feed(
            .rolloutRequested(Self.rollout(running, to: [Self.changed(old[0]), Self.changed(old[1])]))
        )
        #expect(Self.spawns(changed) == [0], "an apply that changes it starts it")
        running.feed(.spawned(replica: 0, run: 2, pid: 5))
        running.ends(1, run: 1)
        running.feed(.exited(replica: 1, run: 2, .exited(3)))
        #expect(Self.spawns(running.feed(.cleared(replica: 1, run: 2))) == [1])
        #expect(Self.signals(running.feed(.spawned(replica: 1, run: 3, pid: 7))) == [0])
        let last = running.ends(0, run: 2)
        #expect(Self.spawns(last) == [])
        #expect(last.contains(.rolloutEnded("frontend-1: exit code 3; everything runs as before")), "\(last)")
        #expect(running.machine.activePlan.replicas == old && running.machine.plan.replicas[0] == old[0])
        #expect(running.machine.replicas[0].isHalted && running.machine.phase == .degraded)
        // And one that was removed.
        var worker = ReplicaPlan.shell("worker", "")
        worker.restart = RestartPolicy(condition: .never)
        running.feed(.rolloutRequested(Self.rollout(running, to: [old[1], worker])))
        running.feed(.exited(replica: 2, run: 1, .exited(1)))
        let back = running.feed(.cleared(replica: 2, run: 1))
        #expect(Self.spawns(back) == [])
        #expect(back.contains(.rolloutEnded("worker: exit code 1; everything runs as before")), "\(back)")
        #expect(running.machine.replicas[0].isHalted && running.machine.activePlan.replicas == old)
        #expect(Self.spawns(running.feed(.rolloutRequested(Rollout(.start, ["frontend-0"])))) == [0])
    }

    @Test func `what a person had stopped can be started after its own change failed`() {
        let old = Self.frontends(2, never: true, role: .worker)
        var running = Running(old, gateway: false)
        running.feed(.rolloutRequested(Rollout(.stop, ["frontend-0"])))
        running.ends(0, run: 1)
        running.feed(.rolloutRequested(Self.rollout(running, to: [Self.changed(old[0]), old[1]])))
        running.feed(.exited(replica: 0, run: 2, .exited(3)))
        let back = running.feed(.cleared(replica: 0, run: 2))
        #expect(back.contains(.rolloutEnded("frontend-0: exit code 3; everything runs as before")), "\(back)")
        #expect(running.machine.replicas[0].shownState == .stopped && running.machine.phase == .degraded)
        #expect(Self.spawns(running.feed(.rolloutRequested(Rollout(.start, ["frontend-0"])))) == [0])
        #expect(running.feed(.spawned(replica: 0, run: 3, pid: 9)).contains(.rolloutEnded(nil)))
    }

    @Test func `a way back that fails too is the end, as it would be without a change`() {
        let old = Self.frontends(2, never: true)
        var running = Running(old, gateway: false)
        running.feed(.rolloutRequested(Self.rollout(running, to: [Self.changed(old[0]), old[1]])))
        running.ends(0, run: 1)
        running.feed(.exited(replica: 0, run: 2, .exited(3)))
        running.feed(.cleared(replica: 0, run: 2))
        running.feed(.exited(replica: 0, run: 3, .exited(4)))
        running.feed(.cleared(replica: 0, run: 3))
        #expect(running.machine.phase == .stopping)
        #expect(running.machine.failure?.message.hasPrefix("frontend-0: exit code 4") == true)
    }

    @Test func `a first replica keeps its name when a second one comes`() {
        var one = ReplicaPlan.shell("worker", "")
        one.name = "worker"
        let two = (0..<2).map { index in
            var replica = one
            replica.index = index
            replica.name = "worker-\(index)"
            return replica
        }
        let running = Running([one], gateway: false)
        var plan = running.machine.activePlan
        plan.replicas = two
        let named = PlanChange.naming(plan, after: running.machine.activePlan)
        #expect(named.replicas.map(\.name) == ["worker", "worker-1"])
        let change = PlanChange(from: running.machine.activePlan, to: named)
        #expect(change.unchanged == ["worker"] && change.added.map(\.name) == ["worker-1"])
    }

    @Test func `frontends come after the workers whose model they wait for`() {
        let old = Self.frontends(1) + [ReplicaPlan.shell("worker", "")]
        var running = Running(old, gateway: false)
        #expect(Self.signals(running.feed(.rolloutRequested(Self.rollout(running, to: old.map(Self.changed))))) == [1])
        running.ends(1, run: 1)
        #expect(Self.signals(running.feed(.spawned(replica: 1, run: 2, pid: 5))) == [0])
    }

    @Test func `what is new comes before what depends on it`() {
        let old = [ReplicaPlan.shell("worker", ""), .shell("other", "")]
        var running = Running(old, gateway: false)
        var worker = Self.changed(old[0])
        worker.dependencies = [Dependency(process: "cache", layer: .alive)]
        let begun = running.feed(.rolloutRequested(Self.rollout(running, to: [.shell("cache", ""), worker])))
        #expect(Self.signals(begun) == [1], "what goes makes room")
        #expect(Self.spawns(running.ends(1, run: 1)) == [2])
        #expect(Self.signals(running.feed(.spawned(replica: 2, run: 1, pid: 5))) == [0])
    }

    @Test func `one that waits for a job which has ended too early is taken back, and not waited for`() {
        let old =
            Self.frontends(1) + [
                .shell("job", "", role: .infrastructure, restart: RestartPolicy(condition: .onFailure))
            ]
        var running = Running(old, gateway: false)
        running.ends(1, run: 1)
        #expect(running.machine.replicas[1].isDone)
        let worker = ReplicaPlan.shell("worker", "", dependencies: [Dependency(process: "job", layer: .port)])
        let ended = running.feed(.rolloutRequested(Self.rollout(running, to: old + [worker]))).compactMap { action in
            if case .rolloutEnded(let reason, _) = action { reason } else { nil }
        }
        #expect(
            ended == [
                "worker: it waits for job to reach port, and that had ended (exit code 0) before it had; everything runs as before"
            ]
        )
        #expect(
            running.machine.rollout == nil && running.machine.activePlan.replicas.map(\.name) == ["frontend-0", "job"]
        )
    }

    /// A frontend that has come to wait for a layer that a job has not reached, and never will.
    private static var waitingInVain: Running {
        let job = ReplicaPlan.shell("job", "", role: .infrastructure, restart: RestartPolicy(condition: .onFailure))
        var running = Running(Self.frontends(1) + [job], gateway: false)
        running.ends(1, run: 1)
        running.machine.replicas[0].plan.dependencies = [Dependency(process: "job", layer: .port)]
        return running
    }

    private static let vain =
        "frontend-0: it waits for job to reach port, and that had ended (exit code 0) before it had"

    @Test func `a restart that would wait in vain for a job is refused, and nothing is ended`() {
        var running = Self.waitingInVain
        #expect(
            running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0"]))) == [
                .rolloutEnded("\(Self.vain); it was left as it is", cause: "frontend-0")
            ]
        )
        #expect(running.machine.rollout == nil && running.machine.phase == .ready)
    }

    @Test func `a change that would wait in vain for a job is taken back before anything is ended`() {
        var running = Self.waitingInVain
        var changed = running.machine.replicas.map(\.plan)
        changed[0].arguments.append("--other")
        let actions = running.feed(.rolloutRequested(Self.rollout(running, to: changed)))
        #expect(Self.signals(actions) == [])
        #expect(actions.contains(.rolloutEnded("\(Self.vain); everything runs as before")), "\(actions)")
    }

    @Test func `what has ended and would wait in vain for a job is given up with that reason`() throws {
        var running = Self.waitingInVain
        running.feed(.exited(replica: 0, run: 1, .exited(1)))
        running.feed(.cleared(replica: 0, run: 1))
        running.feed(.timerFired(replica: 0, .backoff))
        let message = try #require(running.machine.failure?.message)
        #expect(message.hasPrefix(Self.vain), "\(message)")
    }

    @Test func `a job that ends too early while a change waits for it takes the change back, not the deployment down`()
    {
        var job = ReplicaPlan.shell("job", "", role: .infrastructure, readiness: [alive, live])
        job.restart = RestartPolicy(condition: .onFailure)
        let old = Self.frontends(1) + [job]
        var running = Running(old, gateway: false)
        running.feed(.probeFinished(replica: 1, run: 1, index: 1, .success))
        running.feed(.verified([]))
        running.feed(.exited(replica: 1, run: 1, .exited(3)))
        running.feed(.cleared(replica: 1, run: 1))
        running.feed(.timerFired(replica: 1, .backoff))
        running.feed(.spawned(replica: 1, run: 2, pid: 5))
        let worker = ReplicaPlan.shell("worker", "", dependencies: [Dependency(process: "job", layer: .live)])
        let begun = running.feed(.rolloutRequested(Self.rollout(running, to: old + [worker])))
        #expect(running.machine.rollout != nil && Self.spawns(begun) == [])
        running.ends(1, run: 2)
        #expect(running.machine.rollout == nil && running.machine.failure == nil && running.machine.phase == .ready)
        #expect(running.machine.activePlan.replicas.map(\.name) == ["frontend-0", "job"])
    }

    @Test func `a restart ends when its process is not ready in time, and the process is tried further`() {
        var replica = ReplicaPlan.shell("frontend", "", role: .frontend, readiness: [alive, listed])
        replica.timing.startupTimeout = 60
        var running = Running([replica], gateway: false)
        running.feed(.probeFinished(replica: 0, run: 1, index: 1, .success))
        running.feed(.rolloutRequested(Rollout(.restart, ["frontend"])))
        running.ends(0, run: 1)
        running.feed(.spawned(replica: 0, run: 2, pid: 5))
        let late = running.feed(.timerFired(replica: 0, .startup)).compactMap { action -> String? in
            if case .rolloutEnded(let reason, _) = action { reason } else { nil }
        }
        #expect(late.first?.hasSuffix("; it is tried further") == true, "\(late)")
        running.feed(.probeFinished(replica: 0, run: 2, index: 1, .success))
        #expect(running.machine.replicas[0].shownState == .ready)
        #expect(running.machine.rollout == nil)
    }

    @Test func `one that crashes while it is drained gets its new process at once`() {
        let old = Self.frontends(2, never: true)
        var running = Running(old, gateway: true)
        let begun = running.feed(.rolloutRequested(Self.rollout(running, to: [Self.changed(old[0]), old[1]])))
        #expect(begun.contains(.release("frontend-0")))
        running.feed(.exited(replica: 0, run: 1, .exited(3)))
        #expect(Self.spawns(running.feed(.cleared(replica: 0, run: 1))) == [0])
        #expect(running.feed(.released("frontend-0")) == [])
        #expect(running.feed(.spawned(replica: 0, run: 2, pid: 5)).contains(.rolloutEnded(nil)))
        #expect(running.machine.activePlan.replicas == [Self.changed(old[0]), old[1]])
    }

    @Test func `a waiting replica whose new plan waits for nothing is started`() {
        let waiting = ReplicaPlan.shell("worker", "", dependencies: [Dependency(process: "slow", layer: .live)])
        var running = Running([.shell("slow", "", readiness: [alive, live]), waiting], gateway: false)
        #expect(running.machine.replicas[1].state == .waiting)
        let plan = [ReplicaPlan.shell("slow", "", readiness: [alive, live]), .shell("worker", "")]
        #expect(Self.spawns(running.feed(.rolloutRequested(Self.rollout(running, to: plan)))) == [1])
    }
}
