/// What a user wants to run, read from YAML and checked as far as that is possible without looking at the machine.
package struct Manifest: Sendable, Hashable {
    /// As it is shown in messages; nil for the embedded deployment.
    package var path: String?
    package var name: Located<String>
    package var model: String?
    var planes: PlanesManifest
    var discovery: DiscoveryManifest
    package var namespace: Located<String>
    var dynamo: DynamoManifest
    var http: HTTPManifest
    /// nil: a frontend has the public port.
    var gateway: GatewayPlan?
    /// What the gateway listens on beside the public port.
    var gatewayPorts: [GatewayPort]
    var device: Device
    /// Whether other deployments of the machine may have its devices too.
    package var gpuSharing = GPUSharing.exclusive
    var environment: [EnvironmentEntry]
    var unset: [Located<String>]
    var inherit: InheritPolicy
    package var processes: [ProcessManifest]
    /// The names of all processes, in the order of the file, also of those that could not be read.
    var processNames: [String]
    /// Processes that do not say (rightly) what they run: they count only where processes wait for each other.
    var incomplete: [ProcessManifest]
    var nats: ServiceManifest?
    var etcd: ServiceManifest?
    /// In the order of the file.
    package var preflight: [PreflightManifest] = []
    package var passthrough: Located<String>?
    var canary: CanaryRequest
    /// How it moves from one generation to the next.
    package var migration: MigrationSettings
    /// What runs goes on when the launcher ends without being told to, and the next launcher adopts it.
    package var survive = false
    /// What it is in a cluster; without meaning on this machine.
    package var kubernetes = KubernetesSettings()
    /// What is suspicious, but no error.
    package var warnings: [Diagnostic]
    /// The variables of the caller's environment that the manifest uses.
    package var variables: Set<String>
    /// Those of them that it has no default for.
    var neededVariables: Set<String> = []
    /// The keys that it uses, for reports of what becomes of them.
    package var uses: [ManifestUse] = []

    /// The kind of its devices, `cuda` or `xpu`; nil: no process mentions any.
    package var deviceKind: String? {
        self.processes.contains { $0.gpus != nil && $0.replicas > 0 } ? self.device.rawValue : nil
    }

    /// The devices that it names.
    package var deviceNames: [String] {
        self.processes.flatMap { process -> [String] in
            switch process.gpus?.selection {
            case .devices(let devices): devices
            case .lists(let lists): lists.flatMap(\.self)
            case .count, nil: []
            }
        }
    }

    /// Whether a process is Dynamo's own, or, where the manifest states a release, a program that may start one.
    var usesDynamo: Bool {
        self.processes.contains { process in
            process.isDynamo || self.dynamo.release != nil && !process.isBuiltin && process.role != .infrastructure
        }
    }
}

/// The planes as they were written.
struct PlanesManifest: Sendable, Hashable {
    var request: Located<PlaneSet.Request>
    /// nil: what fits the release.
    var events: Located<PlaneSet.Events>?
    var response: Located<PlaneSet.Response>
}

/// How processes shall find each other.
struct DiscoveryManifest: Sendable, Hashable {
    enum Backend: String, Sendable, Hashable, CaseIterable {
        case file, etcd, mem
    }

    var backend: Located<Backend>
    var directory: Located<String>?
    var endpoints: [Located<String>]
}

/// Which Dynamo.
struct DynamoManifest: Sendable, Hashable {
    /// nil: asked of the interpreter.
    var release: Located<DynamoRelease>?
    var python: Located<String>
}

/// The public address.
struct HTTPManifest: Sendable, Hashable {
    var host: Located<String>
    /// nil: leased.
    var port: Located<Int?>
    /// Whether the manifest says the port, and not a default or the caller's environment.
    var isPortGiven: Bool
}

/// The kind of accelerator; it decides which variable names the devices of a process.
enum Device: String, Sendable, Hashable, CaseIterable {
    case cuda, xpu

    var variable: String {
        switch self {
        case .cuda: "CUDA_VISIBLE_DEVICES"
        case .xpu: "ZE_AFFINITY_MASK"
        }
    }
}

/// Which variables of the caller's environment processes get, beside those that the plan owns.
enum InheritPolicy: Sendable, Hashable {
    case all
    case none
    /// Names, or beginnings of names that end in `*`.
    case only([String])

    func admits(_ name: String) -> Bool {
        switch self {
        case .all: true
        case .none: false
        case .only(let patterns):
            patterns.contains { $0.hasSuffix("*") ? name.hasPrefix($0.dropLast()) : name == $0 }
        }
    }
}

/// A variable that the manifest sets.
package struct EnvironmentEntry: Sendable, Hashable {
    package var name: Located<String>
    package var value: Template
    var location: Location
}

/// A server that the processes need: started by the launcher, or running somewhere.
struct ServiceManifest: Sendable, Hashable {
    enum Source: Sendable, Hashable {
        case managed(ManagedService)
        case external([Located<String>])
    }

    var source: Source
    var location: Location
}

/// A server that the launcher starts when a plane needs it.
struct ManagedService: Sendable, Hashable {
    /// nil: leased.
    var port: Located<Int>?
    /// etcd only; nil: leased.
    var peerPort: Located<Int>?
    var arguments: [Template]
    /// NATS only; nil: when a plane needs it.
    var jetstream: Bool?
}
