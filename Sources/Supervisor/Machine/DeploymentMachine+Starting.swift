internal import Deployment

/// What may be started, and whether all is.
extension DeploymentMachine {
    /// Whether nothing is left that the start has to wait for.
    var hasStarted: Bool {
        self.replicas.indices.allSatisfy {
            self.replicas[$0].isRetired || self.replicas[$0].isSettled || self.waitsForPerson($0)
        }
    }

    /// Whether it is ready, but for what discovery has to say.
    var mayBeReady: Bool { self.hasStarted && self.services.answer(of: self.plan.externalServices) }

    mutating func startWaiting(at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping else { return [] }
        var actions: [Action] = []
        for index in self.replicas.indices
        where self.replicas[index].isWaiting && self.replicas[index].missingServer == nil {
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

    /// Why a replica that waits will never be started: one that it waits for has done its work before it had reached the layer.
    func lostDependency(of index: Int) -> (name: String, words: String)? {
        self.replicas[index].isWaiting ? self.lostDependency(of: self.replicas[index].plan) : nil
    }

    /// The same of one that is to be started by a plan.
    func lostDependency(of replica: ReplicaPlan) -> (name: String, words: String)? {
        for dependency in replica.dependencies {
            for member in self.members[dependency.process] ?? []
            where self.replicas[member].isDone && !self.replicas[member].satisfies(dependency.layer) {
                let name = self.replicas[member].plan.name
                let exit = self.replicas[member].lastExit ?? "exit code 0"
                return (
                    name,
                    "it waits for \(name) to reach \(dependency.layer.rawValue), and that had ended (\(exit)) before it had"
                )
            }
        }
        return nil
    }

    /// Why others would wait in vain for a replica that has done its work; those count that are to run.
    func brokenPromise(of index: Int) -> String? {
        guard self.replicas[index].isDone else { return nil }
        let process = self.replicas[index].plan.process
        for dependent in self.rollout?.target?.replicas ?? self.activePlan.replicas {
            for dependency in dependent.dependencies
            where dependency.process == process && !self.replicas[index].satisfies(dependency.layer) {
                let exit = self.replicas[index].lastExit ?? "exit code 0"
                return
                    "ended (\(exit)) before it reached \(dependency.layer.rawValue), which \(dependent.name) waits for"
            }
        }
        return nil
    }

    /// Whether a replica waits, directly or not, for one that a person has stopped.
    func waitsForPerson(_ index: Int) -> Bool {
        guard self.replicas[index].isWaiting, self.missingDependency(of: index) != nil else { return false }
        let halted = Set(self.replicas.filter { $0.isHalted && !$0.isRetired }.map(\.plan.process))
        guard !halted.isEmpty else { return false }
        return Rollout.dependents(of: halted, in: self.activePlan.replicas).contains(self.replicas[index].plan.process)
    }
}
