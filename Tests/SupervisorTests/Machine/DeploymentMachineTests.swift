import Deployment
import Glibc
import Testing

@testable import Supervisor

/// A deployment, driven by hand.
private struct Deployment {
    var machine: DeploymentMachine
    var now = ContinuousClock.now

    init(_ replicas: [ReplicaPlan], exitOnFirst: Bool = false) {
        let plan = Plan(
            deployment: "test",
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "test",
            discovery: .memory,
            publicAddress: HTTPAddress(host: "127.0.0.1", port: 8000),
            directories: DeploymentDirectories(state: "/state", runtime: "/run"),
            replicas: replicas
        )
        self.machine = DeploymentMachine(plan: plan, exitOnFirst: exitOnFirst, seed: 1)
    }

    @discardableResult
    mutating func feed(_ event: DeploymentMachine.Event) -> [DeploymentMachine.Action] {
        self.machine.handle(event, at: self.now)
    }

    /// The replicas that the actions start.
    static func started(_ actions: [DeploymentMachine.Action]) -> [Int] {
        actions.compactMap { if case .replica(let index, .spawn) = $0 { index } else { nil } }
    }

    static func signalled(_ actions: [DeploymentMachine.Action]) -> [Int] {
        actions.compactMap { if case .replica(let index, .signal) = $0 { index } else { nil } }
    }

    @discardableResult
    mutating func spawned(_ index: Int, run: Int = 1) -> [DeploymentMachine.Action] {
        self.feed(.spawned(replica: index, run: run, pid: Int32(index * 10 + run)))
    }

    @discardableResult
    mutating func ends(_ index: Int, _ status: ProcessExit = .exited(0), run: Int = 1) -> [DeploymentMachine.Action] {
        self.feed(.exited(replica: index, run: run, status)) + self.feed(.cleared(replica: index, run: run))
    }
}

@Suite struct DeploymentMachineTests {
    private func chain(_ layer: ReadinessLayer = .alive) -> [ReplicaPlan] {
        [
            .shell("nats", "", role: .infrastructure),
            .shell("worker", "", dependencies: [Dependency(process: "nats", layer: layer)]),
            .shell("frontend", "", role: .frontend, dependencies: [Dependency(process: "worker", layer: layer)]),
        ]
    }

    @Test func startsWhenDependenciesAreThere() {
        var deployment = Deployment(self.chain())
        #expect(Deployment.started(deployment.feed(.begin)) == [0])
        #expect(Deployment.started(deployment.spawned(0)) == [1])
        #expect(Deployment.started(deployment.spawned(1)) == [2])
        #expect(deployment.spawned(2).contains(.verify))
        deployment.now += .seconds(2)
        #expect(deployment.feed(.verified([])) == [.ready(seconds: 2)])
        #expect(deployment.machine.phase == .ready)
    }

    @Test func waitsForTheLayerOfEveryReplica() {
        var replicas = [0, 1].map { index in
            var replica = ReplicaPlan.shell("worker", "", readiness: [alive, live, listed])
            replica.index = index
            replica.name = "worker-\(index)"
            return replica
        }
        replicas.append(.shell("frontend", "", dependencies: [Dependency(process: "worker", layer: .live)]))
        var deployment = Deployment(replicas)
        #expect(Deployment.started(deployment.feed(.begin)) == [0, 1])
        deployment.spawned(0)
        deployment.spawned(1)
        let one = deployment.feed(.probeFinished(replica: 0, run: 1, index: 1, .success))
        #expect(Deployment.started(one) == [])
        let both = deployment.feed(.probeFinished(replica: 1, run: 1, index: 1, .success))
        #expect(Deployment.started(both) == [2])
    }

    @Test func aLayerThatTheReplicaDoesNotHaveCountsWhenItIsReady() {
        var deployment = Deployment(self.chain(.serving))
        deployment.feed(.begin)
        #expect(Deployment.started(deployment.spawned(0)) == [1])
    }

    @Test func levelsFollowDependencies() {
        let levels = DeploymentTimes.levels(of: self.chain() + [.shell("other", "")])
        #expect(levels == [0, 1, 2, 0])
        let selfish = ReplicaPlan.shell("a", "", dependencies: [Dependency(process: "a", layer: .alive)])
        #expect(DeploymentTimes.levels(of: [selfish]) == [0])
    }

    @Test func `what a person had stopped under an earlier launcher is missing, and keeps nothing from being ready`() {
        var deployment = Deployment([.shell("a", "", role: .infrastructure), .shell("b", "", role: .infrastructure)])
        for index in 0...1 {
            var note = KeptNote()
            note.isHalted = index == 1
            deployment.feed(
                .adopted(
                    replica: index,
                    .init(run: 1, restarts: 0, note: note, pid: index == 0 ? 1 : nil, startedAt: deployment.now)
                )
            )
        }
        deployment.feed(.begin)
        #expect(!deployment.spawned(0).contains(.verify), "its end is not told yet")
        #expect(deployment.ends(1, .signalled(SIGTERM)).contains(.verify))
        #expect(deployment.feed(.verified([])) == [.ready(seconds: 0), .degraded(missing: ["b"])])
        #expect(deployment.machine.phase == .degraded, "so that it can be told to start it")
        #expect(Deployment.started(deployment.feed(.rolloutRequested(Rollout(.start, ["b"])))) == [1])
        #expect(deployment.spawned(1, run: 2).contains(.recovered))
    }

    @Test func stopsInReverseLevelByLevel() {
        var deployment = Deployment(self.chain())
        deployment.feed(.begin)
        for index in 0...2 { deployment.spawned(index) }
        deployment.feed(.verified([]))
        #expect(Deployment.signalled(deployment.feed(.stopRequested(now: false))) == [2])
        #expect(Deployment.signalled(deployment.ends(2)) == [1])
        #expect(Deployment.signalled(deployment.ends(1)) == [0])
        #expect(deployment.ends(0).last == .finish(SupervisorOutcome(exitCode: 0, reason: .requested)))
        #expect(deployment.feed(.stopRequested(now: true)) == [])
    }

    @Test func stopBeforeAllIsStartedStartsNothingMore() {
        var deployment = Deployment(self.chain())
        deployment.feed(.begin)
        #expect(Deployment.signalled(deployment.feed(.stopRequested(now: false))) == [])
        let actions = deployment.spawned(0)
        #expect(Deployment.signalled(actions) == [0])
        #expect(Deployment.started(actions) == [])
        #expect(deployment.ends(0).last == .finish(SupervisorOutcome(exitCode: 0, reason: .requested)))
    }

    @Test func secondStopKillsAllLevels() {
        var deployment = Deployment(self.chain())
        deployment.feed(.begin)
        for index in 0...2 { deployment.spawned(index) }
        deployment.feed(.stopRequested(now: false))
        // Asking again changes nothing unless it says now.
        #expect(deployment.feed(.stopRequested(now: false)) == [])
        let killed = deployment.feed(.stopRequested(now: true)).compactMap { action -> Int? in
            if case .replica(let index, .kill) = action { index } else { nil }
        }
        #expect(killed == [0, 1, 2])
        for index in 0...1 { deployment.ends(index, .signalled(9)) }
        #expect(deployment.ends(2, .signalled(9)).last == .finish(SupervisorOutcome(exitCode: 0, reason: .requested)))
    }

    @Test func givingUpFailsTheDeployment() {
        let never = RestartPolicy(condition: .never)
        var deployment = Deployment([.shell("nats", "", role: .infrastructure), .shell("worker", "", restart: never)])
        deployment.feed(.begin)
        deployment.spawned(0)
        deployment.spawned(1)
        let actions = deployment.ends(1, .exited(3))
        let failure = SupervisorOutcome.Failure(
            replica: "worker",
            exit: "exit code 3",
            logFile: "/state/logs/worker.log",
            message: "worker: exit code 3; log: /state/logs/worker.log"
        )
        #expect(actions.contains(.failed(failure)))
        #expect(Deployment.signalled(actions) == [0])
        let outcome = SupervisorOutcome(exitCode: 1, reason: .failed, failure: failure)
        #expect(deployment.ends(0).last == .finish(outcome))
    }

    @Test func onlyTheFirstFailureIsToldOf() {
        let never = RestartPolicy(condition: .never)
        var deployment = Deployment([.shell("a", "", restart: never), .shell("b", "", restart: never)])
        deployment.feed(.begin)
        deployment.spawned(0)
        deployment.spawned(1)
        deployment.ends(0, .exited(3))
        guard case .finish(let outcome) = deployment.ends(1, .exited(4)).last else {
            Issue.record("not finished")
            return
        }
        #expect(outcome.failure?.replica == "a")
    }

    @Test func aDependencyThatRestartsDoesNotRestartItsDependents() {
        var deployment = Deployment(self.chain())
        deployment.feed(.begin)
        for index in 0...2 { deployment.spawned(index) }
        deployment.feed(.verified([]))
        let actions = deployment.ends(0, .signalled(9))
        #expect(actions.contains(.degraded(missing: ["nats"])))
        #expect(Deployment.signalled(actions) == [])
        #expect(Deployment.started(deployment.feed(.timerFired(replica: 0, .backoff))) == [0])
        let back = deployment.spawned(0, run: 2)
        #expect(back.contains(.recovered))
        #expect(Deployment.started(back) == [])
        #expect(deployment.machine.replicas[1].run?.number == 1)
    }

    @Test func aRestartWaitsForDependenciesToo() {
        var deployment = Deployment(self.chain())
        deployment.feed(.begin)
        for index in 0...2 { deployment.spawned(index) }
        deployment.feed(.verified([]))
        deployment.ends(0, .signalled(9))
        deployment.ends(1, .exited(1))
        #expect(Deployment.started(deployment.feed(.timerFired(replica: 1, .backoff))) == [])
        #expect(deployment.machine.replicas[1].state == .waiting)
        #expect(Deployment.started(deployment.feed(.timerFired(replica: 0, .backoff))) == [0])
        // Exactly once, however often it is asked for.
        #expect(Deployment.started(deployment.spawned(0, run: 2)) == [1])
        #expect(Deployment.started(deployment.feed(.timerFired(replica: 1, .backoff))) == [])
    }

    @Test func readyIsNotToldWhileAReplicaIsDown() {
        var deployment = Deployment([.shell("a", "")])
        deployment.feed(.begin)
        deployment.spawned(0)
        deployment.ends(0, .exited(1))
        let actions = deployment.feed(.verified([]))
        #expect(actions == [])
        deployment.feed(.timerFired(replica: 0, .backoff))
        #expect(deployment.spawned(0, run: 2).contains(.verify))
        #expect(deployment.feed(.verified([])).count == 1)
    }

    @Test func mismatchesFailTheDeployment() {
        var deployment = Deployment([.shell("a", "")])
        deployment.feed(.begin)
        deployment.spawned(0)
        let actions = deployment.feed(.verified(["a is on nats", "b is on http"]))
        #expect(actions.first == .failed(SupervisorOutcome.Failure(message: "a is on nats\nb is on http")))
        #expect(Deployment.signalled(actions) == [0])
    }

    @Test func contradictionsInDiscoveryAreLookedForOnceTheWorkersAreUp() {
        var deployment = Deployment([.shell("worker", ""), .shell("frontend", "", role: .frontend)])
        deployment.feed(.begin)
        #expect(deployment.spawned(0).contains(.lookForContradictions))
        let actions = deployment.feed(.contradictionsFound(["worker is on nats"]))
        #expect(actions.first == .failed(SupervisorOutcome.Failure(message: "worker is on nats")))
    }

    @Test func contradictionsFoundTooLateAreLeftToTheVerification() {
        var deployment = Deployment([.shell("worker", ""), .shell("frontend", "", role: .frontend)])
        deployment.feed(.begin)
        deployment.spawned(0)
        #expect(deployment.spawned(1).contains(.verify))
        #expect(deployment.feed(.contradictionsFound(["worker is on nats"])) == [])
    }

    @Test func takenPortsStartNothing() {
        var deployment = Deployment(self.chain())
        let actions = deployment.feed(.portsTaken(["worker: port 1 is taken"]))
        #expect(Deployment.started(actions) == [])
        guard case .finish(let outcome) = actions.last else {
            Issue.record("not finished")
            return
        }
        #expect(outcome.exitCode == 1 && outcome.failure?.message == "worker: port 1 is taken")
    }

    @Test(arguments: [(ProcessExit.exited(0), Int32(0)), (.exited(7), 7), (.signalled(9), 137)])
    func firstExitGivesItsCode(status: ProcessExit, code: Int32) {
        var deployment = Deployment([.shell("a", ""), .shell("b", "")], exitOnFirst: true)
        deployment.feed(.begin)
        deployment.spawned(0)
        deployment.spawned(1)
        let actions = deployment.ends(1, status)
        #expect(actions.contains(.firstExit(replica: 1, code: code)))
        #expect(Deployment.signalled(actions) == [0])
        guard case .finish(let outcome) = deployment.ends(0, .signalled(15)).last else {
            Issue.record("not finished")
            return
        }
        #expect(outcome.exitCode == code && outcome.reason == .firstExit)
        #expect((outcome.failure == nil) == (code == 0))
    }

    @Test func aDependencyThatEndsBeforeItsLayerFailsTheDeployment() {
        let never = RestartPolicy(condition: .never)
        var deployment = Deployment([
            .shell("setup", "", role: .infrastructure, readiness: [alive, live], restart: never),
            .shell("worker", "", dependencies: [Dependency(process: "setup", layer: .live)]),
        ])
        deployment.feed(.begin)
        deployment.spawned(0)
        deployment.ends(0, .exited(0))
        #expect(deployment.machine.phase == .finished)
        #expect(
            deployment.machine.failure?.message
                == "setup: ended (exit code 0) before it reached live, which worker waits for; log: /state/logs/setup.log"
        )
    }

    @Test func allDoneIsTheEnd() {
        var deployment = Deployment([.shell("a", "", role: .infrastructure), .shell("b", "", role: .infrastructure)])
        deployment.feed(.begin)
        deployment.spawned(0)
        deployment.spawned(1)
        deployment.ends(0)
        #expect(deployment.ends(1).last == .finish(SupervisorOutcome(exitCode: 0, reason: .completed)))
    }

    @Test func aLostKeeperFailsAndKills() {
        var deployment = Deployment([.shell("a", "")])
        deployment.feed(.begin)
        deployment.spawned(0)
        let actions = deployment.feed(.keeperLost("killed by SIGKILL"))
        #expect(actions.contains(.replica(0, .kill(run: 1))))
        guard case .finish(let outcome) = deployment.ends(0, .signalled(9)).last else {
            Issue.record("not finished")
            return
        }
        #expect(outcome.exitCode == 1)
    }

    @Test func survivorsAreNamedAndCountAsFailure() {
        var deployment = Deployment([.shell("a", "serve")])
        deployment.feed(.begin)
        deployment.spawned(0)
        deployment.feed(.stopRequested(now: true))
        guard case .finish(let outcome) = deployment.feed(.timerFired(replica: 0, .killLimit)).last else {
            Issue.record("not finished")
            return
        }
        #expect(outcome.exitCode == 1)
        #expect(outcome.survivors.map(\.description) == ["a (pid 1: /bin/sh -c serve)"])
    }
}
