internal import Deployment

/// Changing replicas one after another.
extension DeploymentMachine {
    /// So often what a change has started is looked at, beside the time in which it is started again, before it is taken back: a minute.
    private static let mostWatches = 30

    /// Begins a rollout; one that cannot begin ends at once.
    mutating func begin(_ rollout: Rollout, at now: ContinuousClock.Instant) -> [Action] {
        if self.rollout != nil { return [.rolloutEnded("another change is under way")] }
        if self.isStopping { return [.rolloutEnded("the deployment is being stopped")] }
        if rollout.startsProcesses,
            let server = self.services.missingWords(of: (rollout.target ?? self.plan).externalServices)
        {
            return [.rolloutEnded("\(server) does not answer, and what is started needs it; start it first")]
        }
        self.rollout = rollout
        return self.headForTarget(at: now) + self.startWaiting(at: now) + self.nextStep(at: now)
    }

    private mutating func headForTarget(at now: ContinuousClock.Instant) -> [Action] {
        guard let target = self.rollout?.target else { return [] }
        self.takeSettings(of: target)
        // It may need others.
        return [.planChanged(target)] + self.tellWhoIsMissing(at: now)
    }

    private mutating func nextStep(at now: ContinuousClock.Instant) -> [Action] {
        if let fault = self.rollout?.fault, let actions = self.takeBack(fault, at: now) { return actions }
        guard let step = self.rollout?.next() else { return self.watch() ?? self.endRollout(at: now) }
        let name = step.replica
        switch step {
        case .add(let plan):
            self.rollout?.began(inverse: .remove(name))
            let index = self.add(plan)
            self.rollout?.stage = .changing(run: self.replicas[index].runs)
            return [.progress(RolloutProgress(replica: name, .starting))] + self.startWaiting(at: now)
        case .shelve(let plan) where self.activeIndex(of: name) == nil:
            let index = self.add(plan)
            return self.apply(index, self.replicas[index].halt(at: now), at: now) + self.nextStep(at: now)
        case .start:
            guard let index = self.activeIndex(of: name) else { return self.nextStep(at: now) }
            // One that was put back before its turn has its new process, or is about to.
            let isBack = !self.replicas[index].isHalted
            self.rollout?.stage = .changing(run: self.replicas[index].runs - (isBack ? 1 : 0))
            if isBack { return [] }
            return [.progress(RolloutProgress(replica: name, .starting))]
                + self.apply(index, self.replicas[index].resume(), at: now)
        case .replace, .remove, .stop, .shelve:
            guard let index = self.activeIndex(of: name) else { return self.nextStep(at: now) }
            if case .replace(_, with: let successor) = step, self.rollout?.failure == nil,
                let lost = self.lostDependency(of: successor ?? self.replicas[index].plan)
            {
                // Better found before its process is ended.
                if let back = self.takeBack("\(name): \(lost.words)", cause: name, at: now) { return back }
                self.rollout = nil
                return [.rolloutEnded("\(name): \(lost.words); it was left as it is", cause: name)]
            }
            // A process that serves the public port answers what it was given before it is told to end.
            guard self.servesPublicPort(index), self.replicas[index].hasServingProcess else {
                return self.change(index, step, at: now)
            }
            self.rollout?.stage = .draining
            return [.progress(RolloutProgress(replica: name, .draining)), .release(name)]
        }
    }

    /// Looks whether what the change has started lasts, before it counts as done.
    ///
    /// A process without a probe is ready in the moment in which it is started, also when it ends in the next one; and what was ready early
    /// in the change may have ended since.
    ///
    /// - Returns: nil when there is nothing to wait for.
    private mutating func watch() -> [Action]? {
        guard self.steadyTime > .zero, let rollout, rollout.failure == nil else { return nil }
        let indexes = self.replicas.indices.filter {
            !self.replicas[$0].isRetired && rollout.renewed.contains(self.replicas[$0].plan.name)
        }
        guard indexes.contains(where: { self.replicas[$0].mayBeShortLived || !self.replicas[$0].isReadyOrDone }) else {
            return nil
        }
        let runs = indexes.map { (self.replicas[$0].plan.name, self.replicas[$0].runs) }
        self.rollout?.stage = .watching(runs: Dictionary(runs) { first, _ in first })
        return [.watch]
    }

    /// The time to watch is over.
    mutating func watched(at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping, let rollout, case .watching(let runs) = rollout.stage else { return [] }
        let lasts = runs.allSatisfy { name, run in
            self.activeIndex(of: name).map { self.replicas[$0].isReadyOrDone && self.replicas[$0].runs == run } ?? true
        }
        if lasts { return self.endRollout(at: now) }
        // One that is being started again has the time that it has after a crash, and is given up as then.
        let isStarting = runs.keys.contains { self.activeIndex(of: $0).map { self.replicas[$0].isStarting } ?? false }
        if !isStarting { self.rollout?.watches += 1 }
        if let watches = self.rollout?.watches, watches >= Self.mostWatches {
            let names = runs.keys.filter { name in
                self.activeIndex(of: name).map {
                    !self.replicas[$0].isReadyOrDone || self.replicas[$0].runs != runs[name]
                }
                    ?? false
            }
            let reason = "\(names.sorted().joined(separator: ", ")): not ready for long enough"
            if let actions = self.takeBack(reason, at: now) { return actions }
        }
        return self.watch() ?? self.endRollout(at: now)
    }

    private mutating func endRollout(at now: ContinuousClock.Instant) -> [Action] {
        let failure = self.rollout?.failure
        self.rollout = nil
        return [.rolloutEnded(failure.map { "\($0); everything runs as before" })]
            + self.replicas.indices.flatMap { self.giveUpIfLost($0, at: now) }
    }

    /// The public port has let go of a replica.
    mutating func released(_ name: String, at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping, let rollout, let step = rollout.current, step.replica == name,
            rollout.stage == .draining, let index = self.activeIndex(of: name)
        else { return [] }
        return self.changeDrained(index, step, at: now)
    }

    private mutating func changeDrained(
        _ index: Int,
        _ step: Rollout.Step,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        let actions = self.change(index, step, at: now)
        guard let fault = self.rollout?.fault, self.rollout?.mustFinishStep == false else { return actions }
        return actions + (self.takeBack(fault, at: now) ?? [])
    }

    private mutating func change(_ index: Int, _ step: Rollout.Step, at now: ContinuousClock.Instant) -> [Action] {
        let plan = self.replicas[index].plan
        let isHalted = self.replicas[index].isHalted
        self.rollout?.stage = .changing(run: self.replicas[index].runs)
        if case .remove = step {
            self.rollout?.began(inverse: isHalted ? .shelve(plan) : .add(plan))
            self.retire(index)
            return [.progress(RolloutProgress(replica: plan.name, .removing))]
                + self.apply(index, self.replicas[index].stop(at: now), at: now)
                // Nobody waits for it any more.
                + self.startWaiting(at: now)
        }
        var successor: ReplicaPlan?
        switch step {
        case .stop, .shelve:
            return [.progress(RolloutProgress(replica: plan.name, .stopping))]
                + self.apply(index, self.replicas[index].halt(at: now), at: now)
        case .replace(_, with: let new): successor = new
        default: break
        }
        let back = Rollout.Step.replace(plan.name, with: successor == nil ? nil : plan)
        self.rollout?.began(inverse: isHalted ? .shelve(plan) : back)
        return [.progress(RolloutProgress(replica: plan.name, .restarting))]
            + self.apply(index, self.replicas[index].replace(with: successor, at: now), at: now)
    }

    /// Goes on when what was changed is there, or gone.
    mutating func continueRollout(at now: ContinuousClock.Instant) -> [Action] {
        guard let rollout, let step = rollout.current, case .changing(let run) = rollout.stage else { return [] }
        switch step {
        case .remove, .stop, .shelve:
            let name = step.replica
            let isRemoval = if case .remove = step { true } else { false }
            guard let index = self.replicas.firstIndex(where: { $0.plan.name == name }), self.replicas[index].isGone
            else { return [] }
            if self.replicas[index].survivor != nil {
                // What it holds is not free, and a second copy of it would be worse.
                self.rollout = nil
                let ended: [Action] = [
                    .rolloutEnded(
                        "\(name) was \(isRemoval ? "removed" : "stopped"), and not even SIGKILL ended it; "
                            + "what was not reached is as it was"
                    )
                ]
                guard let fault = rollout.fault else { return ended }
                // It cannot be taken back any more: as without a change.
                return ended + self.fail(SupervisorOutcome.Failure(message: fault), at: now)
            }
            let end: RolloutProgress.Phase = isRemoval ? .removed : .stopped
            var actions: [Action] = [.progress(RolloutProgress(replica: name, end))]
            if case .shelve(let plan) = step { actions += self.apply(index, self.replicas[index].take(plan), at: now) }
            return actions + self.nextStep(at: now)
        case .replace, .add, .start:
            guard let index = self.activeIndex(of: step.replica) else { return [] }
            if let lost = self.lostDependency(of: index) {
                if let back = self.revert(index, lost.words, at: now) { return back }
                // On the way back that may have its turn yet; what waits in vain then is looked at when all is done.
                if let member = self.activeIndex(of: lost.name), let back = self.putBack(member, at: now),
                    !back.isEmpty
                {
                    return back
                }
                if rollout.failure != nil { return self.nextStep(at: now) }
                self.rollout = nil
                return [.rolloutEnded("\(step.replica): \(lost.words)", cause: step.replica)]
            }
            // On the way back: as a person had left it.
            if rollout.failure != nil, self.waitsForPerson(index) { return self.nextStep(at: now) }
            guard self.replicas[index].runs > run, self.replicas[index].isReadyOrDone else { return [] }
            if let reason = self.brokenPromise(of: index) {
                if let back = self.revert(index, reason, at: now) { return back }
                if rollout.failure != nil { return self.nextStep(at: now) }
                self.rollout = nil
                return [.rolloutEnded("\(step.replica): \(reason)", cause: step.replica)]
            }
            let replica = self.replicas[index]
            if self.confirmsWorkers, replica.plan.role == .worker, !replica.isDone {
                self.rollout?.stage = .confirming(run: run)
                return [.confirm(replica.plan, run: replica.runs)]
            }
            return self.stepIsReady(step, at: now)
        }
    }

    private mutating func stepIsReady(_ step: Rollout.Step, at now: ContinuousClock.Instant) -> [Action] {
        self.rollout?.hasRenewed(step.replica)
        return [.progress(RolloutProgress(replica: step.replica, .ready))] + self.nextStep(at: now)
    }

    /// Those that send requests know a replica.
    mutating func confirmed(_ name: String, run: Int, at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping, let rollout, let step = rollout.current, step.replica == name,
            case .confirming(let old) = rollout.stage, let index = self.activeIndex(of: name)
        else { return [] }
        guard self.replicas[index].runs == run, self.replicas[index].isReadyOrDone else {
            // It ended meanwhile; the process after it must be known, too.
            self.rollout?.stage = .changing(run: old)
            return []
        }
        return self.stepIsReady(step, at: now)
    }

    /// A replica that is being changed, or was, cannot become ready or does not stay so: what was done is taken back.
    ///
    /// - Returns: nil when there is nothing to go back to.
    mutating func revert(_ index: Int, _ reason: String, at now: ContinuousClock.Instant) -> [Action]? {
        let name = self.replicas[index].plan.name
        guard let rollout, self.replicas[index].survivor == nil else { return nil }
        if let step = rollout.current, step.replica == name {
            // It had not been touched yet, and is about to get a new process anyway.
            if rollout.stage == .draining { return self.changeDrained(index, step, at: now) }
        } else {
            if let back = self.putBack(index, at: now) { return back }
            guard rollout.renewed.contains(name) else { return nil }
            if rollout.mustFinishStep, rollout.canGoBack {
                self.rollout?.fault = rollout.fault ?? "\(name): \(reason)"
                return []
            }
        }
        return self.takeBack("\(name): \(reason)", cause: name, at: now)
    }

    /// Gives a replica what it had before, before its turn on the way back: whose turn it is may wait for it.
    ///
    /// - Returns: nil when it has no turn to come.
    private mutating func putBack(_ index: Int, at now: ContinuousClock.Instant) -> [Action]? {
        let name = self.replicas[index].plan.name
        switch self.rollout?.takeTurn(of: name) {
        case nil: return nil
        case .away: return []
        case .back(let plan):
            return [.progress(RolloutProgress(replica: name, .restarting))]
                + self.apply(index, self.replicas[index].replace(with: plan, at: now), at: now)
        }
    }

    private mutating func takeBack(
        _ reason: String,
        cause: String? = nil,
        at now: ContinuousClock.Instant
    ) -> [Action]? {
        let fallen = self.rollout?.renewed.filter { name in
            self.activeIndex(of: name).map { !self.replicas[$0].isReadyOrDone } ?? false
        }
        guard let back = self.rollout?.reverted(reason, fallen: fallen ?? []) else { return nil }
        self.rollout = back
        var actions: [Action] = [.progress(RolloutProgress(.reverting, reason: back.failure, cause: cause))]
        // What waits would be started once more as it was to be, when its turn is not the next.
        for index in self.replicas.indices where self.replicas[index].isWaiting && !self.replicas[index].isRetired {
            if case .back(let plan) = self.rollout?.takeTurn(of: self.replicas[index].plan.name) {
                actions += self.replicas[index].take(plan).map { .replica(index, $0) }
            }
        }
        self.arrange()
        return actions + self.headForTarget(at: now) + self.startWaiting(at: now) + self.nextStep(at: now)
    }

    /// A replica that was started anew does not become ready, and is tried for ever.
    ///
    /// What was done to follow another plan is taken back; a restart ends here, and its replica is tried further.
    mutating func giveUpWaiting(_ index: Int, _ reason: String, at now: ContinuousClock.Instant) -> [Action] {
        let name = self.replicas[index].plan.name
        guard let rollout else { return [] }
        if rollout.current?.replica != name, let back = self.putBack(index, at: now) { return back }
        if rollout.renewed.contains(name), rollout.current?.replica != name {
            return self.revert(index, reason, at: now) ?? []
        }
        guard rollout.current?.replica == name, let run = rollout.stage.run, self.replicas[index].runs > run
        else { return [] }
        if let back = self.revert(index, reason, at: now) { return back }
        self.rollout = nil
        return [.rolloutEnded("\(name): \(reason); it is tried further", cause: name)]
    }

    /// The deployment is being stopped, so nothing more comes of it.
    mutating func abandonRollout() -> [Action] {
        guard self.rollout != nil else { return [] }
        self.rollout = nil
        return [.rolloutEnded(self.failure?.message ?? "the deployment is being stopped")]
    }

    func activeIndex(of name: String) -> Int? {
        self.replicas.firstIndex { !$0.isRetired && $0.plan.name == name }
    }

    /// Whether the launcher sends it requests of the public port.
    private func servesPublicPort(_ index: Int) -> Bool {
        self.plan.gateway != nil && self.replicas[index].plan.role == .frontend
    }
}
