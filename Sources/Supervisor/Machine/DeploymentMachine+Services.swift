internal import Deployment

/// The servers that run outside the deployment.
///
/// What has served before waits for them when they are gone: a process that cannot reach its NATS server ends, and would be given up with the
/// whole deployment in the time in which the server is started again. What has never served is given up as without them, so that a
/// start, and the new generation of a migration, end.
extension DeploymentMachine {
    /// Takes what they said, while the deployment is not being stopped.
    mutating func servicesSeen(_ answers: [ServiceAnswer], at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping else { return [] }
        let changes = self.services.saw(answers, at: now).map(Action.service)
        return changes + self.tellWhoIsMissing(at: now)
    }

    /// The kinds of them that do not answer.
    var missingServices: [String] { self.services.missing(of: self.plan.externalServices) }

    /// They in words; nil when all answer.
    var missingServicesWords: String? { self.services.missingWords(of: self.plan.externalServices) }

    /// Those that a replica waits for, in words.
    func serverToWaitFor(_ replica: ReplicaPlan) -> String? {
        guard replica.role != .infrastructure, self.readyAfter != nil || self.isAdopted else { return nil }
        return self.missingServicesWords
    }

    /// Tells the replicas which servers they wait for, and starts those that have waited.
    mutating func tellWhoIsMissing(at now: ContinuousClock.Instant) -> [Action] {
        var actions: [Action] = []
        for index in self.replicas.indices {
            let server = self.serverToWaitFor(self.replicas[index].plan)
            actions += self.apply(index, self.replicas[index].tell(missingServer: server, at: now), at: now)
        }
        return actions + self.startWaiting(at: now)
    }
}
