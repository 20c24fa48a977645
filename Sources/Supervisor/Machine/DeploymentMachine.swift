package import Deployment

/// The whole deployment as a value: starts replicas when their dependencies are there, knows when all are ready, and stops
/// everything in reverse order, whatever the cause.
struct DeploymentMachine: Sendable {
    /// So many restarts in a row of a process that was changed or restarted are enough to know.
    private static let patienceWithRollout = 5

    enum Phase: Sendable, Equatable {
        case starting
        case verifying
        case ready
        case degraded
        case stopping
        case finished
    }

    /// What runs; its replicas have the indexes of `replicas`, and some of them may have been removed.
    var plan: Plan
    var replicas: [ReplicaMachine]
    /// The change that is under way.
    var rollout: Rollout?
    /// Whether a worker that was started anew must be known to those that send requests before the next one is touched.
    var confirmsWorkers = false
    /// So long a process without a probe that a change has started must last for the change to be done.
    var steadyTime = Duration.zero
    var services = ServiceWatch()
    /// Whether an earlier launcher had started it.
    var isAdopted = false
    private(set) var phase: Phase = .starting
    private(set) var failure: SupervisorOutcome.Failure?
    /// Seconds from `begin` to ready.
    private(set) var readyAfter: Double?
    private let exitOnFirst: Bool
    var levels: [Int] = []
    var members: [String: [Int]] = [:]
    var generator: SplitMix64
    private var startedAt: ContinuousClock.Instant?
    private var hasAskedForContradictions = false
    private var outcome = SupervisorOutcome(exitCode: 0, reason: .requested)
    /// The level that is being stopped; those above it are gone.
    private var stoppingLevel = 0
    /// Requests that were taken are answered before the first process is told to end.
    private var isPublicPortClosing = false

    init(plan: Plan, exitOnFirst: Bool, seed: UInt64) {
        self.plan = plan
        self.exitOnFirst = exitOnFirst
        var generator = SplitMix64(state: seed)
        self.replicas = plan.replicas.map { ReplicaMachine(plan: $0, seed: generator.next()) }
        self.generator = generator
        self.arrange()
    }

    var isStopping: Bool { self.phase == .stopping || self.phase == .finished }

    // MARK: Events

    mutating func handle(_ event: Event, at now: ContinuousClock.Instant) -> [Action] {
        guard self.phase != .finished else { return [] }
        var actions: [Action] = []
        switch event {
        case .begin:
            self.startedAt = now
            actions += self.startWaiting(at: now)
        case .adopted(let index, let kept):
            return self.adopt(index, kept, at: now)
        case .portsTaken(let reasons):
            let failure = SupervisorOutcome.Failure(message: reasons.joined(separator: "\n"))
            actions += self.fail(failure, at: now)
        case .spawned(let index, let run, let pid):
            actions += self.apply(index, self.replicas[index].spawned(run: run, pid: pid, at: now), at: now)
        case .notStarted(let index, let run, let reason, let permanent):
            let inner = self.replicas[index].notStarted(run: run, reason: reason, permanent: permanent, at: now)
            actions += self.apply(index, inner, at: now)
        case .exited(let index, let run, let status):
            let mayRestart = !self.isStopping && !self.exitOnFirst
            let inner = self.replicas[index].exited(run: run, status: status, mayRestart: mayRestart, at: now)
            actions += self.apply(index, inner, at: now)
            if self.exitOnFirst, inner.contains(.exited(status)) {
                actions += self.firstExit(index, status, at: now)
            }
        case .cleared(let index, let run):
            actions += self.apply(index, self.replicas[index].cleared(run: run, at: now), at: now)
        case .probeFinished(let index, let run, let probe, let outcome):
            let inner = self.replicas[index].probeFinished(run: run, index: probe, outcome: outcome, at: now)
            actions += self.apply(index, inner, at: now)
        case .logMatched(let index, let run, let probe):
            actions += self.apply(index, self.replicas[index].logMatched(run: run, index: probe, at: now), at: now)
        case .notified(let index, let run, let message):
            actions += self.apply(index, self.replicas[index].notified(run: run, message, at: now), at: now)
        case .timerFired(let index, let timer):
            actions += self.apply(index, self.replicas[index].timerFired(timer, at: now), at: now)
        case .verified(let mismatches):
            actions += self.verified(mismatches, at: now)
        case .contradictionsFound(let contradictions):
            guard self.phase == .starting else { break }
            actions += self.fail(SupervisorOutcome.Failure(message: contradictions.joined(separator: "\n")), at: now)
        case .stopRequested(let atOnce):
            actions += self.stop(now: atOnce, at: now)
        case .keeperLost(let reason):
            let message = "the keeper process ended (\(reason)); everything it kept was killed"
            actions += self.fail(SupervisorOutcome.Failure(message: message), at: now)
            actions += self.stop(now: true, at: now)
        case .portsRenewed(let index, let run, let plan, let others, let reason):
            for (other, plan) in others.sorted(by: { $0.key < $1.key }) {
                actions += self.apply(other, self.replicas[other].replace(with: plan, at: now), at: now)
            }
            let inner = self.replicas[index].takePorts(of: plan, run: run, reason: reason, at: now)
            actions += self.apply(index, inner, at: now)
        case .rolloutRequested(let rollout):
            actions += self.begin(rollout, at: now)
        case .released(let name):
            actions += self.released(name, at: now)
        case .confirmed(let name, let run):
            actions += self.confirmed(name, run: run, at: now)
        case .watched:
            actions += self.watched(at: now)
        case .servicesSeen(let answers):
            actions += self.servicesSeen(answers, at: now)
        case .publicPortClosed:
            guard self.isPublicPortClosing else { break }
            self.isPublicPortClosing = false
            actions += self.stopLevel(at: now)
        }
        while !self.isStopping {
            let more = self.continueRollout(at: now)
            if more.isEmpty { break }
            actions += more
        }
        return actions + self.settle(at: now)
    }

    mutating func apply(
        _ index: Int,
        _ inner: [ReplicaMachine.Action],
        at now: ContinuousClock.Instant
    ) -> [Action] {
        var actions = inner.map { Action.replica(index, $0) }
        for action in inner {
            switch action {
            case .layerReached:
                actions += self.startWaiting(at: now)
            case .backoffOver:
                actions += self.startWaiting(at: now)
                actions += self.giveUpIfLost(index, at: now)
            case .stateChanged:
                actions += self.stateChanged(index, at: now)
            case .hopeless(let reason):
                actions +=
                    self.revert(index, reason, at: now)
                    ?? self.fail(self.failure(of: index, reason), at: now)
            case .late(let reason):
                actions += self.giveUpWaiting(index, reason, at: now)
            case .restarting(let reason, _, let attempt) where attempt >= Self.patienceWithRollout:
                actions += self.giveUpWaiting(index, reason, at: now)
            case .stuck where self.phase == .starting:
                actions.append(.lookForContradictions)
            case .planTaken:
                self.arrange()
            case .exited where !self.plan.externalServices.isEmpty:
                actions.append(.askServices)
            case .spawn, .probe, .arm, .cancel, .signal, .kill, .clear, .stuck, .holding, .exited, .restarting,
                .warning, .said, .portsRenewed:
                break
            }
        }
        return actions
    }

    private mutating func stateChanged(_ index: Int, at now: ContinuousClock.Instant) -> [Action] {
        switch self.replicas[index].state {
        case .failed where self.replicas[index].isRetired:
            let name = self.replicas[index].plan.name
            return [.replica(index, .warning("\(name) was removed, and not even SIGKILL ended it"))]
        case .failed where self.replicas[index].isHalted:
            let name = self.replicas[index].plan.name
            return [.replica(index, .warning("\(name) was stopped, and not even SIGKILL ended it"))]
        case .failed(let reason):
            return self.revert(index, reason, at: now)
                ?? self.fail(self.failure(of: index, reason), at: now)
        case .stopped where !self.isStopping && !self.replicas[index].isRetired && !self.replicas[index].isHalted:
            return self.startWaiting(at: now) + self.failDependents(of: index, at: now)
        case .waiting, .starting, .ready, .unready, .ending, .clearing, .backingOff, .stopped:
            return []
        }
    }

    /// A process that has done its work without reaching the layer that others wait for can never reach it.
    private mutating func failDependents(of index: Int, at now: ContinuousClock.Instant) -> [Action] {
        let process = self.replicas[index].plan.process
        for waiting in self.replicas where waiting.state == .waiting {
            // What a change has added is taken back with the change.
            if let rollout, rollout.canGoBack, rollout.current?.replica == waiting.plan.name { continue }
            for dependency in waiting.plan.dependencies
            where dependency.process == process && !self.replicas[index].satisfies(dependency.layer) {
                let reason =
                    "ended (\(self.replicas[index].lastExit ?? "exit code 0")) before it reached \(dependency.layer.rawValue), "
                    + "which \(waiting.plan.name) waits for"
                return self.revert(index, reason, at: now) ?? self.fail(self.failure(of: index, reason), at: now)
            }
        }
        return []
    }

    /// A process that has ended waits for what others have done since, or were told to do, and may wait in vain.
    ///
    /// What a change is about at the moment is looked at by the change.
    mutating func giveUpIfLost(_ index: Int, at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping, self.rollout?.current?.replica != self.replicas[index].plan.name,
            let reason = self.lostDependency(of: index)?.words
        else { return [] }
        return self.revert(index, reason, at: now) ?? self.fail(self.failure(of: index, reason), at: now)
    }

    // MARK: Ready

    /// What follows from the states of all replicas together.
    private mutating func settle(at now: ContinuousClock.Instant) -> [Action] {
        switch self.phase {
        case .starting, .verifying, .ready, .degraded:
            // After each event: replicas are looked at where they are, and only as far as need be.
            if self.rollout == nil,
                self.replicas.indices.allSatisfy({ self.replicas[$0].isRetired || self.replicas[$0].isDone })
            {
                self.outcome = SupervisorOutcome(exitCode: 0, reason: .completed)
                self.phase = .finished
                return [.finish(self.outcome)]
            }
            func isMissing(_ index: Int) -> Bool {
                !self.replicas[index].isRetired && !self.replicas[index].isReadyOrDone
            }
            // At the start nobody waits for what a person had stopped under an earlier launcher; it is missing after that.
            let isComplete =
                self.phase == .starting
                ? self.mayBeReady : !self.replicas.indices.contains(where: isMissing) && self.missingServices.isEmpty
            switch (self.phase, isComplete) {
            case (.starting, false)
            where !self.hasAskedForContradictions
                && self.replicas.allSatisfy({ $0.plan.role == .frontend || $0.isRetired || $0.isSettled }):
                // A worker on another plane would keep the frontend from ever serving: better said at once than found by waiting.
                self.hasAskedForContradictions = true
                return [.lookForContradictions]
            case (.starting, true):
                self.phase = .verifying
                return [.verify]
            case (.ready, false):
                self.phase = .degraded
                let replicas = self.replicas.indices.filter(isMissing).map { self.replicas[$0].plan.name }
                return [.degraded(missing: replicas + self.missingServices)]
            case (.degraded, true):
                self.phase = .ready
                return [.recovered]
            default:
                return []
            }
        case .stopping:
            return self.continueStopping(at: now)
        case .finished:
            return []
        }
    }

    private mutating func verified(_ mismatches: [String], at now: ContinuousClock.Instant) -> [Action] {
        guard self.phase == .verifying else { return [] }
        guard self.mayBeReady else {
            // It was the answer about a replica or a server that is gone; asked again when all are ready.
            self.phase = .starting
            return []
        }
        guard mismatches.isEmpty else {
            return self.fail(SupervisorOutcome.Failure(message: mismatches.joined(separator: "\n")), at: now)
        }
        self.phase = .ready
        let seconds = self.seconds(at: now)
        self.readyAfter = seconds
        return [.ready(seconds: seconds)]
    }

    private func seconds(at now: ContinuousClock.Instant) -> Double {
        self.startedAt.map { (now - $0).inSeconds } ?? 0
    }

    // MARK: Stopping

    private func failure(of index: Int, _ reason: String) -> SupervisorOutcome.Failure {
        let replica = self.replicas[index]
        let log = self.plan.logFile(of: replica.plan)
        return SupervisorOutcome.Failure(
            replica: replica.plan.name,
            exit: replica.lastExit,
            logFile: log,
            message: "\(ReplicaLabel.text(replica.plan.name, generation: self.plan.generation)): \(reason); "
                + (self.missingServicesWords.map { "\($0) does not answer; " } ?? "") + "log: \(log)"
        )
    }

    mutating func fail(_ failure: SupervisorOutcome.Failure, at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping else { return [] }
        self.failure = failure
        self.outcome = SupervisorOutcome(exitCode: 1, reason: .failed, failure: failure)
        return [.failed(failure)] + self.stop(now: false, at: now)
    }

    private mutating func firstExit(_ index: Int, _ status: ProcessExit, at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping else { return [] }
        let failure = self.failure(of: index, "ended with \(status.words)")
        self.failure = status.isSuccess ? nil : failure
        self.outcome = SupervisorOutcome(exitCode: status.shellCode, reason: .firstExit, failure: self.failure)
        return [.firstExit(replica: index, code: status.shellCode)] + self.stop(now: false, at: now)
    }

    private mutating func stop(now atOnce: Bool, at now: ContinuousClock.Instant) -> [Action] {
        let wasStopping = self.isStopping
        guard self.phase != .finished, !wasStopping || atOnce else { return [] }
        self.phase = .stopping
        var actions: [Action] = self.abandonRollout() + [.stopping(now: atOnce)]
        if atOnce {
            self.isPublicPortClosing = false
            for index in self.replicas.indices {
                actions += self.replicas[index].kill(at: now).map { .replica(index, $0) }
            }
        } else {
            self.stoppingLevel = self.levels.max() ?? 0
            // What has not been started yet must not start while others are being stopped.
            for index in self.replicas.indices where self.replicas[index].isIdle {
                actions += self.replicas[index].stop(at: now).map { .replica(index, $0) }
            }
            if self.plan.gateway == nil { return actions + self.stopLevel(at: now) }
            self.isPublicPortClosing = true
            actions.append(.closePublicPort)
        }
        return actions
    }

    private mutating func stopLevel(at now: ContinuousClock.Instant) -> [Action] {
        var actions: [Action] = []
        for index in self.replicas.indices where self.levels[index] >= self.stoppingLevel {
            guard !self.replicas[index].isStoppingOrGone else { continue }
            actions += self.replicas[index].stop(at: now).map { .replica(index, $0) }
        }
        return actions
    }

    private mutating func continueStopping(at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isPublicPortClosing else { return [] }
        var actions: [Action] = []
        while self.replicas.indices.allSatisfy({ self.levels[$0] < self.stoppingLevel || self.replicas[$0].isGone }) {
            if self.stoppingLevel == 0 {
                if self.replicas.allSatisfy(\.isGone) { return actions + self.finish() }
                return actions
            }
            self.stoppingLevel -= 1
            actions += self.stopLevel(at: now)
        }
        return actions
    }

    private mutating func finish() -> [Action] {
        self.phase = .finished
        self.outcome.survivors = self.replicas.compactMap(\.survivor)
        if !self.outcome.survivors.isEmpty, self.outcome.exitCode == 0 { self.outcome.exitCode = 1 }
        return [.finish(self.outcome)]
    }
}

extension Plan {
    /// The log file of a replica.
    package func logFile(of replica: ReplicaPlan) -> String { "\(self.directories.logs)/\(replica.name).log" }
}
