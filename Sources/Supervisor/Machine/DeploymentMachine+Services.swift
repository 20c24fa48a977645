internal import Deployment

/// The servers that run outside the deployment.
extension DeploymentMachine {
    /// Takes what they said, while the deployment is not being stopped.
    mutating func servicesSeen(_ answers: [ServiceAnswer], at now: ContinuousClock.Instant) -> [Action] {
        guard !self.isStopping else { return [] }
        return self.services.saw(answers, at: now).map(Action.service)
    }

    /// The kinds of them that do not answer.
    var missingServices: [String] { self.services.missing(of: self.plan.externalServices) }
}
