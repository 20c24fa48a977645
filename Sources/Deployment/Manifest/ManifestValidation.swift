/// What can be wrong although every key by itself is right.
///
/// Looks at nothing but the manifest.
struct ManifestValidation {
    let manifest: Manifest
    private(set) var diagnostics: [Diagnostic] = []

    init(manifest: Manifest) {
        self.manifest = manifest
    }

    mutating func validate() {
        guard self.checkSize() else { return }
        self.checkNames()
        self.checkPlanes()
        self.checkDiscovery()
        self.checkBuiltins()
        self.checkPorts()
        self.checkDependencies()
        self.checkVariables()
        self.checkFlags()
        self.checkRoles()
        self.checkKVEvents()
    }

    /// What is allowed, since the rest may run elsewhere, but probably forgotten.
    private mutating func checkRoles() {
        let processes = self.manifest.processes.filter { $0.replicas > 0 }
        guard self.manifest.incomplete.isEmpty, let first = processes.first else { return }
        let frontend = processes.first { $0.role == .frontend }
        let worker = processes.first { $0.role == .worker }
        if frontend == nil, worker != nil {
            self.warning(
                at: first.name.location,
                "no process is a frontend, so no request proves that the deployment serves",
                remedy: "add a process with 'builtin: frontend' or 'module: dynamo.frontend'"
            )
        }
        if let frontend, worker == nil {
            self.warning(
                at: frontend.name.location,
                "no process is a worker, so '\(frontend.name.value)' becomes ready only when one from elsewhere "
                    + "joins namespace '\(self.manifest.namespace.value)'",
                remedy: "add a process with 'builtin: worker' or a module such as dynamo.vllm"
            )
        }
    }

    private mutating func warning(at location: Location, _ message: String, remedy: String) {
        self.diagnostics.append(Diagnostic(severity: .warning, at: location, message, remedy: remedy))
    }

    mutating func error(at location: Location, _ message: String, remedy: String?) {
        self.diagnostics.append(Diagnostic(at: location, message, remedy: remedy))
    }

    mutating func append(_ diagnostic: Diagnostic) {
        self.diagnostics.append(diagnostic)
    }

    /// The servers that the launcher may start, by name.
    var managedServices: [String: ServiceManifest] {
        var services: [String: ServiceManifest] = [:]
        if let nats = self.manifest.nats, case .managed = nats.source { services["nats"] = nats }
        if let etcd = self.manifest.etcd, case .managed = etcd.source { services["etcd"] = etcd }
        return services
    }

    /// Whether there are few enough replicas to go on.
    private mutating func checkSize() -> Bool {
        var replicas = 0
        for process in self.manifest.processes {
            replicas += process.replicas
            guard replicas <= 10000 else {
                self.error(
                    at: process.name.location,
                    "with this process the deployment has \(replicas) replicas; one launcher runs at most 10000",
                    remedy: "lower 'replicas'"
                )
                return false
            }
        }
        return true
    }

    // MARK: Names

    private mutating func checkNames() {
        for process in self.manifest.processes where self.managedServices[process.name.value] != nil {
            self.error(
                at: process.name.location,
                "process '\(process.name.value)' has the name of the managed server under 'infrastructure'",
                remedy: "rename the process, or remove 'infrastructure.\(process.name.value)'"
            )
        }
        let several = self.manifest.processes.filter { $0.replicas > 1 }
        for process in self.manifest.processes where process.replicas == 1 {
            let parts = process.name.value.split(separator: "-")
            guard let last = parts.last, let index = Int(last), String(index) == last else { continue }
            let other = parts.dropLast().joined(separator: "-")
            guard several.contains(where: { $0.name.value == other && $0.replicas > index }) else { continue }
            self.error(
                at: process.name.location,
                "process '\(process.name.value)' has the name of replica \(index) of process '\(other)'",
                remedy: "rename one of them"
            )
        }
        if let passthrough = self.manifest.passthrough, !self.manifest.processNames.contains(passthrough.value) {
            self.unknownProcess(passthrough, among: self.manifest.processNames)
        }
    }

    mutating func unknownProcess(_ name: Located<String>, among names: [String]) {
        let nearest = Spelling.nearest(to: name.value, among: names)
        self.error(
            at: name.location,
            "there is no process '\(Spelling.excerpt(name.value))'",
            remedy: nearest.map { "write '\($0)'" } ?? "the processes are \(names.joined(separator: ", "))"
        )
    }

    // MARK: Planes

    private mutating func checkPlanes() {
        let planes = self.manifest.planes
        if self.manifest.nats == nil {
            let remedy =
                "add 'infrastructure: {nats: managed}' to have a server started, or 'nats: nats://HOST:4222' for one that runs"
            if planes.request.value == .nats {
                self.error(
                    at: planes.request.location,
                    "the request plane is nats, and the manifest names no NATS server",
                    remedy: remedy
                )
            } else if let events = planes.events, events.value.usesNATS {
                self.error(
                    at: events.location,
                    "the event plane is \(events.value.rawValue), and the manifest names no NATS server",
                    remedy: remedy
                )
            }
        }
        if let events = planes.events, events.value == .jetstream, let nats = self.manifest.nats,
            case .managed(let service) = nats.source, service.jetstream == false
        {
            self.error(
                at: events.location,
                "the event plane is jetstream, and 'infrastructure.nats' turns JetStream off",
                remedy: "remove 'jetstream: false', or write 'events: nats-core'"
            )
        }
    }

    private mutating func checkDiscovery() {
        let discovery = self.manifest.discovery
        switch discovery.backend.value {
        case .file:
            break
        case .etcd where discovery.endpoints.isEmpty && self.manifest.etcd == nil:
            self.error(
                at: discovery.backend.location,
                "discovery is etcd, and the manifest names no etcd",
                remedy:
                    "add 'infrastructure: {etcd: managed}', or 'discovery: {backend: etcd, endpoints: [http://HOST:2379]}'"
            )
        case .etcd:
            if let endpoint = discovery.endpoints.first, let etcd = self.manifest.etcd {
                self.error(
                    at: endpoint.location,
                    "etcd is named twice: here and under 'infrastructure.etcd' in line \(etcd.location.line)",
                    remedy: "remove 'endpoints' or 'infrastructure.etcd'"
                )
            }
        case .mem:
            let members = self.manifest.processes.filter { $0.role != .infrastructure }.map(\.replicas).reduce(0, +)
            guard members > 1 else { return }
            self.error(
                at: discovery.backend.location,
                "discovery 'mem' works inside one process only, and \(members) would not find each other",
                remedy: "write 'discovery: file'"
            )
        }
    }

    // MARK: Our own programs

    private mutating func checkBuiltins() {
        let builtins = self.manifest.processes.filter(\.isBuiltin)
        guard let first = builtins.first else { return }
        let planes = self.manifest.planes
        let routers = builtins.filter { if case .builtin(.router) = $0.program { true } else { false } }
        if let router = routers.first, planes.events?.value != .natsCore, planes.events?.value != .zmq {
            self.error(
                at: planes.events?.location ?? router.programLocation,
                "process '\(router.name.value)' is a router that takes KV events from NATS core or ZeroMQ, and the event plane is "
                    + (planes.events?.value.rawValue ?? "not given"),
                remedy: "write 'events: nats-core' or 'events: zmq' under 'planes', or use 'module: dynamo.router'"
            )
        }
        if planes.response.value != .tcp {
            self.error(
                at: planes.response.location,
                "the embedded processes answer over tcp only, and process '\(first.name.value)' is one of them: "
                    + "the response plane cannot be \(planes.response.value.rawValue)",
                remedy: "remove 'response'"
            )
        }
        // What a program of somebody else reads is not known.
        let isAllOurs = self.manifest.processes.allSatisfy { $0.isBuiltin || $0.role == .infrastructure }
        if let events = planes.events, events.value != .none, isAllOurs, routers.isEmpty,
            !builtins.contains(where: { $0.routesByKVEvents(self.manifest.environment) })
        {
            self.error(
                at: events.location,
                "nothing in this deployment reads KV events: no frontend routes by them and there is no router, so the event plane cannot be "
                    + events.value.rawValue,
                remedy: "write 'args: [--router-mode, kv]' for the frontend, or remove 'events'"
            )
        }
    }
}
