internal import Deployment

/// What the machine is told, and what it answers.
extension DeploymentMachine {
    enum Event: Sendable, Equatable {
        case begin
        case adopted(replica: Int, Adopted)
        case portsTaken([String])
        case spawned(replica: Int, run: Int, pid: Int32)
        case notStarted(replica: Int, run: Int, reason: String, permanent: Bool)
        case exited(replica: Int, run: Int, ProcessExit)
        case cleared(replica: Int, run: Int)
        case probeFinished(replica: Int, run: Int, index: Int, ProbeOutcome)
        case logMatched(replica: Int, run: Int, index: Int)
        case notified(replica: Int, run: Int, NotifyMessage)
        case timerFired(replica: Int, ReplicaMachine.Timer)
        /// The discovery entries were compared with the plan; each text is one mismatch.
        case verified([String])
        /// Discovery has entries that contradict the plan, seen before all replicas were ready.
        case contradictionsFound([String])
        case stopRequested(now: Bool)
        case keeperLost(String)
        /// A replica gets other ports, and so others that have not been started are others too.
        case portsRenewed(replica: Int, run: Int, ReplicaPlan, others: [Int: ReplicaPlan], reason: String)
        case rolloutRequested(Rollout)
        /// The public port sends a replica nothing any more, and the replica has answered what it was given.
        case released(String)
        /// Those that send requests know a worker that was started, or have been waited for long enough.
        case confirmed(String, run: Int)
        /// The public port has answered what it had and is closed.
        case publicPortClosed
        /// ``steadyTime`` is over since `watch`.
        case watched
        /// The servers that run outside the deployment were asked.
        case servicesSeen([ServiceAnswer])
    }

    enum Action: Equatable {
        case replica(Int, ReplicaMachine.Action)
        /// Answered by `verified`.
        case verify
        /// Answered by `contradictionsFound`, if there are any.
        case lookForContradictions
        case ready(seconds: Double)
        case recovered
        /// Replicas, and servers that run outside the deployment.
        case degraded(missing: [String])
        case service(ServiceWatch.Change)
        /// Answered by `servicesSeen`: a process that has ended may have lost them.
        case askServices
        case firstExit(replica: Int, code: Int32)
        case failed(SupervisorOutcome.Failure)
        case stopping(now: Bool)
        case finish(SupervisorOutcome)
        /// Answered by `released`.
        case release(String)
        /// Answered by `confirmed`.
        case confirm(ReplicaPlan, run: Int)
        /// Answered by `watched`.
        case watch
        /// Answered by `publicPortClosed`.
        case closePublicPort
        case progress(RolloutProgress)
        /// The deployment is on its way to this plan.
        case planChanged(Plan)
        /// With the reason when it was not done, and the replica that this is about.
        case rolloutEnded(String?, cause: String? = nil)
    }
}
