// Variables and flags that contradict what the plan derives for every process.

extension ManifestValidation {
    mutating func checkVariables() {
        self.check(self.manifest.environment, unset: self.manifest.unset, of: nil)
        for process in self.manifest.processes {
            self.check(process.environment, unset: process.unset, of: process)
        }
    }

    private mutating func check(_ entries: [EnvironmentEntry], unset: [Located<String>], of process: ProcessManifest?) {
        for name in unset {
            if entries.contains(where: { $0.name.value == name.value }) {
                self.error(
                    at: name.location,
                    "'\(name.value)' is both set and unset here",
                    remedy: "keep one of the two"
                )
            }
            if let owned = OwnedVariable(rawValue: name.value), !owned.isFree {
                self.error(
                    at: name.location,
                    "'\(name.value)' cannot be unset: the launcher sets or removes it for every process",
                    remedy: "remove it here; '\(owned.key)' decides it"
                )
            }
        }
        for entry in entries {
            if let gpus = process?.gpus, entry.name.value == self.manifest.device.variable {
                self.error(
                    at: entry.name.location,
                    "'\(entry.name.value)' and 'gpus' in line \(gpus.location.line) say the same thing twice",
                    remedy: "keep 'gpus'"
                )
            }
            guard let owned = OwnedVariable(rawValue: entry.name.value), !owned.isFree else { continue }
            self.check(entry, owned)
        }
    }

    private mutating func check(_ entry: EnvironmentEntry, _ owned: OwnedVariable) {
        let values = KnownValues(self.manifest)
        switch values.value(of: owned) {
        case .later:
            break
        case .set(let value):
            guard entry.value.literal != value else { return }
            self.append(Self.contradiction(entry, owned, derived: value))
        case .removed:
            self.append(Self.contradiction(entry, owned, derived: nil))
        case .elsewhere(let example):
            self.error(
                at: entry.name.location,
                "'\(owned.rawValue)' is decided by '\(owned.key)'",
                remedy: "remove it here and write '\(example)'"
            )
        }
    }

    /// The error for a variable of the manifest that says something else than the plan.
    static func contradiction(_ entry: EnvironmentEntry, _ owned: OwnedVariable, derived: String?) -> Diagnostic {
        let shown = entry.value.isSecret ? Secrets.mask : Secrets.masking(url: entry.value.literal ?? "{{...}}")
        let written = "'\(owned.rawValue): \(Spelling.excerpt(shown))'"
        guard let derived else {
            return Diagnostic(
                at: entry.name.location,
                "\(written) contradicts '\(owned.key)': this deployment leaves the variable unset",
                remedy: "remove it; where it is needed, '\(owned.key)' sets it"
            )
        }
        return Diagnostic(
            at: entry.name.location,
            "\(written) contradicts '\(owned.key)', which is '\(Secrets.masking(url: derived))'",
            remedy: "remove it, or change '\(owned.key)'"
        )
    }

    // MARK: Flags

    mutating func checkFlags() {
        for process in self.manifest.processes where process.isDynamo || process.isBuiltin {
            var words: [Located<Template>] = process.arguments
            if case .command(let command) = process.program { words = command + words }
            // An expression is what only the plan knows.
            let texts = words.map { $0.value.literal ?? "{{" }
            for flag in PlaneFlag.all where process.role == .frontend || !flag.isFrontendOnly {
                guard let (value, index) = flag.value(in: texts), !value.contains("{{") else { continue }
                let found = Located(value, words[index].location)
                self.check(flag, found, isSecret: words[index].value.isSecret)
            }
        }
    }

    private mutating func check(_ flag: PlaneFlag, _ found: Located<String>, isSecret: Bool) {
        let values = KnownValues(self.manifest)
        switch values.value(of: flag.variable) {
        case .later, .elsewhere:
            break
        case .set(let value):
            guard value != found.value else { return }
            let shown = isSecret ? Secrets.mask : Spelling.excerpt(found.value)
            self.error(
                at: found.location,
                "'\(flag.flag) \(shown)' contradicts '\(flag.variable.key)', which is '\(value)'",
                remedy: "remove the flag, or change '\(flag.variable.key)'"
            )
        case .removed:
            self.error(
                at: found.location,
                "'\(flag.flag)' contradicts '\(flag.variable.key)': this deployment does not use it",
                remedy: "remove the flag"
            )
        }
    }
}

/// What owned variables will be, as far as the manifest alone tells.
struct KnownValues {
    enum Value: Hashable {
        case set(String)
        case removed
        /// The planner knows.
        case later
        /// Another key of the manifest is the only place to say it.
        case elsewhere(String)
    }

    private let manifest: Manifest

    init(_ manifest: Manifest) {
        self.manifest = manifest
    }

    func value(of variable: OwnedVariable) -> Value {
        switch variable {
        case .requestPlane: return .set(self.manifest.planes.request.value.rawValue)
        case .responsePlane: return .set(self.manifest.planes.response.value.rawValue)
        case .eventPlane:
            switch self.manifest.planes.events?.value {
            case nil: return .later
            case .natsCore, .jetstream: return .set("nats")
            case .zmq: return .set("zmq")
            case .some(.none): return self.manifest.usesDynamo ? .set("zmq") : .removed
            }
        case .durableEvents, .routerDurableEvents:
            switch self.manifest.planes.events?.value {
            case nil: return .later
            case .jetstream: return .set("true")
            default: return .removed
            }
        case .discoveryBackend: return .set(self.manifest.discovery.backend.value.rawValue)
        case .storeKV: return .later
        case .fileKV:
            guard self.manifest.discovery.backend.value == .file else { return .removed }
            return .elsewhere("discovery: {backend: file, directory: ...}")
        case .namespace: return .set(self.manifest.namespace.value)
        case .namespacePrefix, .namespaceSuffix: return .removed
        case .natsServer:
            guard let nats = self.manifest.nats else { return .removed }
            if case .external(let urls) = nats.source, let url = urls.first, self.manifest.planes.request.value == .nats
            {
                return .set(url.value)
            }
            return .later
        case .etcdEndpoints:
            guard self.manifest.discovery.backend.value == .etcd else { return .removed }
            return .elsewhere("discovery: {backend: etcd, endpoints: [...]}")
        case .httpHost: return .set(self.manifest.http.host.value)
        case .httpPort: return .later
        case .systemPort: return .elsewhere("ports: {system: 8081}")
        case .systemEnabled, .tcpPort, .tcpResponsePort, .httpRPCPort: return .later
        }
    }
}
