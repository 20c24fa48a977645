/// A manifest with which the launcher runs what was found.
package struct AdoptedManifest: Sendable {
    /// What a person chooses about it.
    package struct Options: Sendable {
        /// nil: named after its namespace.
        package var name: String?
        /// Whether workers keep the ports that they have.
        package var keepsPorts = false
        /// PATH of the shell that would call `up`.
        package var path: String?

        package init(name: String? = nil, keepsPorts: Bool = false, path: String? = nil) {
            self.name = name
            self.keepsPorts = keepsPorts
            self.path = path
        }
    }

    package let name: String
    package let text: String
    /// What is not as it was, in words.
    package let notes: [String]
    /// The secrets that the manifest takes from the shell, with what they are now.
    package let secrets: [String: String]
    /// The public port.
    package let port: Int

    /// - Parameters:
    ///   - deployment: what was found.
    ///   - options: what a person chose.
    package init(_ deployment: FoundDeployment, _ options: Options = Options()) {
        var writer = AdoptionWriter(deployment, options)
        writer.write()
        self.name = writer.name
        self.text = writer.lines.joined(separator: "\n") + "\n"
        self.notes = writer.notes
        self.secrets = writer.secrets
        self.port = writer.port
    }
}

/// Writes it.
private struct AdoptionWriter {
    private let deployment: FoundDeployment
    private let options: AdoptedManifest.Options
    let name: String
    let port: Int
    private(set) var lines: [String] = []
    private(set) var notes: [String] = []
    private(set) var secrets: [String: String] = [:]

    init(_ deployment: FoundDeployment, _ options: AdoptedManifest.Options) {
        self.deployment = deployment
        self.options = options
        self.name = options.name ?? deployment.namespace.flatMap(Self.name) ?? "adopted"
        self.port = deployment.frontends.compactMap(\.httpPort).min() ?? 8000
    }

    /// A namespace as the name of a deployment.
    private static func name(_ namespace: String) -> String? {
        let text = namespace.lowercased().replacing("_", with: "-")
        return text.wholeMatch(of: /[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/) != nil ? text : nil
    }

    mutating func write() {
        let entries = self.entries()
        let pids = self.deployment.processes.map { String($0.pid) }.joined(separator: ", ")
        self.lines.append("# Made by 'dynamo-launch adopt' from running processes: pid \(pids).")
        self.lines.append(
            "# Variables with other beginnings than Dynamo's and its engines' come from the shell that calls 'up'."
        )
        self.lines.append("name: \(self.name)")
        self.planes()
        self.discovery()
        self.publicAddress()
        let shared = ManifestEntry.shared(entries.map(\.key.environment))
        let python = Self.most(entries.compactMap(\.key.python))
        if let python { self.lines += ["dynamo:", "  python: \(YAMLText.scalar(python))"] }
        let devices = Set(self.deployment.processes.compactMap { $0.gpus?.device })
        if devices.contains(.xpu) { self.lines.append("device: xpu") }
        if !shared.isEmpty {
            self.lines.append("env:")
            for (name, value) in shared.sorted(by: { $0.key < $1.key }) {
                self.lines.append("  \(name): \(YAMLText.value(value))")
            }
        }
        self.lines += ["", "processes:"]
        for (index, entry) in entries.enumerated() {
            if index > 0 { self.lines.append("") }
            self.lines += entry.entry.lines(python: python, shared: shared)
        }
        for secret in self.secrets.keys.sorted() {
            self.notes.append("\(secret) is a secret and not written: it must be set where 'up' is called")
        }
    }

    // MARK: The deployment

    private mutating func planes() {
        var parts = ["request: \(self.deployment.requestPlane)"]
        if let events = self.deployment.eventPlane { parts.append("events: \(events)") }
        if self.deployment.responsePlane != "tcp" { parts.append("response: \(self.deployment.responsePlane)") }
        self.lines.append("planes: {\(parts.joined(separator: ", "))}")
        if let nats = self.deployment.nats {
            self.lines += ["infrastructure:", "  nats: \(YAMLText.scalar(self.literal(self.withoutUser(nats))))"]
        }
    }

    private mutating func discovery() {
        guard let (backend, place) = self.deployment.processes.first?.discovery else { return }
        switch backend.value {
        case "etcd":
            let endpoints = (place?.value ?? "").split(separator: ",").map { endpoint in
                endpoint.contains("://") ? String(endpoint) : "http://\(endpoint)"
            }
            let list = endpoints.map { YAMLText.scalar(self.literal(self.withoutUser($0))) }.joined(separator: ", ")
            self.lines += ["discovery:", "  backend: etcd", "  endpoints: [\(list)]"]
        default:
            self.lines.append("discovery: \(YAMLText.scalar(backend.value))")
            if backend.value == "file", let place {
                self.notes.append("discovery is a folder of the launcher's own instead of \(place.value)")
            }
        }
        if let namespace = self.deployment.namespace {
            if namespace != self.name { self.lines.append("namespace: \(YAMLText.scalar(namespace))") }
        } else {
            self.notes.append(
                "the Dynamo namespace is '\(self.name)' instead of '\(FoundProcess.globalNamespace)', which a frontend takes for all namespaces"
            )
        }
    }

    private mutating func publicAddress() {
        self.lines += ["http:", "  port: \(self.port)"]
        if let host = self.deployment.frontends.compactMap(\.httpHost).first?.value {
            self.lines.append("  host: \(YAMLText.scalar(host))")
        }
        var gateway: [String] = []
        let others = Set(self.deployment.frontends.compactMap(\.httpPort)).subtracting([self.port]).sorted()
        if !others.isEmpty {
            let list = others.map { "'0.0.0.0:\($0)'" }.joined(separator: ", ")
            gateway.append("  listeners: [\(list)]")
            self.notes.append("every port of the old frontends leads to all frontends now")
        }
        let certificate = self.deployment.frontends.compactMap { $0.setting("--tls-cert-path", "DYN_TLS_CERT_PATH") }
            .first
        let key = self.deployment.frontends.compactMap { $0.setting("--tls-key-path", "DYN_TLS_KEY_PATH") }.first
        if let certificate, let key {
            let paths = [certificate, key].map { YAMLText.scalar(self.literal($0.value)) }
            gateway.append("  tls: {certificate: \(paths[0]), key: \(paths[1])}")
        }
        if !gateway.isEmpty { self.lines += ["gateway:"] + gateway }
    }

    /// Dynamo does not use a user that stands in an address.
    private mutating func withoutUser(_ url: String) -> String {
        guard let scheme = url.firstRange(of: "://"), let at = url.lastIndex(of: "@"), at > scheme.upperBound else {
            return url
        }
        self.notes.append("the user in the address \(Secrets.masking(url: url)) is left out: Dynamo does not use it")
        return "\(url[..<scheme.upperBound])\(url[url.index(after: at)...])"
    }

    // MARK: Processes

    private mutating func entries() -> [AdoptedProcess] {
        var entries: [AdoptedProcess] = []
        for process in self.deployment.processes {
            let key = self.key(of: process)
            if let index = entries.firstIndex(where: { $0.key == key }) {
                entries[index].members.append(process)
            } else {
                entries.append(AdoptedProcess(key: key, members: [process]))
            }
        }
        let names = ManifestEntry.names(
            entries.map { $0.members.first?.invocation.baseName ?? $0.key.role.rawValue }
        )
        for index in entries.indices { entries[index].name = names[index] }
        return entries
    }

    private mutating func key(of process: FoundProcess) -> AdoptedProcess.Key {
        let invocation = process.invocation
        if let port = process.systemPort, !self.options.keepsPorts {
            self.notes.append(
                "the system port of \(process.words) is chosen by the launcher instead of \(port) (--keep-ports keeps it; two generations cannot have it at once)"
            )
        }
        if let complaint = process.complaint, let port = process.systemPort {
            var advice = "the launcher waits until it says that it is ready ('probes: {health: none}' does not)"
            if process.environment["DYN_HEALTH_CHECK_ENABLED"]?.lowercased() == "true" {
                advice += "; without DYN_HEALTH_CHECK_ENABLED it may"
            }
            self.notes.append("the system server of \(process.words) on port \(port) says \(complaint): \(advice)")
        }
        if process.process.environment == nil {
            self.notes.append("the environment of \(process.words) cannot be read: what it says is not in the manifest")
        }
        return AdoptedProcess.Key(
            program: invocation.program,
            role: invocation.role,
            python: process.python,
            pythonOptions: invocation.pythonOptions.filter { $0 != "-u" },
            arguments: self.arguments(of: process),
            environment: self.environment(of: process),
            workingDirectory: process.process.workingDirectory.map { self.literal($0) },
            gpuCount: process.gpus?.numbers.count,
            systemPort: self.options.keepsPorts ? process.systemPort : nil
        )
    }

    private mutating func arguments(of process: FoundProcess) -> [String] {
        var flags = Set(PlaneFlag.all.filter { process.role == .frontend || !$0.isFrontendOnly }.map(\.flag))
        if process.role == .frontend { flags.formUnion(["--tls-cert-path", "--tls-key-path"]) }
        var words = DynamoInvocation.removing(flags, from: process.invocation.arguments)
        for index in words.indices where index > 0 && words[index - 1].hasPrefix("--") {
            let flag = words[index - 1].drop { $0 == "-" }.uppercased().replacing("-", with: "_")
            guard Secrets.isSecret(name: flag), !words[index].hasPrefix("--") else { continue }
            let value = words[index]
            words[index] = "${\(self.reference(flag, value))}"
        }
        return words.map { word in
            if word.hasPrefix("${"), self.secrets[String(word.dropFirst(2).dropLast())] != nil { return word }
            if let equals = word.firstIndex(of: "="), word.hasPrefix("--") {
                let flag = word[..<equals].drop { $0 == "-" }.uppercased().replacing("-", with: "_")
                if Secrets.isSecret(name: flag) {
                    let value = String(word[word.index(after: equals)...])
                    return "\(word[...equals])${\(self.reference(flag, value))}"
                }
            }
            return self.withNamespace(self.hidingSecrets(word, of: process), of: process)
        }
    }

    /// An endpoint in the deployment's namespace, whatever that will be.
    private func withNamespace(_ word: String, of process: FoundProcess) -> String {
        guard FoundProcess.namespace(ofEndpoint: word) != nil, process.role != .frontend else { return word }
        let rest = word.dropFirst("dyn://".count).drop { $0 != "." }
        return "dyn://{{namespace}}\(rest)"
    }

    private mutating func environment(of process: FoundProcess) -> [String: String] {
        var result: [String: String] = [:]
        for (name, value) in process.environment {
            let isPath = name == "PATH" && self.options.path != nil && value != self.options.path
            guard isPath || AdoptedVariables.matters(name, keepsPorts: self.options.keepsPorts) else { continue }
            if process.role == .frontend, ["DYN_TLS_CERT_PATH", "DYN_TLS_KEY_PATH"].contains(name) { continue }
            if Secrets.isSecret(name: name), !value.isEmpty {
                result[name] = "${\(self.reference(name, value))}"
            } else {
                result[name] = self.hidingSecrets(value, of: process)
            }
        }
        for name in AdoptedVariables.freePorts where !self.options.keepsPorts {
            guard let port = process.environment[name], port != "0", !port.isEmpty else { continue }
            self.notes.append("\(name)=\(port) of \(process.words) is left out: the system chooses such a port")
        }
        return result
    }

    // MARK: Texts

    /// A variable that holds a secret; another one when two processes have different secrets of one name.
    private mutating func reference(_ name: String, _ value: String) -> String {
        var candidate = name
        var number = 1
        while let known = self.secrets[candidate], known != value {
            number += 1
            candidate = "\(name)_\(number)"
        }
        self.secrets[candidate] = value
        return candidate
    }

    /// The text as a manifest has it, with variables in the place of the secrets that the process has in its environment.
    private mutating func hidingSecrets(_ text: String, of process: FoundProcess) -> String {
        let secret = process.environment.filter { name, value in
            value.utf8.count >= 8 && Secrets.isSecret(name: name) && text.contains(value)
        }
        guard let (name, value) = secret.max(by: { $0.value.utf8.count < $1.value.utf8.count }) else {
            return self.literal(text)
        }
        let reference = "${\(self.reference(name, value))}"
        return text.split(separator: value, omittingEmptySubsequences: false).map { self.literal(String($0)) }
            .joined(separator: reference)
    }

    /// A text that means only itself.
    private func literal(_ text: String) -> String {
        text.replacing("$", with: "$$").replacing("{{", with: "{{'{{'}}")
    }

    private static func most(_ values: [String]) -> String? {
        let counts = Dictionary(grouping: values) { $0 }.mapValues(\.count)
        return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }
}
