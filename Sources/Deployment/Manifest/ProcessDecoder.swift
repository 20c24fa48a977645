/// Reads one entry under `processes`.
struct ProcessDecoder {
    /// What every replica can use in `{{...}}`, beside its ports.
    static let names = ["index", "replicas", "name", "namespace", "model", "gpus"]

    var node = NodeDecoder()
    private(set) var incomplete: [ProcessManifest] = []
    private let hasModel: Bool
    /// The names that templates of the process at hand may use.
    var names: [String] = []
    var portNames: [String] = []

    /// What templates of all processes may use.
    let sharedNames: [String]

    init(hasModel: Bool, preflights: [String] = []) {
        self.hasModel = hasModel
        self.sharedNames = Self.names + preflights.map { "preflight.\($0)" }
    }

    mutating func process(_ entry: ManifestNode.Entry) -> ProcessManifest? {
        let label = "process '\(entry.key)'"
        if case .null = entry.value.content {
            self.node.error(
                at: entry.keyLocation,
                "\(label) is empty",
                remedy: "say what it runs: 'builtin: worker', 'module: dynamo.vllm' or 'command: [...]'"
            )
            return nil
        }
        guard let fields = self.node.fields(entry.value, of: label, keys: ManifestKey.process) else { return nil }
        let ports = fields["ports"].map { self.ports($0.value) } ?? []
        // The program's templates may use the implicit ports, which depend on the role, which depends on the program.
        self.portNames = ports.map(\.name.value)
        self.names = self.sharedNames + (self.portNames + ["http", "system"]).map { "port.\($0)" }
        guard let (program, location) = self.program(fields, label, at: entry.keyLocation) else {
            self.rest(fields, label, entry)
            return nil
        }
        guard let role = self.role(fields["role"]?.value, of: program, label, at: location) else {
            self.rest(fields, label, entry)
            return nil
        }
        var process = ProcessManifest(
            name: Located(entry.key, entry.keyLocation),
            role: role,
            program: program,
            programLocation: location,
            arguments: [],
            replicas: 1,
            environment: [],
            unset: [],
            workingDirectory: nil,
            ports: ports,
            gpus: nil,
            kvEvents: nil,
            dependsOn: [],
            probes: [],
            timing: ProbeTiming(),
            restart: RestartPolicy(),
            stop: StopPlan()
        )
        if role == .frontend, !self.portNames.contains("http") { self.portNames.append("http") }
        if process.hasSystemServer, !self.portNames.contains("system") { self.portNames.append("system") }
        self.names = self.sharedNames + self.portNames.map { "port.\($0)" }
        self.recheck(program, at: location)
        self.fill(&process, fields, label)
        return process
    }

    /// Everything else is read too when the program is unknown, for its errors.
    private mutating func rest(_ fields: [String: ManifestNode.Entry], _ label: String, _ entry: ManifestNode.Entry) {
        var process = ProcessManifest(
            name: Located(entry.key, entry.keyLocation),
            role: .infrastructure,
            program: .command([]),
            programLocation: entry.keyLocation,
            arguments: [],
            replicas: 1,
            environment: [],
            unset: [],
            workingDirectory: nil,
            ports: [],
            gpus: nil,
            kvEvents: nil,
            dependsOn: [],
            probes: [],
            timing: ProbeTiming(),
            restart: RestartPolicy(),
            stop: StopPlan()
        )
        self.portNames += ["http", "system"]
        self.fill(&process, fields, label)
        self.incomplete.append(process)
    }

    private mutating func fill(
        _ process: inout ProcessManifest,
        _ fields: [String: ManifestNode.Entry],
        _ label: String
    ) {
        if let args = fields["args"] {
            process.arguments = self.arguments(args.value, "'args'")
        }
        if let replicas = fields["replicas"], let count = self.node.integer(replicas.value, "'replicas'", in: 0...10000)
        {
            process.replicas = count.value
        }
        if let env = fields["env"] {
            process.environment = self.node.environmentEntries(
                env.value,
                "'env'",
                names: self.names,
                hasModel: self.hasModel
            )
        }
        process.unset = fields["unset"].map { self.node.variableNames($0.value, "'unset'") } ?? []
        if let directory = fields["workingDirectory"] {
            let template = self.template(directory.value, "'workingDirectory'")
            if let template, template.value.literal?.isEmpty ?? false {
                self.node.error(
                    at: template.location,
                    "'workingDirectory' is empty",
                    remedy: "write a folder, or remove the key"
                )
            }
            process.workingDirectory = template
        }
        process.listen = fields["listen"].map { self.listen($0, of: process) } ?? []
        process.gpus = fields["gpus"].flatMap { self.gpus($0.value, replicas: process.replicas) }
        process.kvEvents = fields["kvEvents"].flatMap { self.kvEvents($0) }
        process.limits = fields["limits"].flatMap { self.limits($0.value) }
        process.dependsOn = fields["dependsOn"].map { self.dependencies($0.value) } ?? []
        process.probes = fields["probes"].map { self.probes($0.value, of: process) } ?? []
        self.checkPassedVariables(of: process)
        if let timing = fields["timing"] { process.timing = self.timing(timing.value) }
        if let restart = fields["restart"] { process.restart = self.restart(restart.value) }
        if let stop = fields["stop"] { process.stop = self.stop(stop.value) }
        if let kubernetes = fields["kubernetes"] { process.kubernetes = self.kubernetes(kubernetes.value) }
    }

    mutating func template(_ node: ManifestNode, _ what: String) -> Located<Template>? {
        self.node.processTemplate(node, what, names: self.names, hasModel: self.hasModel)
    }

    // MARK: What is run

    private mutating func program(
        _ fields: [String: ManifestNode.Entry],
        _ label: String,
        at location: Location
    ) -> (ProcessManifest.Program, Location)? {
        let given = ["command", "builtin", "module"].compactMap { fields[$0] }
        if given.count > 1 {
            let keys = given.sorted {
                ($0.keyLocation.line, $0.keyLocation.column) < ($1.keyLocation.line, $1.keyLocation.column)
            }
            self.node.error(
                at: keys[1].keyLocation,
                "\(label) has both '\(keys[0].key)' and '\(keys[1].key)'",
                remedy: "keep one of them"
            )
            return nil
        }
        if let python = fields["python"], fields["module"] == nil {
            self.node.error(
                at: python.keyLocation,
                "'python' belongs to 'module', which \(label) does not have",
                remedy: "remove 'python', or write 'module: dynamo.vllm' instead of '\(given.first?.key ?? "command")'"
            )
        }
        guard let entry = given.first else {
            self.node.error(
                at: location,
                "\(label) does not say what it runs",
                remedy: "add 'builtin: frontend', 'module: dynamo.vllm' or 'command: [program, argument]'"
            )
            return nil
        }
        switch entry.key {
        case "builtin":
            guard let builtin = self.node.choice(entry.value, "'builtin'", ProcessManifest.Builtin.self) else {
                return nil
            }
            return (.builtin(builtin.value), entry.value.location)
        case "module":
            return self.module(entry.value, python: fields["python"]?.value)
        default:
            return self.command(entry)
        }
    }

    private mutating func module(_ node: ManifestNode, python: ManifestNode?) -> (ProcessManifest.Program, Location)? {
        let python = python.flatMap { self.node.text($0, "'python'") }
        guard let module = self.node.text(node, "'module'") else { return nil }
        guard module.value.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*/) != nil else {
            self.node.error(
                at: module.location,
                "'\(Spelling.excerpt(module.value))' is no Python module",
                remedy: "write a module such as dynamo.vllm; its arguments belong under 'args'"
            )
            return nil
        }
        return (.module(module.value, python: python), module.location)
    }

    private mutating func command(_ entry: ManifestNode.Entry) -> (ProcessManifest.Program, Location)? {
        if case .scalar(let scalar) = entry.value.content {
            let words = scalar.text.split(separator: " ").map(String.init).joined(separator: ", ")
            self.node.error(
                at: entry.value.location,
                "'command' must be a list: it is run as it is, without a shell",
                remedy: scalar.isSecret ? "write a list of words" : "write [\(Spelling.excerpt(words))]"
            )
            return nil
        }
        guard let items = self.node.items(entry.value, "'command'") else { return nil }
        guard !items.isEmpty else {
            self.node.error(
                at: entry.value.location,
                "'command' is empty",
                remedy: "write the program and its arguments: [program, argument]"
            )
            return nil
        }
        let words = self.arguments(entry.value, "'command'")
        guard words.count >= items.count else { return nil }
        if words[0].value.literal?.isEmpty ?? false {
            self.node.error(
                at: words[0].location,
                "the program's name is empty",
                remedy: "write its path or its name on PATH"
            )
            return nil
        }
        return (.command(words), entry.value.location)
    }

    /// `{{port.http}}` in a command, now that it is known whether there is such a port.
    private mutating func recheck(_ program: ProcessManifest.Program, at location: Location) {
        guard case .command(let words) = program else { return }
        for word in words {
            for name in word.value.names where !self.names.contains(name) {
                self.node.error(
                    at: word.location,
                    "unknown name '\(name)' in '{{...}}'",
                    remedy:
                        "add the port under 'ports', for example '\(name.split(separator: ".").last ?? "http"): auto'"
                )
            }
        }
    }

    /// Texts, and groups of texts that are used on a condition.
    private mutating func arguments(_ node: ManifestNode, _ what: String) -> [Located<Template>] {
        guard let items = self.node.items(node, what) else { return [] }
        return items.flatMap { self.argument($0, what) }
    }

    private mutating func argument(_ item: ManifestNode, _ what: String) -> [Located<Template>] {
        switch item.content {
        case .mapping(let entries) where entries.contains(where: { $0.key == "when" || $0.key == "equals" }):
            return self.conditional(item)
        case .mapping:
            self.node.error(
                at: item.location,
                "an item of \(what) must be a text, not a mapping",
                remedy: "put JSON, and texts with ': ' in them, in single quotes: '{\"key\": \"value\"}'"
            )
            return []
        case .sequence:
            self.node.error(
                at: item.location,
                "an item of \(what) must be a text, not a list",
                remedy: "put JSON in single quotes, or write one '- item' line for each"
            )
            return []
        case .null:
            self.node.error(
                at: item.location,
                "an item of \(what) is empty",
                remedy: "remove it, or write \"\" for an empty argument"
            )
            return []
        case .scalar, .invalid:
            return self.template(item, "an item of \(what)").map { [$0] } ?? []
        }
    }

    private mutating func conditional(_ item: ManifestNode) -> [Located<Template>] {
        let keys = ManifestKey.conditionalArguments
        guard let fields = self.node.fields(item, of: "conditional arguments", keys: keys) else { return [] }
        guard let when = fields["when"], let equals = fields["equals"], let args = fields["args"] else {
            self.node.error(
                at: item.location,
                "conditional arguments need 'when', 'equals' and 'args'",
                remedy: "write {when: \"${VAR:-a}\", equals: b, args: [--flag]}"
            )
            return []
        }
        let arguments = self.arguments(args.value, "'args'")
        guard let left = self.node.scalar(when.value, "'when'"), let right = self.node.scalar(equals.value, "'equals'")
        else {
            return []
        }
        return left.value.text == right.value.text ? arguments : []
    }

    // MARK: Role

    private mutating func role(
        _ node: ManifestNode?,
        of program: ProcessManifest.Program,
        _ label: String,
        at location: Location
    ) -> Role? {
        let implied: Role? =
            switch program {
            case .builtin(let builtin): builtin.role
            case .module(let module, _): DynamoModules.role(of: module)
            case .command: nil
            }
        guard let node else {
            if implied == nil {
                var remedy = "add 'role: worker' (or frontend, router, infrastructure)"
                if case .module(let module, _) = program, let meant = DynamoModules.nearest(to: module) {
                    remedy = "did you mean '\(meant)'? For a module of your own \(remedy)"
                }
                self.node.error(at: location, "\(label) has no role", remedy: remedy)
            }
            return implied
        }
        guard let role = self.node.choice(node, "'role'", Role.self) else { return nil }
        if let implied, implied != role.value,
            implied == .frontend || role.value == .frontend || self.isBuiltin(program)
        {
            self.node.error(
                at: role.location,
                "\(label) cannot be a \(role.value.rawValue): what it runs is a \(implied.rawValue)",
                remedy: "remove 'role'"
            )
            return implied
        }
        return role.value
    }

    private func isBuiltin(_ program: ProcessManifest.Program) -> Bool {
        if case .builtin = program { true } else { false }
    }
}
