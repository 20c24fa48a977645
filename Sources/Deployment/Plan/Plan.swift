/// What runs on this machine for one deployment: the manifest resolved against the caller's environment, the Dynamo
/// release and the leased ports.
///
/// Pure data; the supervisor makes the machine match it, and the renderers print it.
package struct Plan: Sendable, Hashable, Codable {
    /// The deployment's name; unique among those that run on this machine.
    package var deployment: String
    /// Which complete set of processes of the deployment this is; the first is 1, and a migration makes the next.
    package var generation: Int
    /// Where the manifest was read from, for messages; nil for the embedded deployment.
    package var manifestPath: String?
    /// The planes that every process uses.
    package var planes: PlaneSet
    /// The Dynamo namespace of every process.
    package var namespace: String
    /// How processes find each other.
    package var discovery: DiscoveryPlan
    /// The release of Dynamo, when a process of the plan is Dynamo's own.
    package var release: DynamoRelease?
    /// The public HTTP address.
    package var publicAddress: HTTPAddress
    /// How the launcher serves the public address; nil when a frontend does.
    package var gateway: GatewayPlan?
    /// The model's name as clients give it; nil: the first one that the frontend lists.
    package var model: String?
    /// What a readiness request asks for.
    package var canary: CanaryRequest
    /// How the deployment moves to this plan from another generation.
    package var migration: MigrationSettings
    /// What runs goes on when the launcher ends without being told to, and the next launcher adopts it.
    package var survive: Bool
    /// What the next launcher must know to make the same plan of the same manifest; nil: nothing is to outlive this one.
    package var given: StartValues?
    /// Where state, logs and the control socket of this deployment are.
    package var directories: DeploymentDirectories
    /// Every replica, in start order (dependencies first).
    ///
    /// Stopping takes the reverse.
    package var replicas: [ReplicaPlan]
    /// Servers that run elsewhere and must answer before anything is started.
    package var externalServices: [ExternalService]
    /// The process that arguments after `--` go to.
    package var passthrough: String?
    /// Whether other deployments may have its devices too.
    package var gpuSharing: GPUSharing
    /// Things the user should know, such as a shell variable that was overridden.
    package var notes: [String]

    package init(
        deployment: String,
        generation: Int = 1,
        manifestPath: String? = nil,
        planes: PlaneSet,
        namespace: String,
        discovery: DiscoveryPlan,
        release: DynamoRelease? = nil,
        publicAddress: HTTPAddress,
        gateway: GatewayPlan? = nil,
        model: String? = nil,
        canary: CanaryRequest = CanaryRequest(),
        migration: MigrationSettings = MigrationSettings(),
        survive: Bool = false,
        directories: DeploymentDirectories,
        replicas: [ReplicaPlan],
        externalServices: [ExternalService] = [],
        passthrough: String? = nil,
        gpuSharing: GPUSharing = .exclusive,
        notes: [String] = []
    ) {
        self.deployment = deployment
        self.generation = generation
        self.manifestPath = manifestPath
        self.planes = planes
        self.namespace = namespace
        self.discovery = discovery
        self.release = release
        self.publicAddress = publicAddress
        self.gateway = gateway
        self.model = model
        self.canary = canary
        self.migration = migration
        self.survive = survive
        self.directories = directories
        self.replicas = replicas
        self.externalServices = externalServices
        self.passthrough = passthrough
        self.gpuSharing = gpuSharing
        self.notes = notes
    }
}

/// What a start had that is not in the manifest, and that another start would not have.
package struct StartValues: Sendable, Hashable, Codable {
    /// What a preflight gave.
    package struct Preflight: Sendable, Hashable, Codable {
        package var command: [String]
        package var value: String

        package init(command: [String], value: String) {
            self.command = command
            self.value = value
        }
    }

    package var preflights: [Preflight]
    /// What `scale` has set since.
    package var scaled: [String: Int]?

    package init(preflights: [Preflight] = [], scaled: [String: Int]? = nil) {
        self.preflights = preflights
        self.scaled = scaled
    }
}

/// A host and a port that speak HTTP.
package struct HTTPAddress: Sendable, Hashable, Codable {
    /// An address to bind or a name; `0.0.0.0` means every interface.
    package var host: String
    package var port: Int
    /// The path of a Unix socket that is used instead, which only a service manager gives.
    package var socketPath: String?

    package init(host: String, port: Int, socketPath: String? = nil) {
        self.host = host
        self.port = port
        self.socketPath = socketPath
    }

    /// The URL that a client on this machine uses; for a Unix socket its path, with `unix:` in front.
    package var localURL: String {
        if let socketPath { return "unix:\(socketPath)" }
        let host =
            switch self.host {
            case "0.0.0.0", "": "127.0.0.1"
            case "::", "[::]": "[::1]"
            default: self.host.contains(":") && !self.host.hasPrefix("[") ? "[\(self.host)]" : self.host
            }
        return "http://\(host):\(self.port)"
    }
}

/// The request that proves that the deployment serves.
package struct CanaryRequest: Sendable, Hashable, Codable {
    /// The OpenAI endpoint that is used.
    package enum Endpoint: String, Sendable, Hashable, Codable, CaseIterable {
        case chat
        case completions
    }

    package var endpoint: Endpoint
    package var prompt: String
    /// How long one request may take, in seconds.
    package var timeout: Double

    package init(endpoint: Endpoint = .chat, prompt: String = "Hello", timeout: Double = 30) {
        self.endpoint = endpoint
        self.prompt = prompt
        self.timeout = timeout
    }
}

/// Where a deployment keeps its files (absolute paths).
package struct DeploymentDirectories: Sendable, Hashable, Codable {
    /// Logs, with the exact argv and environment of each replica beside them.
    ///
    /// `$XDG_STATE_HOME/dynamo-launch/NAME`.
    package var state: String
    /// The control socket and the lock.
    ///
    /// `$XDG_RUNTIME_DIR/dynamo-launch/NAME`, else a private folder under the temporary directory.
    package var runtime: String

    package init(state: String, runtime: String) {
        self.state = state
        self.runtime = runtime
    }

    /// The folders of one generation: the first has those of the deployment, each other one folders of its own below them.
    package func generation(_ number: Int) -> DeploymentDirectories {
        guard number > 1 else { return self }
        return DeploymentDirectories(state: "\(self.state)/g\(number)", runtime: "\(self.runtime)/g\(number)")
    }

    /// The folder that all launchers of a user share; each deployment has a folder of its name in it.
    package static func runtimeRoot(
        environment: [String: String],
        temporaryDirectory: String = "/tmp",
        userID: UInt32
    ) -> String {
        guard let runtime = environment["XDG_RUNTIME_DIR"], runtime.hasPrefix("/") else {
            return "\(temporaryDirectory)/dynamo-launch-\(userID)"
        }
        return FilePathText.resolve("dynamo-launch", against: runtime)
    }

    /// The folder of what stays when deployments end; each has a folder of its name in it.
    package static func stateRoot(environment: [String: String], homeDirectory: String) -> String {
        let state = environment["XDG_STATE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
        return FilePathText.resolve("dynamo-launch", against: state ?? "\(homeDirectory)/.local/state")
    }

    /// The Unix socket of the control interface.
    package var controlSocket: String { "\(self.runtime)/control.sock" }
    /// The records of file discovery, unless the manifest names another folder.
    package var discovery: String { "\(self.runtime)/discovery" }
    /// What happened to the deployment, kept from one start to the next.
    package var events: String { "\(self.state)/events.jsonl" }
    /// The folder of the log files.
    package var logs: String { "\(self.state)/logs" }
}
