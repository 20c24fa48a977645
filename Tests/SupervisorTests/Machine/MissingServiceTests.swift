import Deployment
import Testing

@testable import Supervisor

/// What a deployment does whose servers outside of it are gone.
@Suite struct MissingServiceTests {
    private typealias Action = DeploymentMachine.Action
    private static let nats = ExternalService(
        name: "nats",
        url: "nats://there:4222",
        probe: .tcp(host: "127.0.0.1", port: 1)
    )
    private static let words = "nats at nats://there:4222"
    private static let silence = DeploymentMachine.Event.servicesSeen([
        ServiceAnswer(service: Self.nats, outcome: .failure("refused"))
    ])
    private static let answer = DeploymentMachine.Event.servicesSeen([
        ServiceAnswer(service: Self.nats, outcome: .success)
    ])

    /// One that serves; its process or processes are on the plane of that server.
    private static func running(_ replicas: [ReplicaPlan]) -> RolloutTests.Running {
        var running = RolloutTests.Running(replicas, gateway: false)
        running.machine.plan.externalServices = [Self.nats]
        return running
    }

    /// The server is gone, and known to be.
    private static func lose(_ running: inout RolloutTests.Running) -> [Action] {
        running.feed(Self.silence)
        running.now += .seconds(1)
        return running.feed(Self.silence)
    }

    private static func ends(_ index: Int, run: Int, in running: inout RolloutTests.Running) -> [Action] {
        running.feed(.exited(replica: index, run: run, .exited(1))) + running.feed(.cleared(replica: index, run: run))
    }

    @Test func `it is degraded until the server is back`() {
        var running = Self.running(RolloutTests.frontends(1))
        #expect(running.feed(Self.silence) == [])
        running.now += .seconds(1)
        #expect(
            running.feed(Self.silence) == [
                .service(.lost(Self.nats, reason: "refused")), .degraded(missing: ["nats"]),
            ]
        )
        #expect(running.machine.phase == .degraded)
        running.now += .seconds(5)
        #expect(running.feed(Self.answer) == [.service(.back(Self.nats, seconds: 6)), .recovered])
        #expect(running.machine.phase == .ready)
    }

    @Test func `what ends waits for the server, however often, and is not given up`() {
        var running = Self.running(RolloutTests.frontends(1, role: .worker))
        #expect(running.feed(.exited(replica: 0, run: 1, .exited(1))).contains(.askServices))
        running.feed(.cleared(replica: 0, run: 1))
        _ = Self.lose(&running)
        // The pause before its restart is over, and the server is still away.
        let late = running.feed(.timerFired(replica: 0, .backoff))
        #expect(late.contains(.replica(0, .stateChanged("it is started again when \(Self.words) answers"))), "\(late)")
        #expect(RolloutTests.spawns(late) == [])
        #expect(running.machine.replicas[0].waitingFor(at: running.now) == "\(Self.words) to answer")
        for run in 2...20 {
            #expect(RolloutTests.spawns(running.feed(Self.answer)) == [0])
            running.feed(.spawned(replica: 0, run: run, pid: 10))
            running.now += .seconds(2)
            _ = Self.lose(&running)
            let actions = Self.ends(0, run: run, in: &running)
            let words = "exit code 1; it is started again when \(Self.words) answers"
            #expect(actions.contains(.replica(0, .stateChanged(words))), "\(actions)")
            #expect(RolloutTests.spawns(actions) == [])
        }
        #expect(running.machine.phase == .degraded && running.machine.failure == nil)
        #expect(running.machine.replicas[0].restarts == 20)
    }

    @Test func `what does not need the server is started as always`() {
        var running = Self.running(RolloutTests.frontends(1, role: .infrastructure) + [.shell("worker", "")])
        _ = Self.lose(&running)
        _ = Self.ends(0, run: 1, in: &running)
        #expect(RolloutTests.spawns(running.feed(.timerFired(replica: 0, .backoff))) == [0])
    }

    @Test func `what has never served is given up, and the server is named`() throws {
        let plan = RolloutTests.frontends(1, never: true, role: .worker)
        var running = RolloutTests.Running(plan, gateway: false, isVerified: false)
        running.machine.plan.externalServices = [Self.nats]
        _ = Self.lose(&running)
        _ = Self.ends(0, run: 1, in: &running)
        let message = try #require(running.machine.failure?.message)
        #expect(message.hasPrefix("frontend-0: exit code 1; \(Self.words) does not answer; log: "), "\(message)")
    }

    @Test func `it is not called ready before the server has answered`() {
        var running = RolloutTests.Running(RolloutTests.frontends(1), gateway: false, isVerified: false)
        running.machine.plan.externalServices = [Self.nats]
        running.feed(Self.silence)
        #expect(running.feed(.verified([])) == [])
        #expect(running.machine.phase == .starting)
        #expect(running.feed(Self.answer) == [.verify])
        #expect(running.feed(.verified([])) == [.ready(seconds: 0)])
    }

    @Test func `nothing is restarted that could not come back, and what only ends is ended`() {
        var running = Self.running(RolloutTests.frontends(2, role: .worker))
        _ = Self.lose(&running)
        #expect(
            running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0"]))) == [
                .rolloutEnded("\(Self.words) does not answer, and what is started needs it; start it first")
            ]
        )
        #expect(running.machine.rollout == nil)
        #expect(RolloutTests.signals(running.feed(.rolloutRequested(Rollout(.stop, ["frontend-0"])))) == [0])
    }

    private static let probed = ReplicaPlan.shell(
        "worker",
        "",
        readiness: [alive, LayerProbe(layer: .port, probe: .tcp(host: "::1", port: 1))]
    )

    private static func started(_ replica: ReplicaPlan, at now: ContinuousClock.Instant) -> ReplicaMachine {
        var machine = ReplicaMachine(plan: replica, seed: 1)
        _ = machine.start(at: now)
        _ = machine.spawned(run: 1, pid: 10, at: now)
        return machine
    }

    @Test func `probes that fail without the server restart nothing`() {
        var replica = Self.probed
        replica.timing.failureThreshold = 2
        let now = ContinuousClock.now
        var machine = Self.started(replica, at: now)
        _ = machine.probeFinished(run: 1, index: 1, outcome: .success, at: now)
        func failsOnce() -> [ReplicaMachine.Action] {
            _ = machine.timerFired(.probe, at: now)
            return machine.probeFinished(run: 1, index: 1, outcome: .failure("refused"), at: now)
        }
        _ = machine.tell(missingServer: "nats", at: now)
        for _ in 1...5 { #expect(!failsOnce().contains(.signal(run: 1, replica.stop.signal))) }
        // The server is back: it has the patience of always.
        _ = machine.tell(missingServer: nil, at: now)
        #expect(!failsOnce().contains(.signal(run: 1, replica.stop.signal)))
        #expect(failsOnce().contains(.signal(run: 1, replica.stop.signal)))
    }

    @Test func `the time to become ready begins anew with the server`() {
        var replica = Self.probed
        replica.timing.startupTimeout = 60
        let now = ContinuousClock.now
        var machine = Self.started(replica, at: now)
        _ = machine.tell(missingServer: "nats", at: now)
        #expect(machine.timerFired(.startup, at: now + .seconds(60)) == [])
        let back = now + .seconds(100)
        #expect(machine.tell(missingServer: nil, at: back) == [.arm(.startup, at: back + .seconds(60))])
        #expect(machine.timerFired(.startup, at: back + .seconds(60)).contains(.signal(run: 1, replica.stop.signal)))
    }

    @Test func `a deployment that was adopted is not ready before its servers have answered`() {
        var running = RolloutTests.Running(RolloutTests.frontends(1), gateway: false, isVerified: false)
        running.machine.plan.externalServices = [Self.nats]
        running.machine.services.isUnknown = true
        #expect(running.feed(.verified([])) == [])
        #expect(running.feed(Self.answer) == [.verify])
    }
}
