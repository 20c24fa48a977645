internal import Deployment

/// Changing replicas one after another.
extension DeploymentMachine {
    /// Begins a rollout; one that cannot begin ends at once.
    mutating func begin(_ rollout: Rollout, at now: ContinuousClock.Instant) -> [Action] {
        if self.rollout != nil { return [.rolloutEnded("another change is under way")] }
        if self.isStopping { return [.rolloutEnded("the deployment is being stopped")] }
        self.rollout = rollout
        return self.nextStep(at: now)
    }

    private mutating func nextStep(at now: ContinuousClock.Instant) -> [Action] {
        guard let step = self.rollout?.next() else {
            self.rollout = nil
            return [.rolloutEnded(nil)]
        }
        let index = step.replica
        // A process that serves the public port answers what it was given before it is told to end.
        guard self.servesPublicPort(index), self.replicas[index].hasServingProcess else {
            return self.change(index, at: now)
        }
        self.rollout?.stage = .draining
        return [.progress(index, .draining), .release(index)]
    }

    /// The public port has let go of a replica.
    mutating func released(_ index: Int, at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping, let rollout, rollout.current?.replica == index, rollout.stage == .draining else {
            return []
        }
        return self.change(index, at: now)
    }

    private mutating func change(_ index: Int, at now: ContinuousClock.Instant) -> [Action] {
        self.rollout?.stage = .changing(run: self.replicas[index].runs)
        return [.progress(index, .restarting)] + self.apply(index, self.replicas[index].replace(at: now), at: now)
    }

    /// Goes on when what was changed is there.
    mutating func continueRollout(at now: ContinuousClock.Instant) -> [Action] {
        guard let rollout, let index = rollout.current?.replica, case .changing(let run) = rollout.stage else {
            return []
        }
        guard self.replicas[index].runs > run, self.replicas[index].isReadyOrDone else { return [] }
        return [.progress(index, .ready)] + self.nextStep(at: now)
    }

    /// The deployment is being stopped, so nothing more comes of it.
    mutating func abandonRollout() -> [Action] {
        guard self.rollout != nil else { return [] }
        self.rollout = nil
        return [.rolloutEnded(self.failure?.message ?? "the deployment is being stopped")]
    }

    /// Whether the launcher sends it requests of the public port.
    func servesPublicPort(_ index: Int) -> Bool {
        self.plan.gateway != nil && self.replicas[index].plan.role == .frontend
    }
}
