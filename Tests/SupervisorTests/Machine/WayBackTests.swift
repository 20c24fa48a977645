import Deployment
import Testing

@testable import Supervisor

/// Changes that are taken back: in which order, and what falls over meanwhile.
@Suite struct WayBackTests {
    private typealias Running = RolloutTests.Running
    private typealias Action = DeploymentMachine.Action

    private static let never = RestartPolicy(condition: .never)

    private static func ended(_ actions: [Action]) -> String? {
        for case .rolloutEnded(let reason, _) in actions { return reason ?? "done" }
        return nil
    }

    /// One whose changes are watched for a while before they count.
    private static func watched(_ replicas: [ReplicaPlan], gateway: Bool = false) -> Running {
        var running = Running(replicas, gateway: gateway)
        running.machine.steadyTime = .seconds(2)
        return running
    }

    /// The process that was there ends, and the next one is there.
    private static func renew(_ index: Int, run: Int, _ running: inout Running) -> [Action] {
        running.ends(index, run: run) + running.feed(.spawned(replica: index, run: run + 1, pid: 5))
    }

    private static func falls(_ index: Int, run: Int, _ running: inout Running) -> [Action] {
        running.feed(.exited(replica: index, run: run, .exited(3))) + running.feed(.cleared(replica: index, run: run))
    }

    /// Two workers that are not restarted by themselves; both are changed, and the new processes are there.
    private static func changedPair() -> (Running, [ReplicaPlan]) {
        var old = RolloutTests.frontends(2, role: .worker)
        for index in old.indices { old[index].restart = Self.never }
        var running = Self.watched(old)
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: old.map(RolloutTests.changed))))
        _ = Self.renew(0, run: 1, &running)
        _ = Self.renew(1, run: 1, &running)
        return (running, old)
    }

    @Test func `one that falls before its turn is put back at once, and waited for at the end`() {
        var (running, old) = Self.changedPair()
        // Both are there and being watched; one falls, is put back, and so does the other meanwhile.
        #expect(RolloutTests.spawns(Self.falls(1, run: 2, &running)) == [1])
        #expect(RolloutTests.spawns(Self.falls(0, run: 2, &running)) == [0])
        #expect(!running.machine.isStopping && running.machine.failure == nil)
        #expect(Self.ended(running.feed(.spawned(replica: 1, run: 3, pid: 7))) == nil)
        let back = running.feed(.spawned(replica: 0, run: 3, pid: 8))
        #expect(Self.ended(back)?.hasPrefix("frontend-1: ") == true, "\(back)")
        #expect(running.machine.activePlan.replicas == old && running.machine.phase == .ready)
    }

    @Test func `one that was put back before its turn and fails again ends the deployment, as without a change`() {
        var (running, _) = Self.changedPair()
        _ = Self.falls(1, run: 2, &running)
        _ = Self.falls(0, run: 2, &running)
        _ = Self.falls(0, run: 3, &running)
        #expect(running.machine.failure?.message.hasPrefix("frontend-0: exit code 3") == true)
    }

    /// `b` depends on `a`; both are changed, and the new processes are there.
    private static func chain() -> (Running, [ReplicaPlan]) {
        let restart = RestartPolicy(maximumRestarts: 10)
        let old = [
            ReplicaPlan.shell("a", "", restart: restart),
            .shell("b", "", dependencies: [Dependency(process: "a", layer: .alive)], restart: restart),
        ]
        var running = Self.watched(old)
        running.feed(.spawned(replica: 1, run: 1, pid: 11))
        running.feed(.verified([]))
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: old.map(RolloutTests.changed))))
        _ = Self.renew(0, run: 1, &running)
        _ = Self.renew(1, run: 1, &running)
        return (running, old)
    }

    @Test func `what has fallen comes back in the order in which it waits for each other`() {
        var (running, old) = Self.chain()
        _ = Self.falls(0, run: 2, &running)
        _ = Self.falls(1, run: 2, &running)
        running.feed(.timerFired(replica: 1, .backoff))
        #expect(running.machine.replicas[1].isWaiting)
        let back = running.machine.giveUpWaiting(0, "exit code 3", at: running.now)
        #expect(RolloutTests.spawns(back) == [0], "\(back)")
        #expect(RolloutTests.spawns(running.feed(.spawned(replica: 0, run: 3, pid: 7))) == [1])
        #expect(Self.ended(running.feed(.spawned(replica: 1, run: 3, pid: 8)))?.hasPrefix("a: ") == true)
        #expect(running.machine.activePlan.replicas == old)
    }

    @Test func `what the one that comes back waits for is put back when it falls meanwhile`() {
        var (running, old) = Self.chain()
        // Only the one that depends on the other falls, and its turn comes first.
        let back = running.machine.giveUpWaiting(1, "exit code 3", at: running.now)
        #expect(RolloutTests.signals(back) == [1], "\(back)")
        _ = Self.falls(0, run: 2, &running)
        #expect(RolloutTests.spawns(running.ends(1, run: 2)) == [])
        #expect(running.machine.replicas[1].isWaiting)
        let put = running.machine.giveUpWaiting(0, "exit code 3", at: running.now)
        #expect(RolloutTests.spawns(put) == [0], "\(put)")
        #expect(RolloutTests.spawns(running.feed(.spawned(replica: 0, run: 3, pid: 7))) == [1])
        #expect(Self.ended(running.feed(.spawned(replica: 1, run: 3, pid: 8)))?.hasPrefix("b: ") == true)
        #expect(running.machine.activePlan.replicas == old && running.machine.phase == .ready)
    }

    @Test func `a changed job that ends too early is put back before those are touched that wait for it`() {
        let job = ReplicaPlan.shell(
            "job",
            "",
            role: .infrastructure,
            readiness: [alive, live],
            restart: RestartPolicy(condition: .onFailure)
        )
        let old = [job, .shell("worker", "", dependencies: [Dependency(process: "job", layer: .live)])]
        var running = Running(old, gateway: false)
        running.feed(.probeFinished(replica: 0, run: 1, index: 1, .success))
        running.feed(.spawned(replica: 1, run: 1, pid: 11))
        running.feed(.verified([]))
        running.ends(0, run: 1)
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: old.map(RolloutTests.changed))))
        running.feed(.spawned(replica: 0, run: 2, pid: 5))
        let early = running.ends(0, run: 2)
        #expect(RolloutTests.signals(early) == [] && RolloutTests.spawns(early) == [0], "\(early)")
        running.feed(.spawned(replica: 0, run: 3, pid: 6))
        let back = running.feed(.probeFinished(replica: 0, run: 3, index: 1, .success))
        #expect(
            Self.ended(back)
                == "job: ended (exit code 0) before it reached live, which worker waits for; everything runs as before"
        )
        #expect(running.machine.activePlan.replicas == old && running.machine.replicas[1].runs == 1)
    }

    @Test func `behind a gateway a frontend goes only when the one before is back`() {
        var old = RolloutTests.frontends(1) + [ReplicaPlan.shell("worker", "")]
        old[1].restart = Self.never
        var other = old[0]
        (other.process, other.name) = ("front", "front")
        var running = Self.watched(old, gateway: true)
        let new = [other, RolloutTests.changed(old[1])]
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: new)))
        _ = Self.renew(1, run: 1, &running)
        running.feed(.spawned(replica: 2, run: 1, pid: 6))
        running.feed(.released("frontend-0"))
        #expect(running.ends(0, run: 1).contains(.watch))
        #expect(RolloutTests.spawns(Self.falls(1, run: 2, &running)) == [1], "the one at fault first")
        #expect(RolloutTests.spawns(running.feed(.spawned(replica: 1, run: 3, pid: 7))) == [0])
        #expect(running.feed(.spawned(replica: 0, run: 2, pid: 8)).contains(.release("front")))
        running.feed(.released("front"))
        #expect(Self.ended(running.ends(2, run: 1))?.hasPrefix("worker: ") == true)
        #expect(running.machine.activePlan.replicas.map(\.name) == ["frontend-0", "worker"])
    }

    @Test func `what waits for a process that a person had stopped is left waiting for that person`() {
        let helper = ReplicaPlan.shell("helper", "", role: .infrastructure)
        let worker = ReplicaPlan.shell("worker", "", dependencies: [Dependency(process: "helper", layer: .alive)])
        let last = ReplicaPlan.shell("last", "", restart: Self.never)
        let old = [helper, worker, last]
        var running = Running(old, gateway: false)
        running.feed(.spawned(replica: 1, run: 1, pid: 11))
        running.feed(.verified([]))
        running.feed(.rolloutRequested(Rollout(.stop, ["helper"])))
        running.ends(0, run: 1)
        var alone = RolloutTests.changed(worker)
        alone.dependencies = []
        running.feed(.rolloutRequested(RolloutTests.rollout(running, to: [alone, RolloutTests.changed(last)])))
        _ = Self.renew(1, run: 1, &running)
        running.ends(2, run: 1)
        #expect(running.machine.rollout != nil, "\(running.machine.replicas.map(\.state))")
        _ = Self.falls(2, run: 2, &running)
        running.feed(.spawned(replica: 2, run: 3, pid: 9))
        let back = running.ends(1, run: 2)
        #expect(Self.ended(back)?.hasPrefix("last: ") == true, "\(back)")
        #expect(running.machine.rollout == nil && running.machine.failure == nil)
        #expect(running.machine.replicas[1].isWaiting && running.machine.phase == .degraded)
        #expect(RolloutTests.spawns(running.feed(.rolloutRequested(Rollout(.start, ["helper"])))) == [0])
        #expect(RolloutTests.spawns(running.feed(.spawned(replica: 0, run: 2, pid: 10))) == [1])
    }
}

/// What is read of a process after its end.
@Suite struct LateOutputTests {
    private static let done = LayerProbe(layer: .live, probe: .logLine(pattern: "done"))

    @Test func `a line that is read after the end of a job counts`() {
        let job = ReplicaPlan.shell(
            "job",
            "",
            role: .infrastructure,
            readiness: [alive, Self.done],
            restart: RestartPolicy(condition: .onFailure)
        )
        let worker = ReplicaPlan.shell("worker", "", dependencies: [Dependency(process: "job", layer: .live)])
        var running = RolloutTests.Running([job, worker], gateway: false, isVerified: false)
        running.feed(.exited(replica: 0, run: 1, .exited(0)))
        running.feed(.logMatched(replica: 0, run: 1, index: 1))
        #expect(RolloutTests.spawns(running.feed(.cleared(replica: 0, run: 1))) == [1])
        #expect(running.machine.failure == nil)
    }

    @Test func `what an adopted job had said before it ended counts`() {
        let job = ReplicaPlan.shell(
            "job",
            "",
            role: .infrastructure,
            readiness: [alive, LayerProbe(layer: .live, probe: .notify)],
            restart: RestartPolicy(condition: .onFailure)
        )
        var machine = ReplicaMachine(plan: job, seed: 1)
        let now = ContinuousClock.now
        var note = KeptNote()
        note.isNotified = true
        _ = machine.adopt(run: 1, restarts: (0, 0), note: note, pid: nil, startedAt: now, at: now)
        _ = machine.exited(run: 1, status: .exited(0), mayRestart: true, at: now)
        _ = machine.cleared(run: 1, at: now)
        #expect(machine.isDone && machine.satisfies(.live))
    }
}
