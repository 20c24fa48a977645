/// A running frontend, router or worker, and what it was told.
package struct FoundProcess: Sendable, Hashable {
    /// A value, and who said it.
    struct Setting: Sendable, Hashable {
        var value: String
        /// The flag or the variable; nil: Dynamo's own default.
        var source: String?

        /// `nats (DYN_REQUEST_PLANE)`, for people.
        var words: String { "\(self.value) (\(self.source ?? "default"))" }
    }

    package let process: RunningProcess
    let invocation: DynamoInvocation
    /// nil: not known.
    package var release: DynamoRelease?
    /// What its system server says instead of that it is ready; nil: ready, or not asked.
    package var complaint: String?

    /// Nil when it is none of Dynamo's and none of ours.
    ///
    /// - Parameter process: any process.
    package init?(_ process: RunningProcess) {
        guard let invocation = DynamoInvocation(process.arguments) else { return nil }
        self.process = process
        self.invocation = invocation
    }

    /// Whether a command line is that of such a process.
    package static func isOne(_ arguments: [String]) -> Bool { DynamoInvocation(arguments) != nil }

    /// What it was told, for people and programs.
    package struct Facts: Sendable {
        package var requestPlane: String
        package var eventPlane: String?
        /// nil: all.
        package var namespace: String?
        package var gpus: [Int]?
    }

    package var facts: Facts {
        Facts(
            requestPlane: self.requestPlane.value,
            eventPlane: self.eventPlane?.value,
            namespace: self.namespace?.value ?? self.namespacePrefix.map { "\($0.value)*" },
            gpus: self.gpus?.numbers
        )
    }

    package var pid: Int32 { self.process.pid }
    package var role: Role { self.invocation.role }
    /// `frontend`, `router`, `vllm`, `mocker`, ...
    package var component: String { self.invocation.component }
    /// The interpreter's path, nil for our own programs.
    ///
    /// Not the file behind a link, since a virtual environment is a link.
    package var python: String? {
        guard let name = self.invocation.python else { return nil }
        if name.hasPrefix("/") { return name }
        guard name.contains("/") else { return self.process.program ?? name }
        return self.process.workingDirectory.map { FilePathText.resolve(name, against: $0) } ?? name
    }
    /// The pid and the command of what has started it, when that is a script or a program worth naming.
    package var startedBy: String? {
        guard self.process.parent > 1, self.process.parentArguments.count > 1 else { return nil }
        // More of it could be a secret.
        let words = self.process.parentArguments
        let second = words[1].hasPrefix("-") ? words[1].prefix { $0 != "=" } : words[1][...]
        let line = "\(words[0]) \(second)\(words.count > 2 ? " ..." : "")"
        return "pid \(self.process.parent) (\(Spelling.excerpt(Secrets.masking(url: line), limit: 120)))"
    }

    /// `frontend (pid 812)`, for people.
    package var words: String { "\(self.component) (pid \(self.pid))" }

    var isBuiltin: Bool { if case .builtin = self.invocation.program { true } else { false } }

    /// The variables that it was started with.
    var environment: [String: String] { self.process.environment ?? [:] }

    // MARK: Settings

    /// What a flag says, else a variable.
    func setting(_ flag: String?, _ variable: String) -> Setting? {
        if let flag, let value = self.invocation.value(of: flag) { return Setting(value: value, source: flag) }
        guard let value = self.environment[variable], !value.isEmpty else { return nil }
        return Setting(value: value, source: variable)
    }

    /// Upstream's default is TCP in every release.
    var requestPlane: Setting {
        self.setting("--request-plane", "DYN_REQUEST_PLANE") ?? Setting(value: "tcp", source: nil)
    }

    /// nil: its release, which decides, is not known.
    var eventPlane: Setting? {
        if let setting = self.setting("--event-plane", "DYN_EVENT_PLANE") { return setting }
        guard let release = self.release else { return nil }
        let backend = DiscoveryManifest.Backend(rawValue: self.discovery.backend.value) ?? .etcd
        let events = ReleaseKnowledge.row(for: release).row.events(with: backend)
        return Setting(value: events == .zmq ? "zmq" : "nats", source: nil)
    }

    var responsePlane: Setting {
        self.setting("--response-plane", "DYN_RESPONSE_PLANE") ?? Setting(value: "tcp", source: nil)
    }

    /// Whether it keeps KV events in JetStream.
    var keepsEvents: Bool {
        let flags = ["--durable-kv-events", "--router-durable-kv-events"]
        let variables = ["DYN_DURABLE_KV_EVENTS", "DYN_ROUTER_DURABLE_KV_EVENTS"]
        return self.invocation.arguments.contains(where: flags.contains)
            || variables.contains { self.environment[$0]?.lowercased() == "true" }
    }

    /// nil: a frontend that takes the workers of every namespace.
    var namespace: Setting? {
        if self.role == .frontend, self.setting("--namespace-prefix", "DYN_NAMESPACE_PREFIX") != nil { return nil }
        if self.role == .worker, let endpoint = self.invocation.value(of: "--endpoint"),
            let name = Self.namespace(ofEndpoint: endpoint)
        {
            return Setting(value: name, source: "--endpoint")
        }
        guard let setting = self.setting("--namespace", "DYN_NAMESPACE") else {
            return self.role == .frontend ? nil : Setting(value: Self.globalNamespace, source: nil)
        }
        return self.role == .frontend && setting.value == Self.globalNamespace ? nil : setting
    }

    /// What a frontend's namespaces begin with.
    var namespacePrefix: Setting? {
        self.role == .frontend ? self.setting("--namespace-prefix", "DYN_NAMESPACE_PREFIX") : nil
    }

    /// The default namespace; to a frontend it means all of them.
    static let globalNamespace = "dynamo"

    /// `chat` of `dyn://chat.backend.generate`.
    static func namespace(ofEndpoint endpoint: String) -> String? {
        let scheme = "dyn://"
        guard endpoint.hasPrefix(scheme) else { return nil }
        let parts = endpoint.dropFirst(scheme.count).split(separator: ".")
        return parts.count == 3 ? String(parts[0]) : nil
    }

    /// How it finds the others: the backend, and where that is.
    var discovery: (backend: Setting, place: Setting?) {
        let backend =
            self.setting("--discovery-backend", "DYN_DISCOVERY_BACKEND") ?? self.setting(nil, "DYN_STORE_KV")
            ?? Setting(value: "etcd", source: nil)
        switch backend.value {
        case "etcd":
            let place = self.setting(nil, "ETCD_ENDPOINTS") ?? Setting(value: "http://localhost:2379", source: nil)
            return (backend, place)
        case "file":
            let folder = self.environment["TMPDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
            let place = self.setting(nil, "DYN_FILE_KV") ?? Setting(value: "\(folder)/dynamo_store_kv", source: nil)
            return (backend, place)
        default:
            return (backend, nil)
        }
    }

    /// The NATS server, where a plane of it is NATS.
    var nats: Setting? {
        guard self.requestPlane.value == "nats" || self.eventPlane?.value == "nats" else { return nil }
        return self.setting(nil, "NATS_SERVER") ?? Setting(value: "nats://localhost:4222", source: nil)
    }

    /// A frontend's public port.
    package var httpPort: Int? {
        guard self.role == .frontend else { return nil }
        return Int((self.setting("--http-port", "DYN_HTTP_PORT") ?? Setting(value: "8000", source: nil)).value)
    }

    var httpHost: Setting? {
        self.role == .frontend ? self.setting("--http-host", "DYN_HTTP_HOST") : nil
    }

    /// The port of a worker's system server, where it was given one.
    package var systemPort: Int? {
        guard self.role != .frontend, let port = self.environment["DYN_SYSTEM_PORT"].flatMap(Int.init), port > 0 else {
            return nil
        }
        return port
    }

    /// The devices it may see; nil: all, or by other names than numbers.
    var gpus: (device: Device, numbers: [Int])? {
        guard self.role == .worker else { return nil }
        for device in Device.allCases {
            guard let text = self.environment[device.variable], !text.isEmpty else { continue }
            let parts = text.split(separator: ",", omittingEmptySubsequences: false)
            let numbers = parts.compactMap { Int($0) }
            return numbers.count == parts.count ? (device, numbers) : nil
        }
        return nil
    }

    /// Whether it chooses workers by what their caches hold.
    var routesByKVCache: Bool { self.setting("--router-mode", "DYN_ROUTER_MODE")?.value == "kv" }
}
