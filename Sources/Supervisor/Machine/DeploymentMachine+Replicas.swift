internal import Deployment

/// Which replicas there are: they come and go when the deployment is changed, and keep their index.
extension DeploymentMachine {
    /// Takes note of plans that came, changed or went.
    mutating func arrange() {
        self.plan.replicas = self.replicas.map(\.plan)
        self.levels = DeploymentTimes.levels(of: self.plan.replicas)
        self.members = Dictionary(grouping: self.replicas.indices.filter { !self.replicas[$0].isRetired }) {
            self.replicas[$0].plan.process
        }
    }

    /// A replica that waits for its dependencies, in the place of one of its name that was removed, if there was one.
    mutating func add(_ replica: ReplicaPlan) -> Int {
        defer { self.arrange() }
        if let index = self.replicas.firstIndex(where: { $0.isRetired && $0.plan.name == replica.name }) {
            self.replicas[index].revive(replica)
            return index
        }
        self.replicas.append(ReplicaMachine(plan: replica, seed: self.generator.next()))
        self.replicas[self.replicas.count - 1].missingServer = self.serverToWaitFor(replica)
        return self.replicas.count - 1
    }

    /// Nobody waits for the replica or counts on it any more.
    mutating func retire(_ index: Int) {
        self.replicas[index].retire()
        self.arrange()
    }

    /// Everything of a plan but its replicas, and what those wait for that stay as they are.
    mutating func takeSettings(of plan: Plan) {
        let reordered = Set(PlanChange(from: self.activePlan, to: plan).reordered)
        for replica in plan.replicas where reordered.contains(replica.name) {
            guard let index = self.activeIndex(of: replica.name) else { continue }
            self.replicas[index].plan.dependencies = replica.dependencies
        }
        self.plan = plan
        self.arrange()
    }

    /// The plan as it is now, without what was removed.
    var activePlan: Plan {
        var plan = self.plan
        plan.replicas = self.replicas.filter { !$0.isRetired }.map(\.plan)
        return plan
    }
}
