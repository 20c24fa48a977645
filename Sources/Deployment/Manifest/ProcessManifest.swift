/// One entry under `processes`.
package struct ProcessManifest: Sendable, Hashable {
    /// What is run.
    package enum Program: Sendable, Hashable {
        /// A program by path or by name on PATH, with its first arguments.
        case command([Located<Template>])
        /// One of ours.
        case builtin(Builtin)
        /// `python -m MODULE`.
        case module(String, python: Located<String>?)
    }

    /// The programs that come with the launcher.
    package enum Builtin: String, Sendable, Hashable, CaseIterable {
        case frontend, router, worker

        var program: String { "dynamo-\(self.rawValue)" }

        var role: Role {
            switch self {
            case .frontend: .frontend
            case .router: .router
            case .worker: .worker
            }
        }
    }

    package var name: Located<String>
    package var role: Role
    package var program: Program
    var programLocation: Location
    var arguments: [Located<Template>]
    package var replicas: Int
    var environment: [EnvironmentEntry]
    var unset: [Located<String>]
    var workingDirectory: Located<Template>?
    var ports: [PortManifest]
    /// The ports that the launcher opens for it.
    var listen: [Located<String>] = []
    var gpus: GPUManifest?
    var kvEvents: KVEventsManifest?
    package var limits: ProcessLimits?
    var dependsOn: [DependencyManifest]
    var probes: [ProbeManifest]
    var timing: ProbeTiming
    var restart: RestartPolicy
    var stop: StopPlan
    /// What it is in a cluster; without meaning on this machine.
    package var kubernetes = ProcessKubernetesSettings()

    /// The Dynamo module that is run, also when it is spelled as a command.
    var module: String? {
        switch self.program {
        case .module(let module, _):
            return module
        case .builtin:
            return nil
        case .command(let words):
            let words = words.map { $0.value.literal }
            guard let flag = words.firstIndex(of: "-m"), flag + 1 < words.count, let module = words[flag + 1],
                module.hasPrefix("dynamo.")
            else { return nil }
            return module
        }
    }

    /// Whether this is our frontend, and it chooses workers by what they say they hold.
    ///
    /// - Parameter shared: the environment of all processes.
    /// - Returns: whether its arguments, or the environment, say so.
    func routesByKVEvents(_ shared: [EnvironmentEntry]) -> Bool {
        guard case .builtin(.frontend) = self.program else { return false }
        let words = self.arguments.map { $0.value.literal ?? "" }
        let isOff = words.contains("--no-router-kv-events") || words.contains("--no-kv-events")
        let flag = "--router-mode"
        let environment = shared + self.environment
        var mode = environment.last { $0.name.value == "DYN_ROUTER_MODE" }?.value.literal
        for (index, word) in words.enumerated() {
            if word.hasPrefix("\(flag)=") { mode = String(word.dropFirst(flag.count + 1)) }
            if word == flag, index + 1 < words.count { mode = words[index + 1] }
        }
        return mode?.lowercased() == "kv" && !isOff
    }

    /// Whether the manifest decides where this frontend listens.
    ///
    /// - Parameter shared: the environment of all processes.
    /// - Returns: whether a port, a variable or a flag says so.
    func saysItsPort(_ shared: [EnvironmentEntry]) -> Bool {
        let names: Set = ["DYN_HTTP_HOST", "DYN_HTTP_PORT"]
        let flags = ["--http-host", "--http-port"]
        return self.ports.contains { $0.name.value == "http" }
            || (shared + self.environment).contains { names.contains($0.name.value) }
            || self.arguments.contains { word in flags.contains { word.value.literal?.hasPrefix($0) ?? false } }
    }

    /// How many ports in a row a port is the first of: data-parallel ranks of an engine count up from that of rank 0.
    func block(of port: String) -> Int {
        guard let events = self.kvEvents, events.ranks > 1 else { return 1 }
        let names = events.engine.value.names + (events.replay?.value.names ?? [])
        return names.contains("port.\(port)") ? events.ranks : 1
    }

    /// Whether the process is Dynamo's own.
    var isDynamo: Bool { self.module?.hasPrefix("dynamo.") ?? false }

    /// Whether the process is one of ours.
    var isBuiltin: Bool {
        if case .builtin = self.program { true } else { false }
    }

    /// Whether the process has a system server on its `system` port unless told otherwise.
    var hasSystemServer: Bool { self.role == .worker && (self.isDynamo || self.isBuiltin) }
}

/// A port by name.
struct PortManifest: Sendable, Hashable {
    enum Number: Sendable, Hashable {
        case automatic
        /// A number, or one calculated from the replica's index.
        case fixed(Template)
    }

    var name: Located<String>
    var number: Number
    var location: Location
}

/// The devices of a process.
struct GPUManifest: Sendable, Hashable {
    enum Selection: Sendable, Hashable {
        /// As many for each replica, the lowest that nobody has been given.
        case count(Int)
        /// Split evenly among the replicas.
        case devices([String])
        /// One list for each replica.
        case lists([[String]])
    }

    var selection: Selection
    var location: Location
}

/// Where the engine of a worker publishes KV events of its own, for the launcher to pass on.
struct KVEventsManifest: Sendable, Hashable {
    var engine: Located<Template>
    var replay: Located<Template>?
    /// nil: every topic.
    var topic: Located<Template>?
    /// nil: what the worker's model card says.
    var blockSize: Int?
    /// Data-parallel ranks, which publish at ports in a row.
    var ranks: Int
    /// nil: the one that the worker's model card belongs to.
    var endpoint: KVEndpoint?
    /// Of the key.
    var location: Location
}

/// What must be true before a process is started.
struct DependencyManifest: Sendable, Hashable {
    var process: Located<String>
    /// nil: the highest that makes sense.
    var layer: Located<ReadinessLayer>?
}

/// A layer and how it is decided.
struct ProbeManifest: Sendable, Hashable {
    enum Question: Sendable, Hashable {
        /// The layer is left out.
        case none
        case process
        case tcp(host: Template, port: Template)
        case http(url: Template, statuses: [Int], contains: String?)
        case exec([Template])
        case log(String)
        case nats(Template)
        case system(Template)
        case modelListed
        case modelReady
        case generate
        case requestPlane(component: String, endpoint: String)
        /// The process says it itself.
        case notify
    }

    var layer: ReadinessLayer
    var question: Question
    var location: Location
}
