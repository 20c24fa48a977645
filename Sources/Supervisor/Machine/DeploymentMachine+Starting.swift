internal import Deployment

/// What may be started, and whether all is.
extension DeploymentMachine {
    /// Whether nothing is left that the start has to wait for.
    var hasStarted: Bool { self.replicas.allSatisfy { $0.isRetired || $0.isSettled } }

    mutating func startWaiting(at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping else { return [] }
        var actions: [Action] = []
        for index in self.replicas.indices where self.replicas[index].isWaiting {
            guard self.missingDependency(of: index) == nil else { continue }
            actions += self.apply(index, self.replicas[index].start(at: now), at: now)
        }
        return actions
    }

    /// The first dependency of a replica that is not there yet.
    func missingDependency(of index: Int) -> Dependency? {
        self.replicas[index].plan.dependencies.first { dependency in
            guard let members = self.members[dependency.process] else { return false }
            return !members.allSatisfy { self.replicas[$0].satisfies(dependency.layer) }
        }
    }
}
