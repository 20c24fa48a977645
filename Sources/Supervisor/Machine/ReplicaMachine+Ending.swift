internal import Deployment

/// How runs end, and what comes after them.
extension ReplicaMachine {
    mutating func exited(
        run number: Int,
        status: ProcessExit,
        mayRestart: Bool,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        switch self.state {
        case .starting(let run) where run.number == number,
            .ready(let run) where run.number == number,
            .unready(let run) where run.number == number:
            self.lastExit = status.words
            return [.exited(status)] + self.runEnded(run, mayRestart ? .exit(status) : .stop, at: now)
        case .ending(let run, let ending) where run.number == number:
            self.lastExit = status.words
            return self.runEnded(run, ending, at: now)
        case .waiting, .starting, .ready, .unready, .ending, .clearing, .backingOff, .stopped, .failed:
            return []
        }
    }

    mutating func runEnded(_ run: Run, _ ending: Ending, at now: ContinuousClock.Instant) -> [Action] {
        self.state = .clearing(run, ending, lifetime: now - run.startedAt)
        let grace = run.killed ? .zero : Self.clearingGrace
        return Timer.allCases.map { .cancel($0) } + [.clear(run: run.number, grace: grace)]
    }

    /// Nothing is left of the run.
    mutating func cleared(run number: Int, at now: ContinuousClock.Instant) -> [Action] {
        guard case .clearing(let run, let ending, let lifetime) = self.state, run.number == number else { return [] }
        switch ending {
        case .stop:
            self.state = .stopped
            return [.stateChanged(self.lastExit)]
        case .exit(let status):
            return self.decide(after: run, status, lifetime: lifetime, at: now)
        case .restart(let reason):
            return self.decideRestart(reason: reason, lifetime: lifetime, at: now)
        case .replace:
            return self.startOver()
        case .newPorts(let reason):
            return self.startOnNewPorts(reason)
        case .notStarted(let reason, let permanent):
            if permanent || self.plan.restart.condition == .never { return self.fail(reason) }
            return self.decideRestart(reason: reason, lifetime: lifetime, at: now)
        }
    }

    private mutating func decide(
        after run: Run,
        _ status: ProcessExit,
        lifetime: Duration,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        let isDone: Bool =
            switch self.plan.restart.condition {
            case .never: status.isSuccess
            case .onFailure: status.isSuccess && self.plan.role == .infrastructure
            case .always: false
            }
        if isDone {
            // One that had done its work when it was adopted: others wait for what it had reached under the launcher before.
            if self.lastLayer == nil, self.wasReady { self.lastLayer = self.schedule.layers.last?.layer }
            self.countSaid(by: run)
            self.state = .stopped
            return [.stateChanged(status.words)]
        }
        if self.plan.restart.condition == .never { return self.fail(status.words) }
        return self.decideRestart(reason: status.words, lifetime: lifetime, at: now)
    }

    /// Layers that a run had reached by what it said, also when that was read after its end.
    private mutating func countSaid(by run: Run) {
        for index in self.schedule.layers.indices.dropFirst(run.next) {
            let layer = self.schedule.layers[index]
            switch layer.probe {
            case .process: break
            case .logLine where run.matched.contains(index): break
            case .notify where run.isNotified: break
            default: return
            }
            self.lastLayer = max(self.lastLayer ?? layer.layer, layer.layer)
        }
    }

    private mutating func decideRestart(
        reason: String,
        lifetime: Duration,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        if let server = self.missingServer {
            self.restarts += 1
            self.state = .waiting
            return [.stateChanged("\(reason); it is started again when \(server) answers")]
        }
        switch self.backoff.runEnded(after: lifetime) {
        case .restart(let delay, let attempt):
            self.state = .backingOff
            return [
                .stateChanged(reason), .restarting(reason: reason, delay: delay, attempt: attempt),
                .arm(.backoff, at: now + delay),
            ]
        case .giveUp(let count):
            return self.fail("given up after \(count) \(count == 1 ? "restart" : "restarts") in a row; last: \(reason)")
        }
    }

    private mutating func fail(_ reason: String) -> [Action] {
        self.state = .failed(reason)
        return [.stateChanged(reason)]
    }

    mutating func beginEnding(_ run: Run, _ ending: Ending, at now: ContinuousClock.Instant) -> [Action] {
        var run = run
        run.endingSince = now
        self.state = .ending(run, ending)
        var actions: [Action] = [.cancel(.probe), .cancel(.startup), .cancel(.stuck)]
        actions.append(.stateChanged(nil))
        if run.pid != nil { actions.append(.signal(run: run.number, self.plan.stop.signal)) }
        if .seconds(self.plan.stop.grace) > Self.holdingAfter {
            actions.append(.arm(.holding, at: now + Self.holdingAfter))
        }
        return actions + [.arm(.grace, at: now + .seconds(self.plan.stop.grace))]
    }

    /// Ports of a run turned out to be taken: the next one has others.
    ///
    /// Only for a run that was not started, or that has ended by itself: what is being stopped or replaced goes on so.
    ///
    /// - Parameters:
    ///   - plan: with the other ports.
    ///   - number: of the run.
    ///   - reason: in words, which are told.
    ///   - now: the time.
    /// - Returns: what is to be done.
    mutating func takePorts(
        of plan: ReplicaPlan,
        run number: Int,
        reason: String,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        switch self.state {
        case .starting(let run) where run.number == number && run.pid == nil:
            self.successor = plan
            return self.runEnded(run, .newPorts(reason), at: now)
        case .ending(let run, let ending) where run.number == number && run.pid == nil:
            // It was told to end while its ports were looked for, and there is nothing that could.
            return self.runEnded(run, ending, at: now)
        case .clearing(let run, .exit, let lifetime) where run.number == number,
            .clearing(let run, .notStarted, let lifetime) where run.number == number:
            self.successor = plan
            self.state = .clearing(run, .newPorts(reason), lifetime: lifetime)
            return []
        case .waiting, .starting, .ready, .unready, .ending, .clearing, .backingOff, .stopped, .failed:
            return []
        }
    }

    private mutating func startOnNewPorts(_ reason: String) -> [Action] {
        let wasReady = self.wasReady
        self.renewals += 1
        self.restarts += 1
        self.state = .waiting
        defer { self.wasReady = wasReady }
        return [.portsRenewed(reason)] + self.takeSuccessor() + [.stateChanged(nil), .backoffOver]
    }

    /// Puts a new process in the place of the one that is there, at once and whatever the restart policy says of ends.
    ///
    /// - Parameters:
    ///   - successor: the plan of the new one; nil: the same.
    ///   - now: the time.
    /// - Returns: what is to be done.
    mutating func replace(with successor: ReplicaPlan? = nil, at now: ContinuousClock.Instant) -> [Action] {
        if let successor { self.successor = successor }
        self.isHalted = false
        switch self.state {
        case .starting(let run), .ready(let run), .unready(let run):
            return self.beginEnding(run, .replace, at: now)
        case .ending(let run, _):
            self.state = .ending(run, .replace)
            return [.stateChanged(nil)]
        case .clearing(let run, _, let lifetime):
            self.state = .clearing(run, .replace, lifetime: lifetime)
            return [.stateChanged(nil)]
        case .backingOff, .stopped, .failed:
            return [.cancel(.backoff)] + self.startOver()
        case .waiting:
            // Its dependencies may be others.
            return self.takeSuccessor() + [.backoffOver]
        }
    }

    /// It was removed: whatever becomes of it concerns nobody.
    mutating func retire() { self.isRetired = true }

    /// It is wanted again after it was removed.
    mutating func revive(_ plan: ReplicaPlan) {
        self.isRetired = false
        self.isHalted = false
        self.successor = plan
        _ = self.takeSuccessor()
        self.backoff.reset()
        self.state = .waiting
    }

    /// By this plan it is started, once it is; there is no process of it.
    mutating func take(_ plan: ReplicaPlan) -> [Action] {
        self.successor = plan
        return self.takeSuccessor()
    }

    private mutating func takeSuccessor() -> [Action] {
        guard let plan = self.successor else { return [] }
        self.successor = nil
        self.plan = plan
        self.schedule = ReadinessSchedule(layers: plan.readiness, timing: plan.timing)
        self.backoff.policy = plan.restart
        self.wasReady = false
        return [.planTaken]
    }

    /// Starts when the dependencies are there, as if nothing had ever failed.
    private mutating func startOver() -> [Action] {
        self.backoff.reset()
        self.restarts += 1
        self.restartsAskedFor += 1
        self.state = .waiting
        return self.takeSuccessor() + [.stateChanged("restart asked for"), .backoffOver]
    }

    /// Asks the replica to end, and not to start again before a person wants it.
    mutating func halt(at now: ContinuousClock.Instant) -> [Action] {
        self.isHalted = true
        if case .failed = self.state, self.survivor == nil {
            self.state = .stopped
            return [.stateChanged(nil)]
        }
        return self.stop(at: now)
    }

    /// A person wants it again; it starts when its dependencies are there.
    mutating func resume() -> [Action] {
        guard self.isHalted, self.state == .stopped else { return [] }
        self.isHalted = false
        self.backoff.reset()
        self.state = .waiting
        return [.stateChanged("start asked for"), .backoffOver]
    }

    /// Asks the replica to end.
    mutating func stop(at now: ContinuousClock.Instant) -> [Action] {
        switch self.state {
        case .waiting, .backingOff:
            self.state = .stopped
            return [.cancel(.backoff), .stateChanged(nil)]
        case .starting(let run), .ready(let run), .unready(let run):
            return self.beginEnding(run, .stop, at: now)
        case .ending(let run, _):
            self.state = .ending(run, .stop)
            return [.stateChanged(nil)]
        case .clearing(let run, _, let lifetime):
            self.state = .clearing(run, .stop, lifetime: lifetime)
            return [.stateChanged(nil)]
        case .stopped, .failed:
            return []
        }
    }

    /// Ends the replica at once.
    mutating func kill(at now: ContinuousClock.Instant) -> [Action] {
        switch self.state {
        case .waiting, .backingOff, .stopped, .failed:
            return self.stop(at: now)
        case .starting(var run), .ready(var run), .unready(var run), .ending(var run, _):
            let wasEnding = if case .ending = self.state { true } else { false }
            let actions = wasEnding ? [] : self.beginEnding(run, .stop, at: now).filter { !$0.isSignal }
            run.killed = true
            self.state = .ending(run, .stop)
            return actions + [
                .cancel(.grace), .kill(run: run.number), .arm(.killLimit, at: now + Self.killLimit),
            ]
        case .clearing(let run, _, let lifetime):
            self.state = .clearing(run, .stop, lifetime: lifetime)
            return [.clear(run: run.number, grace: .zero)]
        }
    }
}

extension ReplicaMachine.Action {
    fileprivate var isSignal: Bool {
        if case .signal = self { true } else { false }
    }
}
