internal import Deployment

/// Everything that can happen to a supervised deployment.
///
/// One loop takes them one by one.
enum SupervisorEvent: Sendable {
    case keeper(KeeperReport)
    case keeperEnded(String)
    case log(LogPump.Event)
    case probeFinished(replica: Int, run: Int, index: Int, ProbeOutcome)
    /// A deadline has come.
    case wake
    case strays([Stray])
    /// The keeper is gone and what it left behind was killed.
    case abandonedKilled(survivors: [Stray])
    /// The processes of a replica, with their start times.
    case processesSeen(replica: Int, leader: Int32, [Int32: UInt64])
    /// Who of a run that has ended holds memory of GPUs; nil: nobody tells.
    case memorySeen(replica: Int, run: Int, [GPUTool.User]?)
    /// The plan with other ports in the place of those that are taken.
    case portsRenewed(replica: Int, run: Int, [TakenPort], Result<Plan, ReplanFailure>)
    /// The model that serves, and what of discovery contradicts the plan.
    case verified([String], model: String?)
    /// The model that serves after a change; nil when nobody said it.
    case modelSeen(String?)
    case contradictionsFound([String])
    case warning(String)
    case stop(now: Bool)
    /// Asks for the status: at once, or when ready, failed or stopped, or at the latest after the limit.
    case status(StatusQuery)
    case order(OrderRequest)
    case signal(SignalRequest)
    case apply(ApplyRequest)
    /// The public port sends a replica nothing any more, and the replica has answered what it was given.
    case released(String)
    /// Those that send requests know a worker that was started, or what is wrong was seen for long enough.
    case confirmed(String, run: Int, troubles: [String])
    case publicPortClosed
    /// The servers that run outside the deployment were asked.
    case servicesSeen([ServiceAnswer])
}

/// Somebody who waits for a status.
struct StatusQuery: Sendable {
    enum Moment: Sendable, Hashable {
        case now
        case readyOrEnded
        /// It was ready once, whatever it lacks by now, or has failed or ended.
        case settled
        case ended
    }

    var moment: Moment
    var limit: Duration?
    /// Nil when there is no deployment to speak of any more, or not yet.
    var reply: @Sendable (DeploymentStatus?) -> Void

    /// Asks the loop.
    ///
    /// - Parameters:
    ///   - sender: of the loop's events.
    ///   - moment: when it answers.
    ///   - limit: the longest wait; the status is then as it is.
    /// - Returns: the status; nil when the loop has ended.
    static func ask(
        _ sender: AsyncStream<SupervisorEvent>.Continuation,
        _ moment: Moment,
        limit: Duration?
    ) async -> DeploymentStatus? {
        await withCheckedContinuation { continuation in
            let query = StatusQuery(moment: moment, limit: limit) { continuation.resume(returning: $0) }
            if case .terminated = sender.yield(.status(query)) { continuation.resume(returning: nil) }
        }
    }
}
