/// What a frontend, router or worker reads from its environment, apart from the request plane.
///
/// Names, defaults and meanings are Dynamo's (`discovery.md` 9, `request-plane.md` 7). Unlike Dynamo, an invalid value is
/// always an error.
public struct RuntimeConfiguration: Sendable, Hashable {
    /// Where processes find each other.
    public enum Discovery: Sendable, Hashable {
        /// A directory on this machine.
        case file(directory: String)
        /// An etcd cluster, by its client URLs.
        case etcd(endpoints: [String])
        /// Inside this process only.
        case memory
    }

    private enum Backend: String, CaseIterable {
        case etcd, file, mem
    }

    /// `DYN_NAMESPACE`, the suffix of workers not included.
    public var namespace: String
    /// `DYN_NAMESPACE_PREFIX`.
    public var namespacePrefix: String?
    /// `DYN_NAMESPACE_WORKER_SUFFIX`.
    public var workerSuffix: String?
    /// Where processes find each other.
    public var discovery: Discovery
    package var system: SystemServer.Configuration?
    package var logFilter: LogFilter
    /// How long running requests may take after the process was asked to stop.
    public var drainTimeout: Duration

    /// Reads the environment.
    ///
    /// - Throws: `ConfigurationError` that lists every invalid value.
    public init(environment: [String: String]) throws(ConfigurationError) {
        var reader = EnvironmentReader(environment)
        self.init(&reader)
        guard reader.problems.isEmpty else { throw ConfigurationError(reader.problems) }
    }

    /// Reads the environment; invalid values are left in the reader as problems.
    package init(_ reader: inout EnvironmentReader) {
        self.namespace = reader.string("DYN_NAMESPACE") ?? "dynamo"
        self.namespacePrefix = reader.string("DYN_NAMESPACE_PREFIX")
        self.workerSuffix = reader.string("DYN_NAMESPACE_WORKER_SUFFIX")
        self.discovery = Self.discovery(&reader)
        self.system = Self.system(&reader)
        self.logFilter = LogFilter()
        if let text = reader.string("DYN_LOG") {
            if let filter = LogFilter(text) {
                self.logFilter = filter
            } else {
                reader.reject("DYN_LOG", text, "a level (\(LogFilter.levels)) or a list like info,RequestPlane=debug")
            }
        }
        self.drainTimeout = reader.seconds("DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS", default: .seconds(30))
    }

    /// The namespace that a worker registers in.
    public var workerNamespace: String { self.workerSuffix.map { "\(self.namespace)-\($0)" } ?? self.namespace }

    private static func discovery(_ reader: inout EnvironmentReader) -> Discovery {
        switch reader.choice("DYN_DISCOVERY_BACKEND", default: Backend.etcd) {
        case .mem: return .memory
        case .file:
            let temporary = reader.string("TMPDIR") ?? "/tmp"
            return .file(directory: reader.string("DYN_FILE_KV") ?? "\(temporary)/dynamo_store_kv")
        case .etcd:
            let list = reader.string("ETCD_ENDPOINTS") ?? "http://localhost:2379"
            let endpoints = list.split(separator: ",").map { String($0.filter { $0 != " " }) }
            if endpoints.isEmpty || !endpoints.allSatisfy({ $0.hasPrefix("http://") || $0.hasPrefix("https://") }) {
                reader.reject("ETCD_ENDPOINTS", list, "URLs with http:// or https://, separated by commas")
            }
            return .etcd(endpoints: endpoints)
        }
    }

    private static func system(_ reader: inout EnvironmentReader) -> SystemServer.Configuration? {
        let port = reader.integer("DYN_SYSTEM_PORT", in: -1...65535, default: -1)
        let paths = ["DYN_SYSTEM_HEALTH_PATH": "/health", "DYN_SYSTEM_LIVE_PATH": "/live"].map { name, fallback in
            let path = reader.string(name) ?? fallback
            if !path.hasPrefix("/") { reader.reject(name, path, "a path that begins with /") }
            return (name, path)
        }
        guard port >= 0 else { return nil }
        var configuration = SystemServer.Configuration(host: reader.string("DYN_SYSTEM_HOST") ?? "0.0.0.0", port: port)
        for (name, path) in paths {
            if name == "DYN_SYSTEM_HEALTH_PATH" {
                configuration.healthPath = path
            } else {
                configuration.livePath = path
            }
        }
        return configuration
    }
}
