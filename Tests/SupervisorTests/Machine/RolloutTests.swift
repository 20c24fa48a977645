import Deployment
import Testing

@testable import Supervisor

/// Replicas that are started anew one after another, and a public port that is closed first.
@Suite struct RolloutTests {
    private typealias Action = DeploymentMachine.Action

    private struct Running {
        var machine: DeploymentMachine
        let now = ContinuousClock.now

        init(_ replicas: [ReplicaPlan], gateway: Bool) {
            let plan = Plan(
                deployment: "test",
                planes: PlaneSet(request: .tcp, events: .none),
                namespace: "test",
                discovery: .memory,
                publicAddress: HTTPAddress(host: "127.0.0.1", port: 8000),
                gateway: gateway ? GatewayPlan() : nil,
                directories: DeploymentDirectories(state: "/state", runtime: "/run"),
                replicas: replicas
            )
            self.machine = DeploymentMachine(plan: plan, exitOnFirst: false, seed: 1)
            self.feed(.begin)
            for index in replicas.indices { self.feed(.spawned(replica: index, run: 1, pid: Int32(index + 10))) }
            self.feed(.verified([]))
        }

        @discardableResult
        mutating func feed(_ event: DeploymentMachine.Event) -> [Action] { self.machine.handle(event, at: self.now) }

        /// The process of a replica ends and nothing of it is left.
        @discardableResult
        mutating func ends(_ index: Int, run: Int) -> [Action] {
            self.feed(.exited(replica: index, run: run, .exited(0))) + self.feed(.cleared(replica: index, run: run))
        }
    }

    private static func frontends(_ count: Int, never: Bool = false, role: Role = .frontend) -> [ReplicaPlan] {
        (0..<count).map { index in
            var replica = ReplicaPlan.shell("frontend", "", role: role)
            replica.index = index
            replica.name = "frontend-\(index)"
            if never { replica.restart = RestartPolicy(condition: .never) }
            return replica
        }
    }

    private static func signals(_ actions: [Action]) -> [Int] {
        actions.compactMap { if case .replica(let index, .signal) = $0 { index } else { nil } }
    }

    private static func spawns(_ actions: [Action]) -> [Int] {
        actions.compactMap { if case .replica(let index, .spawn) = $0 { index } else { nil } }
    }

    private static func progress(_ replica: String, _ phase: RolloutProgress.Phase) -> Action {
        .progress(RolloutProgress(replica: replica, phase))
    }

    /// The same replica with other arguments.
    private static func changed(_ replica: ReplicaPlan) -> ReplicaPlan {
        var replica = replica
        replica.arguments.append("--other")
        return replica
    }

    private static func rollout(_ running: Running, to replicas: [ReplicaPlan]) -> Rollout {
        var plan = running.machine.activePlan
        plan.replicas = replicas
        return Rollout(from: running.machine.activePlan, to: plan)
    }

    @Test func `a frontend is let go by the public port, ended, started, and only then the next one`() {
        var running = Running(Self.frontends(2), gateway: true)
        #expect(running.machine.phase == .ready)
        let first = running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0", "frontend-1"])))
        #expect(first == [Self.progress("frontend-0", .draining), .release("frontend-0")])
        // The port lets go of something else: nothing follows.
        #expect(running.feed(.released("frontend-1")) == [])
        #expect(Self.signals(running.feed(.released("frontend-0"))) == [0])
        #expect(running.feed(.released("frontend-0")) == [], "once is enough")
        #expect(running.machine.replicas[0].shownState == .restarting)
        #expect(Self.spawns(running.ends(0, run: 1)) == [0], "at once, without a backoff")
        let ready = running.feed(.spawned(replica: 0, run: 2, pid: 20))
        #expect(ready.contains(Self.progress("frontend-0", .ready)))
        #expect(
            ready.suffix(3) == [Self.progress("frontend-1", .draining), .release("frontend-1"), .recovered],
            "the other one serves meanwhile"
        )
        running.feed(.released("frontend-1"))
        running.ends(1, run: 1)
        #expect(running.feed(.spawned(replica: 1, run: 2, pid: 21)).suffix(2) == [.rolloutEnded(nil), .recovered])
        #expect(running.machine.phase == .ready)
        #expect(running.machine.replicas.map(\.restarts) == [1, 1])
    }

    @Test func `without a public port of the launcher nothing is waited for`() {
        var running = Running(Self.frontends(1), gateway: false)
        #expect(Self.signals(running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0"])))) == [0])
    }

    @Test func `a process that must never be restarted is, when a person asks for it`() {
        var running = Running(Self.frontends(1, never: true), gateway: false)
        running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0"])))
        #expect(Self.spawns(running.ends(0, run: 1)) == [0])
        #expect(running.feed(.spawned(replica: 0, run: 2, pid: 3)).contains(.rolloutEnded(nil)))
    }

    @Test func `a process that waits for its next try starts at once, and failures before do not count`() throws {
        var running = Running(Self.frontends(1), gateway: true)
        running.feed(.exited(replica: 0, run: 1, .exited(3)))
        running.feed(.cleared(replica: 0, run: 1))
        #expect(running.machine.replicas[0].state == .backingOff)
        #expect(Self.spawns(running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0"])))) == [0])
        // The timer of the backoff that was cut short does nothing any more.
        #expect(Self.spawns(running.feed(.timerFired(replica: 0, .backoff))) == [])
    }

    @Test func `a process that a person stops stays away until a person starts it`() {
        var running = Running(Self.frontends(2), gateway: true)
        #expect(running.feed(.rolloutRequested(Rollout(.stop, ["frontend-0"]))).contains(.release("frontend-0")))
        #expect(Self.signals(running.feed(.released("frontend-0"))) == [0])
        let end = running.ends(0, run: 1)
        #expect(end.contains(Self.progress("frontend-0", .stopped)) && end.contains(.rolloutEnded(nil)))
        #expect(Self.spawns(end) == [])
        #expect(running.machine.phase == .degraded && running.machine.replicas[0].shownState == .stopped)
        #expect(running.machine.replicas[0].waitingFor == "a person: 'dynamo-launch start frontend-0'")
        // The last one too: the deployment waits for its person, and is not done.
        running.feed(.rolloutRequested(Rollout(.stop, ["frontend-1"])))
        running.feed(.released("frontend-1"))
        running.ends(1, run: 1)
        #expect(running.machine.phase == .degraded)

        #expect(Self.spawns(running.feed(.rolloutRequested(Rollout(.start, ["frontend-0"])))) == [0])
        #expect(running.feed(.spawned(replica: 0, run: 2, pid: 20)).contains(.rolloutEnded(nil)))
        #expect(running.machine.phase == .degraded)
        // A restart is a start too.
        #expect(Self.spawns(running.feed(.rolloutRequested(Rollout(.restart, ["frontend-1"])))) == [1])
        #expect(running.feed(.spawned(replica: 1, run: 2, pid: 21)).suffix(2) == [.rolloutEnded(nil), .recovered])
        #expect(running.machine.replicas.map(\.restarts) == [0, 1])
    }

    @Test func `a process that a person stopped is not there for those that depend on it`() {
        var replicas = Self.frontends(1) + [ReplicaPlan.shell("worker", "", role: .worker)]
        replicas[0].dependencies = [Dependency(process: "worker", layer: .alive)]
        var running = Running(replicas, gateway: false)
        running.feed(.spawned(replica: 0, run: 1, pid: 10))
        running.feed(.verified([]))
        #expect(running.machine.phase == .ready)
        running.feed(.rolloutRequested(Rollout(.stop, ["worker"])))
        #expect(Self.signals(running.ends(1, run: 1)) == [], "the other one goes on")
        running.feed(.exited(replica: 0, run: 1, .exited(3)))
        running.feed(.cleared(replica: 0, run: 1))
        #expect(Self.spawns(running.feed(.timerFired(replica: 0, .backoff))) == [], "what it needs is not there")
        #expect(Self.spawns(running.feed(.rolloutRequested(Rollout(.start, ["worker"])))) == [1])
        #expect(Self.spawns(running.feed(.spawned(replica: 1, run: 2, pid: 12))) == [0])
    }

    @Test func `one that cannot be killed is said, and the deployment goes on`() {
        var running = Running(Self.frontends(2), gateway: false)
        running.feed(.rolloutRequested(Rollout(.stop, ["frontend-0"])))
        running.feed(.timerFired(replica: 0, .grace))
        let end = running.feed(.timerFired(replica: 0, .killLimit))
        let words = "frontend-0 was stopped, and not even SIGKILL ended it"
        #expect(end.contains(.replica(0, .warning(words))))
        #expect(end.contains(.rolloutEnded("\(words); what was not reached is as it was")))
        #expect(running.machine.phase == .degraded)
    }

    @Test func `a second change is refused while one is under way`() {
        var running = Running(Self.frontends(2), gateway: true)
        running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0"])))
        let second = running.feed(.rolloutRequested(Rollout(.restart, ["frontend-1"])))
        #expect(second == [.rolloutEnded("another change is under way")])
        #expect(Self.signals(running.feed(.released("frontend-0"))) == [0], "the first goes on")
    }

    @Test func `stopping ends a rollout, and what was let go is stopped like all`() {
        var running = Running(Self.frontends(2), gateway: true)
        running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0", "frontend-1"])))
        let stopping = running.feed(.stopRequested(now: false))
        #expect(stopping.contains(.rolloutEnded("the deployment is being stopped")))
        #expect(running.feed(.released("frontend-0")) == [])
        #expect(Self.signals(running.feed(.publicPortClosed)) == [0, 1])
    }

    @Test func `what is being ended for a restart is not started when the deployment stops`() {
        var running = Running(Self.frontends(1), gateway: false)
        running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0"])))
        running.feed(.stopRequested(now: false))
        let last = running.ends(0, run: 1)
        #expect(Self.spawns(last) == [])
        #expect(last.last == .finish(SupervisorOutcome(exitCode: 0, reason: .requested)))
    }

    @Test func `the public port is closed before the first process is told to end`() {
        var running = Running(Self.frontends(2), gateway: true)
        let stopping = running.feed(.stopRequested(now: false))
        #expect(stopping == [.stopping(now: false), .closePublicPort])
        #expect(running.feed(.stopRequested(now: false)) == [])
        // A frontend that ends meanwhile changes nothing.
        #expect(Self.signals(running.ends(1, run: 1)) == [])
        #expect(Self.signals(running.feed(.publicPortClosed)) == [0])
        #expect(running.ends(0, run: 1).last == .finish(SupervisorOutcome(exitCode: 0, reason: .requested)))
    }

    @Test func `whoever is in a hurry does not wait for the public port`() {
        var running = Running(Self.frontends(1), gateway: true)
        running.feed(.stopRequested(now: false))
        let killed = running.feed(.stopRequested(now: true)).contains { action in
            if case .replica(0, .kill) = action { true } else { false }
        }
        #expect(killed)
        #expect(running.feed(.publicPortClosed) == [])
    }

    // MARK: To another plan

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
        let worker = ReplicaPlan.shell("worker", "", dependencies: [Dependency(process: "cache", layer: .alive)])
        let begun = running.feed(.rolloutRequested(Self.rollout(running, to: [.shell("cache", ""), worker])))
        #expect(Self.signals(begun) == [1], "what goes makes room")
        #expect(Self.spawns(running.ends(1, run: 1)) == [2])
        #expect(Self.signals(running.feed(.spawned(replica: 2, run: 1, pid: 5))) == [0])
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
            if case .rolloutEnded(let reason) = action { reason } else { nil }
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
