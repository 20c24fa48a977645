import Deployment
import Testing

@testable import Supervisor

/// One replica, driven by hand.
struct Driver {
    var machine: ReplicaMachine
    var now = ContinuousClock.now

    init(
        readiness: [LayerProbe] = [LayerProbe(layer: .alive, probe: .process)],
        role: Role = .worker,
        timing: ProbeTiming = ProbeTiming(),
        restart: RestartPolicy = RestartPolicy(jitter: 0),
        stop: StopPlan = StopPlan()
    ) {
        let plan = ReplicaPlan.shell(
            "worker",
            "",
            role: role,
            readiness: readiness,
            timing: timing,
            restart: restart,
            stop: stop
        )
        self.machine = ReplicaMachine(plan: plan, seed: 1)
    }

    mutating func pass(_ duration: Duration) { self.now += duration }
    mutating func start() -> [ReplicaMachine.Action] { self.machine.start(at: self.now) }
    mutating func spawned(_ run: Int = 1) -> [ReplicaMachine.Action] {
        self.machine.spawned(run: run, pid: 100 + Int32(run), at: self.now)
    }
    mutating func probe(_ outcome: ProbeOutcome, index: Int = 1, run: Int = 1) -> [ReplicaMachine.Action] {
        self.machine.probeFinished(run: run, index: index, outcome: outcome, at: self.now)
    }
    mutating func fire(_ timer: ReplicaMachine.Timer) -> [ReplicaMachine.Action] {
        self.machine.timerFired(timer, at: self.now)
    }
    mutating func exit(_ status: ProcessExit, run: Int = 1) -> [ReplicaMachine.Action] {
        self.machine.exited(run: run, status: status, mayRestart: true, at: self.now)
    }
    mutating func cleared(_ run: Int = 1) -> [ReplicaMachine.Action] { self.machine.cleared(run: run, at: self.now) }

    /// Started and ready, with the given layers above `alive`.
    mutating func becomeReady(run: Int = 1) {
        _ = self.start()
        _ = self.spawned(run)
        for index in self.machine.schedule.layers.indices.dropFirst() {
            _ = self.probe(.success, index: index, run: run)
        }
    }

    var shown: ReplicaStatus.State { self.machine.shownState }
}

let live = LayerProbe(layer: .live, probe: .http(url: "http://127.0.0.1:1/live", statuses: [], bodyContains: nil))
let alive = LayerProbe(layer: .alive, probe: .process)
let listed = LayerProbe(layer: .modelListed, probe: .modelListed(baseURL: "http://127.0.0.1:1", model: nil))
let serving = LayerProbe(
    layer: .serving,
    probe: .generate(baseURL: "http://127.0.0.1:1", model: nil, canary: CanaryRequest())
)

@Suite struct ReplicaMachineTests {
    // MARK: Starting

    @Test func startsOnce() {
        var driver = Driver()
        #expect(driver.start().contains(.spawn(run: 1)))
        #expect(driver.start() == [])
        _ = driver.spawned()
        #expect(driver.start() == [])
    }

    @Test func aliveIsReadyWhenNothingElseIsAsked() {
        var driver = Driver()
        _ = driver.start()
        driver.pass(.milliseconds(250))
        let actions = driver.spawned()
        #expect(actions.first == .layerReached(.alive, seconds: 0.25))
        #expect(driver.shown == .ready)
        // Nothing to ask: the exit is seen without asking.
        #expect(!actions.contains { if case .arm(.probe, _) = $0 { true } else { false } })
    }

    @Test func layersAreAskedOneAfterTheOther() {
        var driver = Driver(readiness: [alive, live, listed])
        _ = driver.start()
        #expect(driver.spawned().contains(.probe(run: 1, index: 1)))
        #expect(driver.probe(.success, index: 1).contains(.probe(run: 1, index: 2)))
        #expect(driver.shown == .starting)
        #expect(driver.probe(.success, index: 2).contains(.layerReached(.modelListed, seconds: 0)))
        #expect(driver.shown == .ready)
    }

    @Test func answersOfOtherLayersAndRunsAreIgnored() {
        var driver = Driver(readiness: [alive, live, listed])
        _ = driver.start()
        _ = driver.spawned()
        #expect(driver.probe(.success, index: 2) == [])
        #expect(driver.probe(.success, index: 1, run: 7) == [])
        #expect(driver.machine.spawned(run: 2, pid: 5, at: driver.now) == [])
        #expect(driver.shown == .starting)
    }

    @Test func failedProbesAreAskedAgainEverLaterButNotLaterThanTwoPercent() {
        var driver = Driver(readiness: [alive, live])
        _ = driver.start()
        _ = driver.spawned()
        #expect(driver.probe(.failure("refused")) == [.arm(.probe, at: driver.now + .milliseconds(25))])
        #expect(driver.machine.waitingFor(at: driver.now) == "live: refused")
        driver.pass(.seconds(2))
        #expect(driver.fire(.probe) == [.probe(run: 1, index: 1)])
        #expect(driver.probe(.failure("refused")) == [.arm(.probe, at: driver.now + .milliseconds(40))])
        driver.pass(.seconds(100))
        #expect(driver.probe(.failure("refused")) == [.arm(.probe, at: driver.now + .milliseconds(100))])
    }

    @Test func aLogLineIsWaitedForWithoutAsking() {
        let layer = LayerProbe(layer: .port, probe: .logLine(pattern: "up"))
        var driver = Driver(readiness: [alive, layer])
        _ = driver.start()
        let spawned = driver.spawned()
        #expect(!spawned.contains { if case .probe = $0 { true } else { false } })
        #expect(driver.machine.logMatched(run: 9, index: 1, at: driver.now) == [])
        #expect(driver.shown == .starting)
        _ = driver.machine.logMatched(run: 1, index: 1, at: driver.now)
        #expect(driver.shown == .ready)
    }

    @Test func aLogLineThatComesBeforeItsLayerCounts() {
        let layer = LayerProbe(layer: .health, probe: .logLine(pattern: "up"))
        var driver = Driver(readiness: [alive, live, layer])
        _ = driver.start()
        _ = driver.machine.logMatched(run: 1, index: 2, at: driver.now)
        _ = driver.spawned()
        #expect(driver.shown == .starting)
        _ = driver.probe(.success, index: 1)
        #expect(driver.shown == .ready)
    }

    @Test func stuckIsSaidAfterTenSecondsAndThenEverLater() {
        var driver = Driver(readiness: [alive, live])
        #expect(driver.start().contains(.arm(.stuck, at: driver.now + .seconds(10))))
        _ = driver.spawned()
        _ = driver.probe(.failure("503"))
        driver.pass(.seconds(10))
        #expect(
            driver.fire(.stuck) == [
                .stuck(layer: .live, seconds: 10, reason: "503"), .arm(.stuck, at: driver.now + .seconds(10)),
            ]
        )
        driver.pass(.seconds(10))
        #expect(
            driver.fire(.stuck) == [
                .stuck(layer: .live, seconds: 20, reason: "503"), .arm(.stuck, at: driver.now + .seconds(20)),
            ]
        )
        _ = driver.probe(.success)
        #expect(driver.fire(.stuck) == [])
    }

    @Test func startupTimeoutRestartsByPolicy() {
        var driver = Driver(readiness: [alive, live], timing: ProbeTiming(startupTimeout: 30))
        #expect(driver.start().contains(.arm(.startup, at: driver.now + .seconds(30))))
        _ = driver.spawned()
        _ = driver.probe(.failure("refused"))
        driver.pass(.seconds(30))
        #expect(driver.fire(.startup).contains(.signal(run: 1, 15)))
        _ = driver.exit(.signalled(15))
        let actions = driver.cleared()
        #expect(
            actions.contains(
                .restarting(reason: "layer live not reached within 30 s: refused", delay: .seconds(0.5), attempt: 1)
            )
        )
        #expect(driver.shown == .backingOff)
    }

    @Test func startupTimeoutWithoutRestartsIsHopeless() {
        var driver = Driver(
            readiness: [alive, live],
            timing: ProbeTiming(startupTimeout: 30),
            restart: RestartPolicy(condition: .never)
        )
        _ = driver.start()
        _ = driver.spawned()
        #expect(driver.fire(.startup) == [.hopeless("layer live not reached within 30 s")])
    }

    @Test func startupTimeoutAtALayerOfOthersDoesNotRestart() {
        var driver = Driver(readiness: [alive, listed], timing: ProbeTiming(startupTimeout: 30))
        _ = driver.start()
        _ = driver.spawned()
        _ = driver.probe(.failure("model list is empty"))
        #expect(driver.fire(.startup) == [.hopeless("layer model-listed not reached within 30 s: model list is empty")])
    }

    @Test func startupTimeoutAtALayerOfOthersIsAWarningOnceTheReplicaWasReady() {
        var driver = Driver(readiness: [alive, listed], timing: ProbeTiming(startupTimeout: 30))
        driver.becomeReady()
        _ = driver.exit(.exited(1))
        _ = driver.cleared()
        _ = driver.fire(.backoff)
        _ = driver.start()
        _ = driver.spawned(2)
        #expect(
            driver.fire(.startup) == [
                .warning("worker: layer model-listed not reached within 30 s; still waiting"),
                .late("layer model-listed not reached within 30 s"),
            ]
        )
        #expect(driver.shown == .starting)
    }

    // MARK: Ready

    @Test func steadyProbesAreFewAndSlow() {
        let port = LayerProbe(layer: .port, probe: .tcp(host: "127.0.0.1", port: 1))
        var driver = Driver(readiness: [alive, port, live, listed, serving])
        _ = driver.start()
        _ = driver.spawned()
        for index in 1...3 { _ = driver.probe(.success, index: index) }
        #expect(driver.probe(.success, index: 4).last == .arm(.probe, at: driver.now + .seconds(5)))
        // Neither the port, which `/live` implies, nor a generation.
        #expect(driver.fire(.probe) == [.probe(run: 1, index: 2)])
        #expect(driver.probe(.success, index: 2) == [.probe(run: 1, index: 3)])
        #expect(driver.probe(.success, index: 3) == [.arm(.probe, at: driver.now + .seconds(5))])
    }

    @Test func failingProbesObeyThePolicy() {
        var driver = Driver(readiness: [alive, live])
        driver.becomeReady()
        for _ in 1...2 {
            _ = driver.fire(.probe)
            #expect(driver.probe(.failure("500")) == [.arm(.probe, at: driver.now + .seconds(5))])
            #expect(driver.shown == .ready)
        }
        _ = driver.fire(.probe)
        let actions = driver.probe(.failure("500"))
        #expect(actions.contains(.signal(run: 1, 15)))
        #expect(driver.shown == .unready)
        _ = driver.exit(.exited(0))
        #expect(
            driver.cleared().contains(
                .restarting(reason: "probe live failed 3 times in a row: 500", delay: .seconds(0.5), attempt: 1)
            )
        )
        #expect(driver.fire(.backoff) == [.backoffOver])
        #expect(driver.start().contains(.spawn(run: 2)))
    }

    @Test func aSuccessInBetweenStartsTheCountAnew() {
        var driver = Driver(readiness: [alive, live])
        driver.becomeReady()
        for outcome: ProbeOutcome in [.failure("a"), .failure("b"), .success, .failure("c"), .failure("d")] {
            _ = driver.fire(.probe)
            _ = driver.probe(outcome)
        }
        #expect(driver.shown == .ready)
    }

    @Test func withoutRestartsItIsUnreadyUntilItsProbesSucceed() {
        var driver = Driver(readiness: [alive, live], restart: RestartPolicy(condition: .never))
        driver.becomeReady()
        for _ in 1...5 {
            _ = driver.fire(.probe)
            _ = driver.probe(.failure("500"))
        }
        #expect(driver.shown == .unready)
        #expect(driver.machine.waitingFor(at: driver.now) == "live: 500")
        _ = driver.fire(.probe)
        #expect(driver.probe(.success).contains(.stateChanged("its probes succeed again")))
        #expect(driver.shown == .ready)
    }

    @Test func aMissingModelDoesNotRestartTheFrontend() {
        var driver = Driver(readiness: [alive, live, listed], role: .frontend)
        driver.becomeReady()
        for _ in 1...10 {
            _ = driver.fire(.probe)
            #expect(driver.probe(.success, index: 1) == [.probe(run: 1, index: 2)])
            let actions = driver.probe(.failure("model list is empty"), index: 2)
            #expect(!actions.contains { if case .signal = $0 { true } else { false } })
        }
        #expect(driver.shown == .unready)
        #expect(driver.machine.run?.number == 1)
    }

    // MARK: Exits

    @Test(arguments: [
        (RestartPolicy.Condition.never, Role.worker, ReplicaStatus.State.failed),
        (.onFailure, .worker, .backingOff), (.always, .worker, .backingOff), (.onFailure, .infrastructure, .backingOff),
    ])
    func anExitWithAnErrorRestartsByPolicy(
        condition: RestartPolicy.Condition,
        role: Role,
        expected: ReplicaStatus.State
    ) {
        var driver = Driver(role: role, restart: RestartPolicy(condition: condition))
        driver.becomeReady()
        #expect(driver.exit(.exited(3)).contains(.clear(run: 1, grace: .seconds(2))))
        _ = driver.cleared()
        #expect(driver.shown == expected)
        #expect(driver.machine.lastExit == "exit code 3")
    }

    @Test(arguments: [
        (RestartPolicy.Condition.never, Role.worker, ReplicaStatus.State.stopped),
        (.onFailure, .worker, .backingOff), (.always, .worker, .backingOff), (.onFailure, .frontend, .backingOff),
        (.onFailure, .infrastructure, .stopped), (.always, .infrastructure, .backingOff),
        (.never, .infrastructure, .stopped),
    ])
    func anExitWithoutAnErrorMeansDifferentThings(
        condition: RestartPolicy.Condition,
        role: Role,
        expected: ReplicaStatus.State
    ) {
        var driver = Driver(role: role, restart: RestartPolicy(condition: condition))
        driver.becomeReady()
        _ = driver.exit(.exited(0))
        _ = driver.cleared()
        #expect(driver.shown == expected)
    }

    @Test func nothingStartsBeforeTheLastRunIsCleared() {
        var driver = Driver()
        driver.becomeReady()
        _ = driver.exit(.exited(1))
        #expect(driver.fire(.backoff) == [])
        #expect(driver.start() == [])
        #expect(driver.cleared(2) == [])
        #expect(driver.cleared().contains { if case .arm(.backoff, _) = $0 { true } else { false } })
    }

    @Test func givesUpAndSaysWhy() {
        var driver = Driver(restart: RestartPolicy(jitter: 0, maximumRestarts: 2))
        for run in 1...2 {
            driver.becomeReady(run: run)
            _ = driver.exit(.exited(3), run: run)
            _ = driver.cleared(run)
            #expect(driver.shown == .backingOff)
            _ = driver.fire(.backoff)
        }
        driver.becomeReady(run: 3)
        _ = driver.exit(.exited(3), run: 3)
        #expect(driver.cleared(3) == [.stateChanged("given up after 2 restarts in a row; last: exit code 3")])
        #expect(driver.machine.restarts == 2)
    }

    @Test func aStableRunStartsTheCountAnew() {
        var driver = Driver(restart: RestartPolicy(jitter: 0, stableAfter: 60, maximumRestarts: 1))
        for run in 1...5 {
            driver.becomeReady(run: run)
            driver.pass(.seconds(60))
            _ = driver.exit(.exited(3), run: run)
            #expect(
                driver.cleared(run).contains(.restarting(reason: "exit code 3", delay: .seconds(0.5), attempt: 1))
            )
            _ = driver.fire(.backoff)
        }
        #expect(driver.machine.restarts == 5)
    }

    @Test func aStartThatCanNeverWorkIsNotRepeated() {
        var driver = Driver()
        _ = driver.start()
        _ = driver.machine.notStarted(run: 1, reason: "cannot execute x", permanent: true, at: driver.now)
        #expect(driver.cleared() == [.stateChanged("cannot execute x")])
        #expect(driver.shown == .failed)
    }

    @Test func aStartThatMayWorkLaterIsRepeated() {
        var driver = Driver()
        _ = driver.start()
        _ = driver.machine.notStarted(run: 1, reason: "no memory", permanent: false, at: driver.now)
        _ = driver.cleared()
        #expect(driver.shown == .backingOff)
    }
}

@Suite struct ReplicaStopTests {
    @Test func stopAsksThenKills() {
        var driver = Driver(stop: StopPlan(signal: 2, signalName: "SIGINT", grace: 7))
        driver.becomeReady()
        let actions = driver.machine.stop(at: driver.now)
        #expect(actions.contains(.signal(run: 1, 2)))
        #expect(actions.last == .arm(.grace, at: driver.now + .seconds(7)))
        #expect(driver.shown == .stopping)
        driver.pass(.seconds(7))
        #expect(
            driver.fire(.grace) == [
                .warning("worker did not end within 7 s of SIGINT; killing it"), .kill(run: 1),
                .arm(.killLimit, at: driver.now + .seconds(5)),
            ]
        )
        // What it leaves behind gets no second grace.
        #expect(driver.exit(.signalled(9)).contains(.clear(run: 1, grace: .zero)))
        #expect(driver.cleared() == [.stateChanged("killed by SIGKILL")])
        #expect(driver.machine.isGone)
    }

    @Test func oneThatHoldsTheEndUpIsNamedWithTheTimeThatIsLeft() {
        var driver = Driver(stop: StopPlan(grace: 20))
        driver.becomeReady()
        #expect(driver.machine.stop(at: driver.now).contains(.arm(.holding, at: driver.now + .seconds(3))))
        driver.pass(.seconds(3))
        #expect(
            driver.fire(.holding) == [
                .holding(seconds: 3, left: 17), .arm(.holding, at: driver.now + .seconds(3)),
            ]
        )
        #expect(driver.machine.waitingFor(at: driver.now) == "its end: SIGTERM 3 s ago, SIGKILL in 17 s")
        driver.pass(.seconds(3))
        // Less and less often.
        #expect(
            driver.fire(.holding) == [
                .holding(seconds: 6, left: 14), .arm(.holding, at: driver.now + .seconds(6)),
            ]
        )
        driver.pass(.seconds(14))
        _ = driver.fire(.grace)
        #expect(driver.fire(.holding) == [])
        #expect(driver.machine.waitingFor(at: driver.now) == "its end after SIGKILL")
        // Who is killed before anybody would be told, is not told of.
        var quick = Driver(stop: StopPlan(grace: 2))
        quick.becomeReady()
        #expect(!quick.machine.stop(at: quick.now).contains(.arm(.holding, at: quick.now + .seconds(3))))
    }

    @Test func oneThatCannotBeKilledIsASurvivor() {
        var driver = Driver()
        driver.becomeReady()
        _ = driver.machine.kill(at: driver.now)
        #expect(driver.fire(.killLimit) == [.stateChanged("cannot be killed")])
        #expect(driver.machine.survivor?.pid == 101 && driver.machine.isGone)
    }

    @Test func waitingAndBackingOffStopAtOnce() {
        var driver = Driver()
        _ = driver.machine.stop(at: driver.now)
        #expect(driver.shown == .stopped)
        var other = Driver()
        other.becomeReady()
        _ = other.exit(.exited(1))
        _ = other.cleared()
        #expect(other.machine.stop(at: other.now).contains(.cancel(.backoff)))
        #expect(other.shown == .stopped)
        #expect(other.fire(.backoff) == [])
    }

    @Test func stopWhileBeingStartedSignalsAsSoonAsThereIsAProcess() {
        var driver = Driver()
        _ = driver.start()
        #expect(!driver.machine.stop(at: driver.now).contains(.signal(run: 1, 15)))
        #expect(driver.spawned() == [.signal(run: 1, 15)])
        var other = Driver()
        _ = other.start()
        _ = other.machine.kill(at: other.now)
        #expect(other.spawned() == [.kill(run: 1)])
    }

    @Test func stopWhileBeingRestartedStartsNothingMore() {
        var driver = Driver()
        driver.becomeReady()
        _ = driver.exit(.exited(1))
        _ = driver.machine.stop(at: driver.now)
        _ = driver.cleared()
        #expect(driver.shown == .stopped)
    }

    @Test func stopDuringARestartDoesNotSignalTwice() {
        var driver = Driver(readiness: [alive, live], timing: ProbeTiming(failureThreshold: 1))
        driver.becomeReady()
        _ = driver.fire(.probe)
        #expect(driver.probe(.failure("500")).contains(.signal(run: 1, 15)))
        #expect(!driver.machine.stop(at: driver.now).contains(.signal(run: 1, 15)))
        _ = driver.exit(.exited(0))
        _ = driver.cleared()
        #expect(driver.shown == .stopped)
    }

    @Test func killAfterStopKillsAtOnce() {
        var driver = Driver()
        driver.becomeReady()
        _ = driver.machine.stop(at: driver.now)
        #expect(driver.machine.kill(at: driver.now).contains(.kill(run: 1)))
        _ = driver.exit(.signalled(9))
        #expect(driver.machine.kill(at: driver.now) == [.clear(run: 1, grace: .zero)])
    }

    @Test func aStoppedReplicaIgnoresEverything() {
        var driver = Driver()
        _ = driver.machine.stop(at: driver.now)
        #expect(driver.start() == [] && driver.spawned() == [] && driver.exit(.exited(0)) == [])
        for timer in ReplicaMachine.Timer.allCases { #expect(driver.fire(timer) == []) }
        #expect(driver.machine.stop(at: driver.now) == [] && driver.machine.kill(at: driver.now) == [])
    }
}
