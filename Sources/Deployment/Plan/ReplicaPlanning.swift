/// What is decided for the deployment before its replicas are.
struct ReplicaContext {
    let planes: PlaneSet
    /// nil: no process is Dynamo's own.
    let row: ReleaseKnowledge?
    let directories: DeploymentDirectories
    let discovery: DiscoveryPlan
    let natsURL: String?
    let services: [ReplicaPlan]
    /// What the manifest itself calls infrastructure, for everybody else to wait for.
    let infrastructure: [Dependency]
    let interpreters: [String: Interpreter]
    let ports: [String: [[PortPlan]]]
    let gpus: [String: [[String]]]
    let publicAddress: HTTPAddress
    /// Where frontends listen.
    let frontendHost: String
}

/// One replica on its way to a plan.
struct ReplicaDraft {
    let process: ProcessManifest
    let index: Int
    let name: String
    let ports: [PortPlan]
    /// nil: devices are not mentioned.
    let gpus: [String]?

    func port(_ name: String) -> Int? { self.ports.first { $0.name == name }?.port }
}

extension Planner {
    /// The replicas of a process.
    mutating func replicas(of process: ProcessManifest, _ context: ReplicaContext) -> [ReplicaPlan] {
        (0..<process.replicas).map { index in
            let draft = ReplicaDraft(
                process: process,
                index: index,
                name: process.replicas > 1 ? "\(process.name.value)-\(index)" : process.name.value,
                ports: context.ports[process.name.value]?[safe: index] ?? [],
                gpus: context.gpus[process.name.value]?[safe: index]
            )
            return self.replica(draft, context)
        }
    }

    private mutating func replica(_ draft: ReplicaDraft, _ context: ReplicaContext) -> ReplicaPlan {
        let process = draft.process
        let values = self.values(draft)
        let (environment, unset) = self.environment(of: draft, values, context)
        let directory = self.workingDirectory(process, values)
        let path = environment.first { $0.name == "PATH" }?.value
        let (executable, first) = self.program(process, values, context, path: path)
        var arguments = first.map(\.value) + self.resolved(process.arguments, values)
        let written = arguments.count
        if self.manifest.passthrough?.value == process.name.value {
            arguments += self.facts.passthroughArguments
        }
        self.checkFlags(
            draft,
            arguments,
            written: written,
            words: first + process.arguments.map { Located("", $0.location) },
            environment
        )
        return ReplicaPlan(
            process: process.name.value,
            index: draft.index,
            name: draft.name,
            role: process.role,
            executable: executable,
            arguments: arguments,
            environment: environment,
            unset: unset,
            workingDirectory: directory,
            ports: draft.ports,
            listens: self.listens(draft, context),
            gpus: draft.gpus ?? [],
            kvEvents: self.kvEvents(of: process, values, context),
            limits: process.limits,
            dependencies: self.dependencies(of: process, context),
            readiness: self.readiness(draft, values, context),
            timing: process.timing,
            restart: process.restart,
            stop: process.stop,
            origin: process.name.location.description
        )
    }

    /// What the names in `{{...}}` stand for.
    private func values(_ draft: ReplicaDraft) -> [String: Template.Value] {
        var values: [String: Template.Value] = [
            "index": .number(draft.index),
            "replicas": .number(draft.process.replicas),
            "name": .text(draft.name),
            "namespace": .text(self.manifest.namespace.value),
            "gpus": .text((draft.gpus ?? []).joined(separator: ",")),
        ]
        if let model = self.manifest.model { values["model"] = .text(model) }
        for preflight in self.manifest.preflight {
            guard let known = self.facts.preflight else {
                values[preflight.templateName] = .text("<\(preflight.templateName)>")
                continue
            }
            values[preflight.templateName] = known[preflight.name.value].map(Template.Value.text)
        }
        for port in draft.ports { values["port.\(port.name)"] = .number(port.port) }
        return values
    }

    mutating func resolved(_ template: Template, at location: Location, _ values: [String: Template.Value]) -> String {
        do throws(Template.Failure) {
            return try template.resolved(values)
        } catch {
            self.error(at: location, error.message, remedy: error.remedy)
            return ""
        }
    }

    private mutating func resolved(_ templates: [Located<Template>], _ values: [String: Template.Value]) -> [String] {
        templates.map { self.resolved($0.value, at: $0.location, values) }
    }

    /// A frontend is for clients of other machines too, anything else for this one.
    private func listens(_ draft: ReplicaDraft, _ context: ReplicaContext) -> [ListenPlan] {
        draft.process.listen.compactMap { name in
            let host = draft.process.role == .frontend && name.value == "http" ? context.frontendHost : "127.0.0.1"
            return draft.port(name.value).map {
                ListenPlan(name: name.value, address: HTTPAddress(host: host, port: $0))
            }
        }
    }

    // MARK: Program

    private mutating func program(
        _ process: ProcessManifest,
        _ values: [String: Template.Value],
        _ context: ReplicaContext,
        path: String?
    ) -> (executable: String, arguments: [Located<String>]) {
        switch process.program {
        case .builtin(let builtin):
            let program = FilePathText.resolve(builtin.program, against: self.facts.builtinDirectory)
            if !self.facts.isExecutable(program) {
                self.error(
                    at: process.programLocation,
                    "the program of 'builtin: \(builtin.rawValue)' cannot be run: \(program)",
                    remedy: "build it (swift build -c release) or install it beside dynamo-launch"
                )
            }
            return (program, [])
        case .module(let module, _):
            // A missing interpreter has been complained about.
            let python = context.interpreters[process.name.value]?.path ?? self.manifest.dynamo.python.value
            return (python, [Located("-m", process.programLocation), Located(module, process.programLocation)])
        case .command(let words):
            guard let first = words.first else { return ("", []) }
            let name = self.resolved(first.value, at: first.location, values)
            let arguments = words.dropFirst().map {
                Located(self.resolved($0.value, at: $0.location, values), $0.location)
            }
            if let program = self.executable(name, searching: path) { return (program, arguments) }
            let where_ = name.contains("/") ? "cannot be run" : "is not on PATH"
            self.error(
                at: first.location,
                "the program '\(Spelling.excerpt(name))' of process '\(process.name.value)' \(where_)",
                remedy: name.contains("/")
                    ? "check the path (relative to the manifest's folder) and that it is executable"
                    : "install it, or write its path"
            )
            return (name, arguments)
        }
    }

    private mutating func workingDirectory(_ process: ProcessManifest, _ values: [String: Template.Value]) -> String {
        guard let template = process.workingDirectory else { return self.facts.workingDirectory }
        let text = self.resolved(template.value, at: template.location, values)
        let directory = FilePathText.resolve(text, against: self.manifestDirectory)
        if !self.facts.directoryExists(directory) {
            self.error(
                at: template.location,
                "the working directory of process '\(process.name.value)' does not exist: \(Spelling.excerpt(directory, limit: 200))",
                remedy: "create it, or write another one (relative to the manifest's folder)"
            )
        }
        return directory
    }

    /// Flags whose values only the plan knows, and those after `--`.
    private mutating func checkFlags(
        _ draft: ReplicaDraft,
        _ arguments: [String],
        written: Int,
        words: [Located<String>],
        _ environment: [EnvironmentVariable]
    ) {
        let process = draft.process
        guard process.isDynamo || process.isBuiltin else { return }
        for flag in PlaneFlag.all where process.role == .frontend || !flag.isFrontendOnly {
            guard let (value, index) = flag.value(in: arguments) else { continue }
            let derived = environment.first { $0.name == flag.variable.rawValue && $0.source == .derived }?.value
            guard value != derived else { continue }
            let location =
                index < written
                ? words[safe: index]?.location ?? process.programLocation : Location(file: Self.passthroughFile)
            self.error(
                at: location,
                derived.map {
                    "'\(flag.flag) \(Spelling.excerpt(value))' contradicts '\(flag.variable.key)', which is '\($0)'"
                }
                    ?? "'\(flag.flag)' contradicts '\(flag.variable.key)': this deployment does not use it",
                remedy: "remove the flag" + (derived == nil ? "" : ", or change '\(flag.variable.key)'")
            )
        }
    }

    // MARK: Order

    private func dependencies(of process: ProcessManifest, _ context: ReplicaContext) -> [Dependency] {
        var dependencies: [Dependency] = []
        // Whoever uses the planes needs their servers; so does what the manifest itself calls infrastructure.
        for service in context.services
        where !process.dependsOn.contains(where: { $0.process.value == service.process }) {
            dependencies.append(Dependency(process: service.process, layer: service.readiness.last?.layer ?? .alive))
        }
        let named = Set(process.dependsOn.map(\.process.value))
        if process.role != .infrastructure {
            dependencies += context.infrastructure.filter { !named.contains($0.process) }
        }
        for dependency in process.dependsOn {
            let name = dependency.process.value
            if let service = context.services.first(where: { $0.process == name }) {
                dependencies.append(
                    Dependency(process: name, layer: dependency.layer?.value ?? service.readiness.last?.layer ?? .alive)
                )
            } else if let target = self.manifest.processes.first(where: { $0.name.value == name }), target.replicas > 0
            {
                dependencies.append(
                    Dependency(process: name, layer: ReadinessRules.layer(of: target, for: process, dependency))
                )
            }
        }
        return dependencies
    }

    // MARK: Readiness

    private mutating func readiness(
        _ draft: ReplicaDraft,
        _ values: [String: Template.Value],
        _ context: ReplicaContext
    ) -> [LayerProbe] {
        let process = draft.process
        let isFrontend = process.role == .frontend
        let host = isFrontend ? context.frontendHost : "127.0.0.1"
        let port = draft.port(isFrontend ? "http" : "system") ?? draft.ports.first?.port ?? 0
        return ReadinessRules.layers(of: process).map { layer in
            let probe = process.probes.last { $0.layer == layer && $0.question != .none }
            if let probe, let question = self.probe(probe, of: draft, values, context) {
                return LayerProbe(layer: layer, probe: question)
            }
            return LayerProbe(
                layer: layer,
                probe: ReadinessRules.probe(
                    for: layer,
                    of: process,
                    address: HTTPAddress(host: host, port: port),
                    model: self.manifest.model,
                    canary: self.manifest.canary
                )
            )
        }
    }

    private mutating func probe(
        _ probe: ProbeManifest,
        of draft: ReplicaDraft,
        _ values: [String: Template.Value],
        _ context: ReplicaContext
    ) -> Probe? {
        let at = probe.location
        let base = HTTPAddress(host: context.frontendHost, port: draft.port("http") ?? context.publicAddress.port)
            .localURL
        switch probe.question {
        case .none: return nil
        case .process: return .process
        case .tcp(let host, let port):
            let text = self.resolved(port, at: at, values)
            guard let number = Int(text), (1...65535).contains(number) else {
                self.error(
                    at: at,
                    "the probe's port would be '\(Spelling.excerpt(text))'",
                    remedy: "keep it between 1 and 65535"
                )
                return nil
            }
            return .tcp(host: self.resolved(host, at: at, values), port: number)
        case .http(let url, let statuses, let contains):
            return .http(url: self.resolved(url, at: at, values), statuses: statuses, bodyContains: contains)
        case .exec(let words): return .exec(argv: words.map { self.resolved($0, at: at, values) })
        case .log(let pattern): return .logLine(pattern: pattern)
        case .nats(let url): return .natsPing(url: self.resolved(url, at: at, values))
        case .system(let url): return .systemHealth(url: self.resolved(url, at: at, values))
        case .modelListed: return .modelListed(baseURL: base, model: self.manifest.model)
        case .modelReady: return .modelReady(baseURL: base, model: self.manifest.model)
        case .generate: return .generate(baseURL: base, model: self.manifest.model, canary: self.manifest.canary)
        case .requestPlane(let component, let endpoint): return .requestPlane(component: component, endpoint: endpoint)
        case .notify: return .notify
        }
    }
}

extension Array {
    /// The element, if there is one.
    subscript(safe index: Int) -> Element? {
        self.indices.contains(index) ? self[index] : nil
    }
}
