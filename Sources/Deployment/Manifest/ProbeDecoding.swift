// Probes that a process overrides or adds.

extension ProcessDecoder {
    mutating func probes(_ node: ManifestNode, of process: ProcessManifest) -> [ProbeManifest] {
        guard let entries = self.node.entries(node, "'probes'") else { return [] }
        let layers = ReadinessLayer.allCases.map(\.rawValue)
        return entries.compactMap { entry in
            guard let layer = ReadinessLayer(rawValue: entry.key) else {
                self.node.unknownKey(entry, of: "'probes'", keys: layers)
                return nil
            }
            guard let question = self.question(entry.value, of: process) else { return nil }
            if layer == .alive, question != .process {
                self.node.error(
                    at: entry.keyLocation,
                    "the layer 'alive' means that the process runs, and cannot be anything else",
                    remedy: "use another layer for this probe, such as 'health'"
                )
                return nil
            }
            return ProbeManifest(layer: layer, question: question, location: entry.keyLocation)
        }
    }

    /// With the probe `notify` the launcher gives the process a socket of its own.
    mutating func checkNotification(of process: ProcessManifest) {
        guard process.probes.contains(where: { $0.question == .notify }),
            let entry = process.environment.first(where: { $0.name.value == "NOTIFY_SOCKET" })
        else { return }
        self.node.error(
            at: entry.name.location,
            "'NOTIFY_SOCKET' is set, and the probe 'notify' decides it",
            remedy: "remove the variable, or use another probe"
        )
    }

    private mutating func question(_ node: ManifestNode, of process: ProcessManifest) -> ProbeManifest.Question? {
        let example =
            "write a word (\(ManifestKey.probeWords.joined(separator: ", "))) or one of "
            + "\(ManifestKey.probe.joined(separator: ", ")), for example {http: /health}"
        switch node.content {
        case .scalar(let scalar):
            return self.word(scalar, process, at: node.location, example)
        case .mapping:
            guard let fields = self.node.fields(node, of: "a probe", keys: ManifestKey.probe) else { return nil }
            guard let entry = fields.first?.value, fields.count == 1 else {
                let isEmpty = if case .mapping(let entries) = node.content { entries.isEmpty } else { true }
                if fields.count > 1 || isEmpty {
                    self.node.error(
                        at: node.location,
                        "a probe asks exactly one question",
                        remedy: "keep one key, and use other layers for the rest"
                    )
                }
                return nil
            }
            return self.question(entry, of: process)
        default:
            self.node.wrongType(node, "a probe", wanted: "a word or a mapping", remedy: example)
            return nil
        }
    }

    private mutating func word(
        _ scalar: ManifestNode.Scalar,
        _ process: ProcessManifest,
        at location: Location,
        _ example: String
    ) -> ProbeManifest.Question? {
        let question: ProbeManifest.Question
        switch scalar.text {
        case "none": return ProbeManifest.Question.none
        case "process": return .process
        case "notify": return .notify
        case "model-listed": question = .modelListed
        case "model-ready": question = .modelReady
        case "generate": question = .generate
        default:
            let nearest = Spelling.nearest(to: scalar.text, among: ManifestKey.probeWords)
            self.node.error(
                at: location,
                "a probe cannot be '\(scalar.shown)'",
                remedy: nearest.map { "write '\($0)'" } ?? example
            )
            return nil
        }
        guard process.role == .frontend else {
            self.node.error(
                at: location,
                "the probe '\(scalar.text)' asks a frontend, and process '\(process.name.value)' is none",
                remedy: "put it into the frontend's probes"
            )
            return nil
        }
        return question
    }

    private mutating func question(_ entry: ManifestNode.Entry, of process: ProcessManifest) -> ProbeManifest.Question?
    {
        switch entry.key {
        case "http": return self.http(entry.value, process)
        case "tcp": return self.tcp(entry.value)
        case "exec":
            guard let items = self.node.items(entry.value, "'exec'") else { return nil }
            let words = items.compactMap { self.template($0, "an item of 'exec'")?.value }
            guard words.count == items.count else { return nil }
            guard !words.isEmpty else {
                self.node.error(
                    at: entry.value.location,
                    "'exec' is empty",
                    remedy: "write the program and its arguments: [program, argument]"
                )
                return nil
            }
            return .exec(words)
        case "log":
            guard let pattern = self.node.text(entry.value, "'log'") else { return nil }
            guard pattern.value.utf8.count <= 500, (try? Regex(pattern.value)) != nil else {
                self.node.error(
                    at: pattern.location,
                    "'\(Spelling.excerpt(pattern.value))' is no regular expression of at most 500 bytes",
                    remedy: "put a backslash before each of . * + ? ( ) [ ] { } | ^ $ \\ that stands for itself"
                )
                return nil
            }
            return .log(pattern.value)
        case "nats": return self.template(entry.value, "'nats'").map { .nats($0.value) }
        case "system": return self.url(entry.value, "'system'", process).map { .system($0) }
        default: return self.requestPlane(entry.value)
        }
    }

    private mutating func http(_ node: ManifestNode, _ process: ProcessManifest) -> ProbeManifest.Question? {
        guard case .mapping = node.content else {
            return self.url(node, "'http'", process).map { .http(url: $0, statuses: [], contains: nil) }
        }
        guard let fields = self.node.fields(node, of: "'http'", keys: ManifestKey.httpProbe) else { return nil }
        var statuses: [Int] = []
        if let status = fields["status"] {
            let items = if case .sequence(let items) = status.value.content { items } else { [status.value] }
            statuses = items.compactMap { self.node.integer($0, "'status'", in: 100...599)?.value }
        }
        let contains = fields["contains"].flatMap { self.node.text($0.value, "'contains'")?.value }
        guard let url = fields["url"] else {
            self.node.error(at: node.location, "'http' has no 'url'", remedy: "add 'url: /health', or a whole URL")
            return nil
        }
        return self.url(url.value, "'url'", process).map { .http(url: $0, statuses: statuses, contains: contains) }
    }

    /// A URL, or a path on the process's own server.
    private mutating func url(_ node: ManifestNode, _ what: String, _ process: ProcessManifest) -> Template? {
        guard var template = self.template(node, what)?.value else { return nil }
        guard case .literal(let start)? = template.parts.first else {
            self.node.error(
                at: node.location,
                "\(what) does not begin with http:// or /",
                remedy: "write /health, or http://HOST:PORT/health"
            )
            return nil
        }
        if start.hasPrefix("http://") { return template }
        guard start.hasPrefix("/") else {
            let isTLS = start.hasPrefix("https://")
            self.node.error(
                at: node.location,
                isTLS
                    ? "\(what) begins with https://, which probes do not speak"
                    : "\(what) does not begin with http:// or /",
                remedy: "write /health, or http://HOST:PORT/health"
            )
            return nil
        }
        let candidates = process.role == .frontend ? ["http", "system"] : ["system", "http"]
        guard let port = candidates.first(where: { self.portNames.contains($0) }) ?? self.portNames.first else {
            self.node.error(
                at: node.location,
                "\(what) is a path, and process '\(process.name.value)' has no port",
                remedy: "add 'ports: {http: auto}', or write http://HOST:PORT/..."
            )
            return nil
        }
        template.parts.insert(contentsOf: [.literal("http://127.0.0.1:"), .expression(.name("port.\(port)"))], at: 0)
        return template
    }

    private mutating func tcp(_ node: ManifestNode) -> ProbeManifest.Question? {
        var host = Template(literal: "127.0.0.1")
        var portNode = node
        if case .mapping = node.content {
            guard let fields = self.node.fields(node, of: "'tcp'", keys: ManifestKey.tcpProbe) else { return nil }
            if let entry = fields["host"] {
                guard let given = self.template(entry.value, "'host'") else { return nil }
                host = given.value
            }
            guard let port = fields["port"] else {
                self.node.error(at: node.location, "'tcp' has no 'port'", remedy: "add 'port: http' or a number")
                return nil
            }
            portNode = port.value
        }
        guard let scalar = self.node.scalar(portNode, "'tcp'", wanted: "a port's name or number") else { return nil }
        let text = scalar.value.text
        if self.portNames.contains(text) {
            return .tcp(host: host, port: Template(parts: [.expression(.name("port.\(text)"))]))
        }
        if text.contains("{{") {
            if let colon = text.lastIndex(of: ":") {
                var hostNode = portNode
                var numberNode = portNode
                hostNode.content = .scalar(.init(text: String(text[..<colon])))
                numberNode.content = .scalar(.init(text: String(text[text.index(after: colon)...])))
                guard let host = self.template(hostNode, "'tcp'"), let port = self.template(numberNode, "'tcp'") else {
                    return nil
                }
                return .tcp(host: host.value, port: port.value)
            }
            return self.template(portNode, "'tcp'").map { .tcp(host: host, port: $0.value) }
        }
        if let number = Int(text) {
            guard (1...65535).contains(number) else {
                self.node.error(at: portNode.location, "the port \(number) is out of range", remedy: "write 1 to 65535")
                return nil
            }
            return .tcp(host: host, port: Template(literal: text))
        }
        if let address = AddressText.split(text), let port = address.port, !address.host.isEmpty {
            return .tcp(host: Template(literal: address.host), port: Template(literal: String(port)))
        }
        let nearest = Spelling.nearest(to: text, among: self.portNames)
        self.node.error(
            at: portNode.location,
            "'\(scalar.value.shown)' is no port of this process and no address",
            remedy: nearest.map { "write '\($0)'" } ?? "write a number, HOST:PORT, or a name from 'ports'"
        )
        return nil
    }

    private mutating func requestPlane(_ node: ManifestNode) -> ProbeManifest.Question? {
        guard let text = self.node.text(node, "'requestPlane'") else { return nil }
        let parts = text.value.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, parts.allSatisfy({ $0.wholeMatch(of: /[A-Za-z0-9_-]+/) != nil }) else {
            self.node.error(
                at: text.location,
                "'\(Spelling.excerpt(text.value))' is no endpoint",
                remedy: "write component.endpoint, for example backend.generate; the namespace is the deployment's"
            )
            return nil
        }
        return .requestPlane(component: parts[0], endpoint: parts[1])
    }
}
