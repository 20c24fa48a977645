internal import Deployment

/// What deadlines mean.
extension ReplicaMachine {
    mutating func timerFired(_ timer: Timer, at now: ContinuousClock.Instant) -> [Action] {
        switch (timer, self.state) {
        case (.probe, .starting(let run)):
            return run.pid == nil ? [] : self.advance(run, at: now)
        case (.probe, .ready(var run)), (.probe, .unready(var run)):
            guard let first = self.schedule.steady.first else { return [] }
            run.steadyPosition = 0
            self.keep(run)
            return [.probe(run: run.number, index: first)]
        case (.startup, .starting(let run)):
            return self.startupTimedOut(run, at: now)
        case (.stuck, .starting(let run)):
            guard run.next < self.schedule.layers.count else { return [] }
            let waited = now - run.waitingSince
            let layer = self.schedule.layers[run.next].layer
            return [
                .stuck(layer: layer, seconds: waited.inSeconds, reason: run.lastReason ?? run.status),
                .arm(.stuck, at: now + max(waited, Self.stuckAfter)),
            ]
        case (.holding, .ending(let run, _)):
            guard !run.killed, let since = run.endingSince else { return [] }
            let waited = now - since
            let left = self.plan.stop.grace - waited.inSeconds
            guard left > 0 else { return [] }
            return [
                .holding(seconds: waited.inSeconds, left: left),
                .arm(.holding, at: now + max(waited, Self.holdingAfter)),
            ]
        case (.grace, .ending(var run, let ending)):
            run.killed = true
            self.state = .ending(run, ending)
            let grace = self.plan.stop.grace.shortWords
            let warning = "\(self.plan.name) did not end within \(grace) s of \(self.plan.stop.signalName); killing it"
            return [.warning(warning), .kill(run: run.number), .arm(.killLimit, at: now + Self.killLimit)]
        case (.killLimit, .ending(let run, _)):
            let limit = Self.killLimit.inSeconds.shortWords
            let command = self.plan.masked.commandLine
            self.survivor = Survivor(replica: self.plan.name, pid: run.pid ?? 0, command: command)
            self.state = .failed("pid \(run.pid ?? 0) is still there \(limit) s after SIGKILL")
            return [.stateChanged("cannot be killed")]
        case (.backoff, .backingOff):
            // Started by the deployment, at once if its dependencies are there: what it needs may have ended too.
            self.restarts += 1
            self.state = .waiting
            let wait = self.missingServer.map { [Action.stateChanged("it is started again when \($0) answers")] }
            return (wait ?? []) + [.backoffOver]
        case (.probe, _), (.startup, _), (.stuck, _), (.holding, _), (.grace, _), (.killLimit, _),
            (.backoff, _):
            return []
        }
    }

    private mutating func startupTimedOut(_ run: Run, at now: ContinuousClock.Instant) -> [Action] {
        guard run.next < self.schedule.layers.count else { return [] }
        // It gets its time anew when the server is back.
        guard self.missingServer == nil else { return [] }
        let layer = self.schedule.layers[run.next].layer.rawValue
        let limit = (self.schedule.timing.startupTimeout ?? 0).shortWords
        let said = (run.lastReason ?? run.status).map { ": \($0)" } ?? ""
        let cause = "layer \(layer) not reached within \(limit) s\(said)"
        if self.schedule.isOwn(run.next) {
            if self.plan.restart.condition == .never { return [.hopeless(cause)] }
            return self.beginEnding(run, .restart(cause), at: now)
        }
        // What is missing is not this process's own work, so starting it again would not help.
        return self.wasReady
            ? [.warning("\(self.plan.name): \(cause); still waiting"), .late(cause)] : [.hopeless(cause)]
    }

    /// Servers that run outside the deployment do not answer, or do again.
    ///
    /// What has failed meanwhile does not count against the replica.
    mutating func tell(missingServer: String?, at now: ContinuousClock.Instant) -> [Action] {
        let wasMissing = self.missingServer != nil
        self.missingServer = missingServer
        guard wasMissing, missingServer == nil else { return [] }
        self.backoff.reset()
        switch self.state {
        case .starting:
            return self.schedule.timing.startupTimeout.map { [.arm(.startup, at: now + .seconds($0))] } ?? []
        case .ready(var run), .unready(var run):
            run.failedOwnRounds = 0
            self.keep(run)
            return []
        case .waiting, .ending, .clearing, .backingOff, .stopped, .failed:
            return []
        }
    }
}
