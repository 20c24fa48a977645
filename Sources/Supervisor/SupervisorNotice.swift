package import Deployment

/// Something that happened and that a person watching `up` wants to see.
package enum SupervisorNotice: Sendable, Hashable {
    /// A replica was started.
    case started(replica: String, pid: Int32)
    /// A replica that an earlier launcher had started so many seconds ago goes on under this one.
    case adopted(replica: String, pid: Int32, seconds: Double)
    /// A replica came to another state; the detail says why, when there is a reason.
    case replicaState(replica: String, state: ReplicaStatus.State, detail: String?)
    /// A replica reached a readiness layer, so many seconds after it was started.
    case layerReached(replica: String, layer: ReadinessLayer, seconds: Double)
    /// A replica has been waiting for a layer for so long; the reason is what the probe said last.
    case stuck(replica: String, layer: ReadinessLayer, seconds: Double, reason: String?, lastLines: [String])
    /// A replica was told to end so many seconds ago, still runs, and is killed when so many more have passed.
    case holding(replica: String, pid: Int32, signal: String, seconds: Double, left: Double)
    /// A replica said what it does, on its `NOTIFY_SOCKET`.
    case said(replica: String, String)
    /// A person had a signal sent to the process of a replica.
    case signalled(replica: String, pid: Int32, signal: String)
    /// The process of a replica ended, asked to or not; what it has left behind may still be there.
    case ended(replica: String)
    /// A replica ended that was not asked to; its output was read to the end.
    case exited(replica: String, exit: String, lastLines: [String])
    /// A replica is started again after a delay; `maximum` is nil when it is never given up.
    case restarting(replica: String, reason: String, delay: Double, restart: Int, maximum: Int?)
    /// Ports of a replica turned out to be taken; in words, who has them and what it gets instead.
    case portsRenewed(replica: String, String)
    /// The first exit ends the deployment, as asked for.
    case firstExit(replica: String, code: Int32)
    /// The deployment serves, so many seconds after it was started; the model is the one that was asked for a token.
    case ready(seconds: Double, model: String?)
    /// The deployment is being changed to match another plan, or, when that failed, the one before again.
    case planChanged(Plan, isWayBack: Bool)
    /// The deployment was to be changed to match a plan, and does so already.
    case planUnchanged
    /// From its next start on a replica is what this says.
    case replicaPlanned(ReplicaPlan)
    /// That is done; with the reason when it was not.
    case changeEnded(String?)
    /// Every replica is ready again.
    case recovered
    /// The deployment was ready; a replica is not any more, or a server that runs outside the deployment does not answer.
    case degraded(missing: [String])
    /// A server that runs outside the deployment does not answer any more.
    case serviceLost(name: String, url: String, reason: String)
    /// It answers again, so many seconds after it was first seen not to.
    case serviceBack(name: String, url: String, seconds: Double)
    /// Something that needs a person, said once.
    case warning(String)
    /// The deployment is given up, for this reason; everything is being stopped.
    case failed(String)
    /// Stopping has begun.
    case stopping(now: Bool)
}

/// How a deployment ended.
package struct SupervisorOutcome: Sendable, Hashable {
    package enum Reason: String, Sendable, Hashable {
        /// A person or a program asked for it.
        case requested
        /// See `failure`.
        case failed
        /// `exitOnFirst`: the first exit ended it.
        case firstExit
        /// Every process has done its work.
        case completed
    }

    /// What the deployment failed of.
    package struct Failure: Sendable, Hashable {
        /// The replica at fault, when it is one.
        package var replica: String?
        /// Its exit in words.
        package var exit: String?
        package var logFile: String?
        /// The last lines that it wrote.
        package var lastLines: [String]
        /// The whole in one sentence: what, why, and where its log is.
        package var message: String

        package init(
            replica: String? = nil,
            exit: String? = nil,
            logFile: String? = nil,
            lastLines: [String] = [],
            message: String
        ) {
            self.replica = replica
            self.exit = exit
            self.logFile = logFile
            self.lastLines = lastLines
            self.message = message
        }
    }

    /// What the program should exit with.
    package var exitCode: Int32
    package var reason: Reason
    package var failure: Failure?
    /// Processes that could not be ended.
    package var survivors: [Survivor]

    package init(exitCode: Int32, reason: Reason, failure: Failure? = nil, survivors: [Survivor] = []) {
        self.exitCode = exitCode
        self.reason = reason
        self.failure = failure
        self.survivors = survivors
    }

    /// A deployment that could not be run.
    package init(failedBecause message: String) {
        self.init(exitCode: 1, reason: .failed, failure: Failure(message: message))
    }
}

/// How a deployment is supervised.
package struct SupervisorOptions: Sendable, Hashable {
    /// The first replica that ends, however, ends the deployment, and its code becomes the outcome's.
    package var exitOnFirst: Bool
    /// When the deployment was started; nil: with this generation of it.
    package var deploymentStart: ContinuousClock.Instant?
    /// The verification after all replicas are ready may take so many seconds.
    package var verificationTimeout: Double
    /// How many probes may be under way at the same time.
    package var concurrentProbes: Int
    /// Tells who holds memory of GPUs; nil: nobody is asked.
    package var gpuTool: GPUTool?
    /// How long a replica that had GPUs waits, before it is started again, for the memory that its last run had.
    package var gpuMemoryLimit: Duration

    package init(
        exitOnFirst: Bool = false,
        deploymentStart: ContinuousClock.Instant? = nil,
        verificationTimeout: Double = 30,
        concurrentProbes: Int = 32,
        gpuTool: GPUTool? = nil,
        gpuMemoryLimit: Duration = .seconds(30)
    ) {
        self.exitOnFirst = exitOnFirst
        self.deploymentStart = deploymentStart
        self.verificationTimeout = verificationTimeout
        self.concurrentProbes = concurrentProbes
        self.gpuTool = gpuTool
        self.gpuMemoryLimit = gpuMemoryLimit
    }
}
