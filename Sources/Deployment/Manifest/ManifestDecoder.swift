/// Turns the tree of a manifest into a `Manifest`, collecting everything that is wrong.
struct ManifestDecoder {
    /// Far more than a machine runs, few enough to be compared with each other.
    private static let processLimit = 1000

    var node = NodeDecoder()
    let file: String
    let environment: [String: String]
    let overrides: ManifestOverrides
    /// What the gateway listens on beside the public port.
    var gatewayPorts: [GatewayPort] = []
    /// Where the file begins: for what is missing.
    private var start: Location { Location(file: self.file, line: 1, column: 1) }

    init(file: String, environment: [String: String], overrides: ManifestOverrides) {
        self.file = file
        self.environment = environment
        self.overrides = overrides
    }

    mutating func manifest(_ root: ManifestNode) -> Manifest? {
        guard case .mapping = root.content else {
            if root.content != .invalid {
                let what =
                    root.content == .null ? "the manifest is empty" : "a manifest must be a mapping, not \(root.kind)"
                self.node.error(at: root.location, what, remedy: YAMLReader.example)
            }
            return nil
        }
        guard let fields = self.node.fields(root, of: "the manifest", keys: ManifestKey.root) else { return nil }
        let name = self.name(fields["name"]?.value)
        let model = fields["model"].flatMap { self.node.text($0.value, "'model'") }
        let preflight = fields["preflight"].map { self.preflight($0.value) } ?? []
        var processes = ProcessDecoder(
            hasModel: fields["model"] != nil,
            // Also of those that could not be read.
            preflights: self.keys(of: fields["preflight"]?.value)
        )
        let decoded = self.processes(fields["processes"], &processes)
        let (nats, etcd) = self.infrastructure(fields["infrastructure"]?.value)
        let environment =
            fields["env"].map {
                self.environmentEntries(
                    $0.value,
                    "'env'",
                    names: processes.sharedNames,
                    hasModel: fields["model"] != nil
                )
            } ?? []
        let manifest = Manifest(
            path: self.file,
            name: name ?? Located("unnamed", self.start),
            model: model?.value,
            planes: self.planes(fields["planes"]?.value),
            discovery: self.discovery(fields["discovery"]?.value),
            namespace: self.namespace(fields["namespace"]?.value, name: name),
            dynamo: self.dynamo(fields["dynamo"]?.value),
            http: self.http(fields["http"]?.value),
            gateway: self.gateway(fields["gateway"]?.value, processes: decoded, shared: environment),
            gatewayPorts: self.gatewayPorts,
            device: fields["device"].flatMap { self.node.choice($0.value, "'device'", Device.self)?.value } ?? .cuda,
            gpuSharing: fields["gpuSharing"].flatMap {
                self.node.choice($0.value, "'gpuSharing'", GPUSharing.self)?.value
            } ?? .exclusive,
            environment: environment,
            unset: fields["unset"].map { self.variableNames($0.value, "'unset'") } ?? [],
            inherit: fields["inherit"].flatMap { self.inherit($0.value) } ?? .all,
            processes: decoded,
            processNames: self.keys(of: fields["processes"]?.value),
            incomplete: processes.incomplete,
            nats: nats,
            etcd: etcd,
            preflight: preflight,
            passthrough: fields["passthrough"].flatMap { self.node.text($0.value, "'passthrough'") },
            canary: fields["canary"].flatMap { self.canary($0.value) } ?? CanaryRequest(),
            migration: fields["migration"].map { self.migration($0.value) } ?? MigrationSettings(),
            survive: fields["survive"].flatMap { self.node.boolean($0.value, "'survive'") } ?? false,
            kubernetes: fields["kubernetes"].map { self.kubernetes($0.value) } ?? KubernetesSettings(),
            warnings: [],
            variables: []
        )
        return manifest
    }

    // MARK: Names

    private mutating func name(_ node: ManifestNode?) -> Located<String>? {
        guard let node else {
            self.node.error(
                at: self.start,
                "the deployment has no name",
                remedy: "add 'name: my-deployment'; logs, state and the Dynamo namespace are named after it"
            )
            return nil
        }
        guard let name = self.node.text(node, "'name'") else { return nil }
        return self.checked(name: name, "the deployment's name") ? name : nil
    }

    /// What is a file name, a DNS label and a part of a NATS subject.
    private mutating func checked(name: Located<String>, _ what: String) -> Bool {
        let fits = name.value.wholeMatch(of: /[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/) != nil
        if !fits {
            self.node.error(
                at: name.location,
                "\(what) '\(Spelling.excerpt(name.value))' is not usable as a file name and a host label",
                remedy: "use at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
            )
        }
        return fits
    }

    private mutating func namespace(_ node: ManifestNode?, name: Located<String>?) -> Located<String> {
        let remedy = "write another one; a frontend in namespace 'dynamo' takes the workers of every deployment"
        guard let node else {
            if let name, name.value == "dynamo" {
                self.node.error(
                    at: name.location,
                    "the name 'dynamo' would also be the Dynamo namespace, and that namespace means all namespaces",
                    remedy: "choose another name, or add 'namespace: NAME'"
                )
            }
            return name ?? Located("unnamed", self.start)
        }
        guard let namespace = self.node.text(node, "'namespace'") else { return Located("unnamed", node.location) }
        if namespace.value == "dynamo" {
            self.node.error(at: node.location, "the namespace 'dynamo' means all namespaces", remedy: remedy)
        } else if namespace.value.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9_-]{0,126}/) == nil {
            self.node.error(
                at: node.location,
                "the namespace '\(Spelling.excerpt(namespace.value))' has characters that a NATS subject cannot have",
                remedy: "use letters, digits, '-' and '_', beginning with a letter or digit"
            )
        }
        return namespace
    }

    // MARK: Processes

    private mutating func processes(
        _ entry: ManifestNode.Entry?,
        _ decoder: inout ProcessDecoder
    ) -> [ProcessManifest] {
        guard let entry else {
            self.node.error(at: self.start, "the manifest has no 'processes'", remedy: YAMLReader.example)
            return []
        }
        if case .null = entry.value.content {
            self.node.error(at: entry.keyLocation, "'processes' is empty", remedy: YAMLReader.example)
            return []
        }
        guard let entries = self.node.entries(entry.value, "'processes'") else { return [] }
        if entries.isEmpty {
            self.node.error(at: entry.keyLocation, "'processes' is empty", remedy: YAMLReader.example)
        }
        guard entries.count <= Self.processLimit else {
            self.node.error(
                at: entry.keyLocation,
                "\(entries.count) processes are more than one manifest can have (\(Self.processLimit))",
                remedy: "use 'replicas' for copies of one program"
            )
            return []
        }
        var processes: [ProcessManifest] = []
        for entry in entries {
            guard self.checked(name: Located(entry.key, entry.keyLocation), "the process name") else { continue }
            if let process = decoder.process(entry) {
                processes.append(process)
            }
        }
        self.node.append(decoder.node.diagnostics)
        return processes
    }

    private func keys(of node: ManifestNode?) -> [String] {
        guard case .mapping(let entries)? = node?.content else { return [] }
        return entries.map(\.key)
    }

    // MARK: Planes

    private mutating func planes(_ node: ManifestNode?) -> PlanesManifest {
        let start = node?.location ?? self.start
        var planes = PlanesManifest(request: Located(.tcp, start), events: nil, response: Located(.tcp, start))
        if let node {
            if case .mapping = node.content {
                let fields = self.node.fields(node, of: "'planes'", keys: ManifestKey.planes) ?? [:]
                if let request = fields["request"].flatMap({ self.requestPlane($0.value) }) { planes.request = request }
                planes.events = fields["events"].flatMap {
                    self.node.choice($0.value, "the event plane", PlaneSet.Events.self)
                }
                let response = fields["response"].flatMap {
                    self.node.choice($0.value, "the response plane", PlaneSet.Response.self)
                }
                if let response { planes.response = response }
            } else if let request = self.requestPlane(node) {
                planes.request = request
            }
        }
        if let override = self.overrides.requestPlane {
            if let plane = PlaneSet.Request(rawValue: override) {
                planes.request = Located(plane, Location(file: "--\(override)"))
            } else {
                self.invalidPlane(override, at: Location(file: "command line"))
            }
        }
        return planes
    }

    private mutating func requestPlane(_ node: ManifestNode) -> Located<PlaneSet.Request>? {
        guard let scalar = self.node.scalar(node, "the request plane", wanted: "tcp, http or nats") else { return nil }
        guard let plane = PlaneSet.Request(rawValue: scalar.value.text) else {
            self.invalidPlane(scalar.value.shown, at: node.location)
            return nil
        }
        return Located(plane, node.location)
    }

    private mutating func invalidPlane(_ text: String, at location: Location) {
        let words = PlaneSet.Request.allCases.map(\.rawValue)
        self.node.error(
            at: location,
            "Invalid request plane mode '\(text)': valid values are tcp, http, nats",
            remedy: "write '\(Spelling.nearest(to: text, among: words) ?? "tcp")'"
        )
    }

    // MARK: The rest of the top level

    private mutating func discovery(_ node: ManifestNode?) -> DiscoveryManifest {
        let start = node?.location ?? self.start
        var discovery = DiscoveryManifest(backend: Located(.file, start), directory: nil, endpoints: [])
        guard let node else { return discovery }
        guard case .mapping = node.content else {
            let backend = self.node.choice(node, "'discovery'", DiscoveryManifest.Backend.self)
            return DiscoveryManifest(backend: backend ?? discovery.backend, directory: nil, endpoints: [])
        }
        let fields = self.node.fields(node, of: "'discovery'", keys: ManifestKey.discovery) ?? [:]
        if let backend = fields["backend"].flatMap({
            self.node.choice($0.value, "'discovery.backend'", DiscoveryManifest.Backend.self)
        }) {
            discovery.backend = backend
        }
        if let directory = fields["directory"] {
            discovery.directory = self.node.text(directory.value, "'discovery.directory'")
            self.refuse(directory, unless: discovery.backend.value == .file, "file", discovery.backend.value)
        }
        if let endpoints = fields["endpoints"] {
            let texts = self.node.texts(endpoints.value, "'discovery.endpoints'")
            discovery.endpoints = texts.filter { self.checkedEtcd(url: $0) }
            self.refuse(endpoints, unless: discovery.backend.value == .etcd, "etcd", discovery.backend.value)
        }
        return discovery
    }

    private mutating func refuse(
        _ entry: ManifestNode.Entry,
        unless fits: Bool,
        _ wanted: String,
        _ backend: DiscoveryManifest.Backend
    ) {
        guard !fits else { return }
        self.node.error(
            at: entry.keyLocation,
            "'discovery.\(entry.key)' belongs to backend '\(wanted)', and the backend is '\(backend.rawValue)'",
            remedy: "remove it, or write 'backend: \(wanted)'"
        )
    }

    private mutating func dynamo(_ node: ManifestNode?) -> DynamoManifest {
        var dynamo = DynamoManifest(release: nil, python: Located("python3", node?.location ?? self.start))
        guard let node, let fields = self.node.fields(node, of: "'dynamo'", keys: ManifestKey.dynamo) else {
            return dynamo
        }
        if let python = fields["python"].flatMap({ self.node.text($0.value, "'dynamo.python'") }) {
            dynamo.python = python
        }
        if let entry = fields["release"], let text = self.node.text(entry.value, "'dynamo.release'") {
            if let release = DynamoRelease(text.value) {
                dynamo.release = Located(release, text.location)
            } else {
                self.node.error(
                    at: text.location,
                    "'dynamo.release' cannot be '\(Spelling.excerpt(text.value))'",
                    remedy: "write a release such as 1.2.1, or remove the key to ask the interpreter"
                )
            }
        }
        return dynamo
    }

    private mutating func http(_ node: ManifestNode?) -> HTTPManifest {
        var http = HTTPManifest(
            host: Located("0.0.0.0", node?.location ?? self.start),
            port: Located(8000, node?.location ?? self.start),
            isPortGiven: false
        )
        let fields = node.flatMap { self.node.fields($0, of: "'http'", keys: ManifestKey.http) } ?? [:]
        if let host = fields["host"].flatMap({ self.node.text($0.value, "'http.host'") }) {
            if host.value.contains(where: { $0.isWhitespace || $0 == "/" || $0 == "@" }) {
                self.node.error(
                    at: host.location,
                    "'http.host' is a URL or has spaces: '\(Spelling.excerpt(host.value))'",
                    remedy: "write an address to listen on, such as 127.0.0.1 or 0.0.0.0"
                )
            }
            http.host = host
        }
        if let port = fields["port"] {
            http.isPortGiven = true
            if case .scalar(let scalar) = port.value.content, scalar.text == "auto" {
                http.port = Located(nil, port.value.location)
            } else if let number = self.node.port(port.value, "'http.port'") {
                http.port = Located(number.value, number.location)
            }
        } else if let text = self.environment["DYN_HTTP_PORT"], !text.isEmpty {
            if let number = Int(text), (1...65535).contains(number) {
                http.port = Located(number, Location(file: "DYN_HTTP_PORT"))
            } else {
                self.node.error(
                    at: Location(file: "DYN_HTTP_PORT"),
                    "the variable is '\(Spelling.excerpt(text))', which is no port",
                    remedy: "set it to 1 to 65535, or unset it for port 8000"
                )
            }
        }
        return http
    }

    private mutating func canary(_ node: ManifestNode) -> CanaryRequest? {
        guard let fields = self.node.fields(node, of: "'canary'", keys: ManifestKey.canary) else { return nil }
        var canary = CanaryRequest()
        let endpoint = fields["endpoint"].flatMap {
            self.node.choice($0.value, "'canary.endpoint'", CanaryRequest.Endpoint.self)
        }
        if let endpoint { canary.endpoint = endpoint.value }
        if let prompt = fields["prompt"].flatMap({ self.node.text($0.value, "'canary.prompt'") }) {
            canary.prompt = prompt.value
        }
        if let timeout = fields["timeout"].flatMap({ self.node.duration($0.value, "'canary.timeout'") }) {
            canary.timeout = timeout
        }
        return canary
    }

    private mutating func inherit(_ node: ManifestNode) -> InheritPolicy? {
        switch node.content {
        case .scalar(let scalar) where scalar.text == "all": return .all
        case .scalar(let scalar) where scalar.text == "none": return InheritPolicy.none
        case .sequence:
            let patterns = self.node.texts(node, "'inherit'")
            for pattern in patterns where pattern.value.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*\*?/) == nil {
                self.node.error(
                    at: pattern.location,
                    "'\(Spelling.excerpt(pattern.value))' is no variable's name",
                    remedy: "write a name such as HOME, or a beginning with a star such as \"HF_*\""
                )
            }
            return .only(patterns.map(\.value))
        default:
            self.node.wrongType(node, "'inherit'", wanted: "all, none or a list of names", remedy: nil)
            return nil
        }
    }
}
