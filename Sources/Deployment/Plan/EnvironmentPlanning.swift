// The environment of every replica: what the plan owns is set or removed, nothing is inherited by accident.

extension Planner {
    /// The whole environment of a replica, and what the caller's shell has and the replica does not get.
    mutating func environment(
        of draft: ReplicaDraft,
        _ values: [String: Template.Value],
        _ context: ReplicaContext
    ) -> (variables: [EnvironmentVariable], unset: [UnsetVariable]) {
        let process = draft.process
        let derived = self.derived(draft, context)
        let removed = Set(process.unset.map(\.value))
        var variables = self.inherited(except: removed.union(self.manifest.unset.map(\.value)))
        if case .module = process.program, !removed.contains("PYTHONUNBUFFERED") {
            variables["PYTHONUNBUFFERED"] = EnvironmentVariable(name: "PYTHONUNBUFFERED", value: "1", source: .derived)
        }
        for entry in self.manifest.environment where !removed.contains(entry.name.value) {
            self.add(entry, to: &variables, derived, values)
        }
        for (name, value) in derived {
            variables[name] = EnvironmentVariable(name: name, value: value, source: .derived)
        }
        for entry in process.environment {
            self.add(entry, to: &variables, derived, values)
        }
        let unset = self.unset(of: process, variables, context)
        return (variables.values.sorted { $0.name < $1.name }, unset)
    }

    /// The environment of a server that the launcher starts for the planes.
    ///
    /// - Parameter prefix: Variables that the server itself would read.
    /// - Returns: What is left of the caller's environment.
    func serviceEnvironment(removing prefix: String?) -> [EnvironmentVariable] {
        self.inherited(except: Set(self.manifest.unset.map(\.value))).values
            .filter { variable in
                // Debian's etcd for some architectures starts only with this one.
                guard let prefix, variable.name != "ETCD_UNSUPPORTED_ARCH" else { return true }
                return !variable.name.hasPrefix(prefix)
            }
            .sorted { $0.name < $1.name }
    }

    private func inherited(except removed: Set<String>) -> [String: EnvironmentVariable] {
        var variables: [String: EnvironmentVariable] = [:]
        for (name, value) in self.facts.inherited ?? self.facts.environment {
            guard !removed.contains(name), OwnedVariable(rawValue: name) == nil, self.manifest.inherit.admits(name)
            else {
                continue
            }
            variables[name] = EnvironmentVariable(
                name: name,
                value: value,
                source: .inherited,
                secret: Secrets.isSecret(name: name, value: value)
            )
        }
        return variables
    }

    private mutating func add(
        _ entry: EnvironmentEntry,
        to variables: inout [String: EnvironmentVariable],
        _ derived: [String: String],
        _ values: [String: Template.Value]
    ) {
        let name = entry.name.value
        var value = self.resolved(entry.value, at: entry.location, values)
        if self.managed != nil, name == ManagedPorts.sideChannel, let port = values["port.nixl"] { value = port.text }
        if let owned = OwnedVariable(rawValue: name), !owned.isFree {
            if derived[name] != value {
                self.diagnostics.append(ManifestValidation.contradiction(entry, owned, derived: derived[name]))
            }
            return
        }
        variables[name] = EnvironmentVariable(
            name: name,
            value: value,
            source: .manifest,
            secret: entry.value.isSecret || Secrets.isSecret(name: name, value: value)
        )
    }

    // MARK: What the plan decides

    private func derived(_ draft: ReplicaDraft, _ context: ReplicaContext) -> [String: String] {
        var result: [String: String] = [:]
        func set(_ variable: OwnedVariable, _ value: String?) {
            result[variable.rawValue] = value
        }
        if let gpus = draft.gpus {
            result[self.manifest.device.variable] = gpus.joined(separator: ",")
        }
        let role = draft.process.role
        guard role != .infrastructure else { return result }
        for (variable, value) in self.shared(context) { set(variable, value) }
        if role == .frontend {
            set(.httpHost, context.frontendHost)
            set(.httpPort, draft.port("http").map(String.init))
        } else {
            set(.systemPort, draft.port("system").map(String.init))
            // Our workers' own default is one fixed port, which several of them on one machine cannot share.
            if context.planes.request == .http, draft.process.isBuiltin { set(.httpRPCPort, "0") }
        }
        return result
    }

    /// What is the same for every process that takes part in the planes.
    ///
    /// A missing variable is removed.
    private func shared(_ context: ReplicaContext) -> [OwnedVariable: String] {
        var result: [OwnedVariable: String] = [
            .requestPlane: context.planes.request.rawValue,
            .namespace: self.manifest.namespace.value,
            .discoveryBackend: self.manifest.discovery.backend.value.rawValue,
        ]
        switch context.planes.events {
        case .natsCore, .jetstream: result[.eventPlane] = "nats"
        case .zmq: result[.eventPlane] = "zmq"
        case .none:
            // Dynamo has no word for none, and its default may be NATS: zmq needs no server and opens nothing by itself.
            if context.row != nil { result[.eventPlane] = "zmq" }
        }
        if context.planes.events == .jetstream {
            result[.durableEvents] = "true"
            result[.routerDurableEvents] = "true"
        }
        if let row = context.row, row.responsePlanes.count > 1 {
            result[.responsePlane] = context.planes.response.rawValue
        }
        if context.row?.usesStoreKV ?? false {
            result[.storeKV] = self.manifest.discovery.backend.value.rawValue
        }
        switch context.discovery {
        case .file(let directory): result[.fileKV] = directory
        case .etcd(let endpoints): result[.etcdEndpoints] = endpoints.joined(separator: ",")
        case .memory: break
        }
        if context.planes.usesNATS { result[.natsServer] = context.natsURL }
        return result
    }

    // MARK: What is removed

    private func unset(
        of process: ProcessManifest,
        _ variables: [String: EnvironmentVariable],
        _ context: ReplicaContext
    ) -> [UnsetVariable] {
        var unset: [UnsetVariable] = []
        for owned in OwnedVariable.allCases {
            let name = owned.rawValue
            guard self.facts.environment[name] != nil, variables[name] == nil else { continue }
            unset.append(UnsetVariable(name: name, reason: self.reason(owned, process.role)))
        }
        for name in process.unset + self.manifest.unset {
            guard self.facts.environment[name.value] != nil, variables[name.value] == nil,
                !unset.contains(where: { $0.name == name.value })
            else { continue }
            unset.append(UnsetVariable(name: name.value, reason: "the manifest unsets it (line \(name.location.line))"))
        }
        return unset.sorted { $0.name < $1.name }
    }

    private func reason(_ owned: OwnedVariable, _ role: Role?) -> String {
        if role == .infrastructure { return "only processes that use the planes get it" }
        switch owned {
        case .requestPlane, .discoveryBackend, .namespace: return "the plan decides it"
        case .responsePlane: return "this release of Dynamo has one response plane"
        case .eventPlane: return "the event plane is none"
        case .durableEvents, .routerDurableEvents: return "the event plane is not jetstream"
        case .storeKV: return "this release of Dynamo does not read it"
        case .fileKV: return "discovery is not file"
        case .namespacePrefix, .namespaceSuffix: return "every process has exactly the deployment's namespace"
        case .natsServer: return "no plane is NATS"
        case .etcdEndpoints: return "discovery is not etcd"
        case .httpHost, .httpPort: return "only frontends have an HTTP port"
        case .systemPort, .systemEnabled:
            return role == .frontend
                ? "a frontend must not take a worker's system port" : "this process has no system port"
        case .tcpPort, .tcpResponsePort, .httpRPCPort: return "two processes cannot share a port"
        }
    }

    /// Tells the user about variables of the shell that the deployment does not follow.
    mutating func noteOverrides(_ context: ReplicaContext) {
        let shared = self.shared(context)
        for owned in OwnedVariable.allCases where owned.isNoted && !self.manifest.variables.contains(owned.rawValue) {
            guard let value = self.facts.environment[owned.rawValue], !value.isEmpty, value != shared[owned] else {
                continue
            }
            let shown = "\(owned.rawValue)=\(Spelling.excerpt(Secrets.masking(url: value)))"
            if let decided = shared[owned] {
                self.notes.append(
                    "\(shown) in your shell is overridden: '\(owned.key)' of this deployment is '\(decided)'"
                )
            } else {
                self.notes.append("\(shown) in your shell is not passed on: \(self.reason(owned, nil))")
            }
        }
    }
}
