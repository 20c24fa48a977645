import Deployment
import Testing

@testable import Supervisor

/// Replicas that are started anew one after another, and a public port that is closed first.
@Suite struct RolloutTests {
    typealias Action = DeploymentMachine.Action

    struct Running {
        var machine: DeploymentMachine
        var now = ContinuousClock.now

        init(_ replicas: [ReplicaPlan], gateway: Bool, isVerified: Bool = true) {
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
            if isVerified { self.feed(.verified([])) }
        }

        @discardableResult
        mutating func feed(_ event: DeploymentMachine.Event) -> [Action] { self.machine.handle(event, at: self.now) }

        /// The process of a replica ends and nothing of it is left.
        @discardableResult
        mutating func ends(_ index: Int, run: Int) -> [Action] {
            self.feed(.exited(replica: index, run: run, .exited(0))) + self.feed(.cleared(replica: index, run: run))
        }
    }

    static func frontends(_ count: Int, never: Bool = false, role: Role = .frontend) -> [ReplicaPlan] {
        (0..<count).map { index in
            var replica = ReplicaPlan.shell("frontend", "", role: role)
            replica.index = index
            replica.name = "frontend-\(index)"
            if never { replica.restart = RestartPolicy(condition: .never) }
            return replica
        }
    }

    static func signals(_ actions: [Action]) -> [Int] {
        actions.compactMap { if case .replica(let index, .signal) = $0 { index } else { nil } }
    }

    static func spawns(_ actions: [Action]) -> [Int] {
        actions.compactMap { if case .replica(let index, .spawn) = $0 { index } else { nil } }
    }

    static func progress(_ replica: String, _ phase: RolloutProgress.Phase) -> Action {
        .progress(RolloutProgress(replica: replica, phase))
    }

    /// The same replica with other arguments.
    static func changed(_ replica: ReplicaPlan) -> ReplicaPlan {
        var replica = replica
        replica.arguments.append("--other")
        return replica
    }

    static func rollout(_ running: Running, to replicas: [ReplicaPlan]) -> Rollout {
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
        #expect(
            running.machine.replicas[0].waitingFor(at: .now)
                == "a person who starts it again: dynamo-launch start frontend-0"
        )
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
}
