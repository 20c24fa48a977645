/// What a process is for.
package enum Role: String, Sendable, Hashable, Codable, CaseIterable {
    case frontend, router, worker, infrastructure
}

/// One running copy of a process: everything that is needed to start, probe, restart and stop it.
package struct ReplicaPlan: Sendable, Hashable, Codable {
    /// The manifest's name of the process.
    package var process: String
    /// 0 for the first replica.
    package var index: Int
    /// The name for people, logs and commands: `worker`, or `worker-1` when the process has several replicas.
    package var name: String
    package var role: Role
    /// Absolute path of the program.
    package var executable: String
    /// argv without argv[0].
    package var arguments: [String]
    /// The whole environment of the replica, sorted by name: nothing else is inherited.
    package var environment: [EnvironmentVariable]
    /// Variables of the caller's shell that were removed, with the reason.
    package var unset: [UnsetVariable]
    /// Absolute path.
    package var workingDirectory: String
    package var ports: [PortPlan]
    /// Those of its ports that the launcher opens and passes to each of its processes.
    package var listens: [ListenPlan]
    /// Device identifiers, as given to `CUDA_VISIBLE_DEVICES`.
    package var gpus: [String]
    /// The engine's own KV events, which the launcher publishes for this replica.
    package var kvEvents: KVRelayPlan?
    /// nil: the launcher's own.
    package var limits: ProcessLimits?
    /// What must be true before this replica is started.
    package var dependencies: [Dependency]
    /// The layers that this replica passes on its way to ready, lowest first; never empty.
    package var readiness: [LayerProbe]
    package var timing: ProbeTiming
    package var restart: RestartPolicy
    package var stop: StopPlan
    /// Where the process stands in the manifest, `file:line:column`, for messages.
    package var origin: String?

    package init(
        process: String,
        index: Int = 0,
        name: String,
        role: Role,
        executable: String,
        arguments: [String] = [],
        environment: [EnvironmentVariable] = [],
        unset: [UnsetVariable] = [],
        workingDirectory: String,
        ports: [PortPlan] = [],
        listens: [ListenPlan] = [],
        gpus: [String] = [],
        kvEvents: KVRelayPlan? = nil,
        limits: ProcessLimits? = nil,
        dependencies: [Dependency] = [],
        readiness: [LayerProbe] = [LayerProbe(layer: .alive, probe: .process)],
        timing: ProbeTiming = ProbeTiming(),
        restart: RestartPolicy = RestartPolicy(),
        stop: StopPlan = StopPlan(),
        origin: String? = nil
    ) {
        self.process = process
        self.index = index
        self.name = name
        self.role = role
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.unset = unset
        self.workingDirectory = workingDirectory
        self.ports = ports
        self.listens = listens
        self.gpus = gpus
        self.kvEvents = kvEvents
        self.limits = limits
        self.dependencies = dependencies
        self.readiness = readiness
        self.timing = timing
        self.restart = restart
        self.stop = stop
        self.origin = origin
    }
}

/// A variable of a replica's environment.
package struct EnvironmentVariable: Sendable, Hashable, Codable {
    /// Who decided the value.
    package enum Source: String, Sendable, Hashable, Codable {
        /// Derived by the launcher from the plane set, the ports or the devices.
        case derived
        /// Written in the manifest.
        case manifest
        /// Taken from the caller's environment.
        case inherited
    }

    package var name: String
    package var value: String
    package var source: Source
    /// The value must not be shown in `plan`, `status` or the files beside the logs.
    package var secret: Bool

    package init(name: String, value: String, source: Source, secret: Bool = false) {
        self.name = name
        self.value = value
        self.source = source
        self.secret = secret
    }
}

/// A variable that the caller's shell has and the replica does not get.
package struct UnsetVariable: Sendable, Hashable, Codable {
    package var name: String
    package var reason: String

    package init(name: String, reason: String) {
        self.name = name
        self.reason = reason
    }
}

/// A port of a replica.
package struct PortPlan: Sendable, Hashable, Codable {
    /// The manifest's name of the port: `http`, `system`, `client` (NATS, etcd), or any other.
    package var name: String
    package var port: Int
    /// Whether the launcher chose the number (a lease) or the manifest did.
    package var leased: Bool
    /// How many ports in a row it is the first of; nil: it is one.
    package var block: Int?

    package init(name: String, port: Int, leased: Bool, block: Int = 1) {
        self.name = name
        self.port = port
        self.leased = leased
        self.block = block > 1 ? block : nil
    }

    /// All of its numbers.
    package var numbers: Range<Int> { self.port..<(self.port + max(1, self.block ?? 1)) }
}

/// A socket that the launcher opens for a replica: it stays from one process to the next, so that no connection is refused.
package struct ListenPlan: Sendable, Hashable, Codable {
    /// The manifest's name of the port; what `LISTEN_FDNAMES` calls the socket.
    package var name: String
    package var address: HTTPAddress

    package init(name: String, address: HTTPAddress) {
        self.name = name
        self.address = address
    }
}

/// A replica is started when every replica of `process` has reached `layer`.
package struct Dependency: Sendable, Hashable, Codable {
    package var process: String
    package var layer: ReadinessLayer

    package init(process: String, layer: ReadinessLayer) {
        self.process = process
        self.layer = layer
    }
}

/// When and how often a replica that ended is started again.
package struct RestartPolicy: Sendable, Hashable, Codable {
    package enum Condition: String, Sendable, Hashable, Codable, CaseIterable {
        case never
        case onFailure = "on-failure"
        case always
    }

    package var condition: Condition
    /// The first delay, in seconds; doubles with each restart in a row.
    package var initialDelay: Double
    /// The longest delay, in seconds.
    package var maximumDelay: Double
    /// The share of the delay that is drawn at random, 0 to 1.
    package var jitter: Double
    /// After this many seconds of running the count of restarts in a row starts again at zero.
    package var stableAfter: Double
    /// Give up after this many restarts in a row; nil: never.
    package var maximumRestarts: Int?

    package init(
        condition: Condition = .onFailure,
        initialDelay: Double = 0.5,
        maximumDelay: Double = 30,
        jitter: Double = 0.1,
        stableAfter: Double = 60,
        maximumRestarts: Int? = 5
    ) {
        self.condition = condition
        self.initialDelay = initialDelay
        self.maximumDelay = maximumDelay
        self.jitter = jitter
        self.stableAfter = stableAfter
        self.maximumRestarts = maximumRestarts
    }
}

/// How a replica is asked to end.
package struct StopPlan: Sendable, Hashable, Codable {
    /// The number of the signal; SIGTERM by default.
    package var signal: Int32
    /// The signal's name, for messages.
    package var signalName: String
    /// Seconds until everything that is left of the replica is killed.
    package var grace: Double

    package init(signal: Int32 = 15, signalName: String = "SIGTERM", grace: Double = 10) {
        self.signal = signal
        self.signalName = signalName
        self.grace = grace
    }
}
