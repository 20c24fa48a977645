package import Deployment

/// What `status` shows: the whole deployment at one moment.
///
/// Also the JSON of the control interface.
package struct DeploymentStatus: Sendable, Hashable, Codable {
    /// The deployment as a whole.
    package enum State: String, Sendable, Hashable, Codable {
        case starting
        case ready
        /// Was ready; a replica is not any more, and is being restarted, or a server outside the deployment does not answer.
        case degraded
        case stopping
        case stopped
        /// Given up; see `failure`.
        case failed
    }

    package var deployment: String
    /// Which generation it is; each migration makes another one.
    package var generation: Int
    package var state: State
    /// Why the deployment failed, in one sentence that names the process, its exit and its log.
    package var failure: String?
    package var planes: PlaneSet
    package var namespace: String
    package var url: String
    /// The model that the readiness request was answered by.
    package var model: String?
    package var manifest: String?
    package var launcherPID: Int32
    /// Seconds since the deployment was started.
    package var uptime: Double
    /// Seconds from start to ready; nil before.
    package var readyAfter: Double?
    package var replicas: [ReplicaStatus]
    /// The servers outside the deployment that it needs; nil: its launcher does not say.
    package var externalServices: [ExternalServiceStatus]?
    /// What happens at the public port; nil when a frontend has it.
    package var gateway: GatewayReport?
    /// The migration that is under way, or the last one since the launcher started; nil when there was none.
    package var migration: MigrationStatus?
    /// Conditions that need a person, such as a full disk for logs.
    package var warnings: [String]
    /// When the deployment has ended: processes that could not be killed.
    package var survivors: [Survivor]

    /// Adds what the running processes use.
    ///
    /// Reads /proc.
    mutating func measure() {
        let uses = ProcessUse.measure(Set(self.replicas.compactMap(\.pid)))
        for index in self.replicas.indices {
            let use = self.replicas[index].pid.flatMap { uses[$0] }
            self.replicas[index].cpuSeconds = use?.cpuSeconds
            self.replicas[index].memoryBytes = use?.memoryBytes
        }
    }
}

/// One replica at one moment.
package struct ReplicaStatus: Sendable, Hashable, Codable {
    /// The replica's life.
    package enum State: String, Sendable, Hashable, Codable {
        /// Its dependencies are not there yet.
        case waiting
        case starting
        case ready
        /// Was ready; its probes fail.
        case unready
        case backingOff = "backing-off"
        /// Is being ended because a person asked for a new process.
        case restarting
        case stopping
        /// Ended as it should.
        case stopped
        /// Will not be started again.
        case failed
    }

    package var name: String
    package var process: String
    package var role: Role
    package var state: State
    /// Of the running process, or of one that cannot be killed.
    package var pid: Int32?
    /// The highest layer reached by the running process.
    package var layer: ReadinessLayer?
    /// Seconds from the start of the process to each layer.
    package var reached: [LayerReached]
    /// The layer that is being waited for, and what its probe said last.
    package var waitingFor: String?
    /// What the process itself says that it does, on its `NOTIFY_SOCKET`.
    package var says: String?
    package var restarts: Int
    /// How many of these a person has asked for, or a change; nil: its launcher does not say.
    package var restartsAskedFor: Int?
    /// The last exit in words, for example `exit code 3` or `killed by SIGKILL`.
    package var lastExit: String?
    package var ports: [PortPlan]
    /// Its devices, as its environment names them; nil: none.
    package var gpus: [String]?
    package var logFile: String
    package var uptime: Double?
    /// Processor time of the running process and of all that it has started, since its start; nil when nobody asked for it.
    package var cpuSeconds: Double?
    /// Resident memory of the same; nil when nobody asked for it.
    package var memoryBytes: Int?
    /// The KV events that the launcher publishes for it; nil when it does not.
    package var kvEvents: KVRelayStatus?
}

/// A server outside the deployment that it needs, at one moment.
package struct ExternalServiceStatus: Sendable, Hashable, Codable {
    /// `nats`, `etcd`, or `etcd-0`, `etcd-1` ...
    package var name: String
    /// Without passwords.
    package var url: String
    /// Why it does not answer; nil: it does.
    package var failure: String?
    /// Seconds since it was first seen not to answer; nil: it does.
    package var silentFor: Double?

    package init(name: String, url: String, failure: String? = nil, silentFor: Double? = nil) {
        self.name = name
        self.url = url
        self.failure = failure
        self.silentFor = silentFor
    }
}

/// When a layer was reached.
package struct LayerReached: Sendable, Hashable, Codable {
    package var layer: ReadinessLayer
    /// Seconds since the process was started.
    package var seconds: Double

    package init(layer: ReadinessLayer, seconds: Double) {
        self.layer = layer
        self.seconds = seconds
    }
}
