public import Discovery

/// What a frontend, router or worker reads from its environment, apart from the request plane.
///
/// Names, defaults and meanings are Dynamo's (`discovery.md` 9, `request-plane.md` 7). Unlike Dynamo, an invalid value is
/// always an error.
public struct RuntimeConfiguration: Sendable, Hashable {
    /// Where processes find each other.
    public enum Discovery: Sendable, Hashable {
        /// A directory on this machine.
        case file(directory: String)
        /// An etcd cluster.
        case etcd(EtcdConfiguration)
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
            return .etcd(Self.etcd(endpoints, &reader))
        }
    }

    /// Credentials by Dynamo's names (`discovery.md` 3); half of a pair is an error.
    private static func etcd(_ endpoints: [String], _ reader: inout EnvironmentReader) -> EtcdConfiguration {
        var configuration = EtcdConfiguration(endpoints: endpoints)
        if let (name, password) = reader.pair("ETCD_AUTH_USERNAME", "ETCD_AUTH_PASSWORD") {
            configuration.user = .init(name: name, password: password)
        }
        if let (certificate, key) = reader.pair("ETCD_AUTH_CLIENT_CERT", "ETCD_AUTH_CLIENT_KEY") {
            configuration.identity = .init(certificate: certificate, key: key)
        }
        configuration.authority = reader.string("ETCD_AUTH_CA")
        let usesTLS = configuration.authority != nil || configuration.identity != nil
        if usesTLS, !endpoints.contains(where: { $0.hasPrefix("https://") }) {
            reader.reject(
                "ETCD_ENDPOINTS",
                endpoints.joined(separator: ","),
                "https:// URLs when ETCD_AUTH_CA or ETCD_AUTH_CLIENT_CERT is set"
            )
        }
        return configuration
    }

    /// Who a process with these variables is to etcd; what is wrong with them, the process itself reports.
    ///
    /// - Parameters:
    ///   - endpoints: the URLs of the members.
    ///   - variables: the process's environment.
    /// - Returns: the endpoints with what is set of `ETCD_AUTH_*`.
    package static func etcd(_ endpoints: [String], variables: [String: String]) -> EtcdConfiguration {
        var reader = EnvironmentReader(variables)
        return Self.etcd(endpoints, &reader)
    }

    private static func system(_ reader: inout EnvironmentReader) -> SystemServer.Configuration? {
        let port = reader.integer("DYN_SYSTEM_PORT", in: -1...65535, default: -1)
        let paths = ["DYN_SYSTEM_HEALTH_PATH": "/health", "DYN_SYSTEM_LIVE_PATH": "/live"].map { name, fallback in
            let path = reader.string(name) ?? fallback
            if !path.hasPrefix("/") { reader.reject(name, path, "a path that begins with /") }
            return (name, path)
        }
        let starting = reader.choice("DYN_SYSTEM_STARTING_HEALTH_STATUS", default: HealthStatus.Starting.notready)
        let endpoints = reader.names("DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS")
        guard port >= 0 else { return nil }
        var configuration = SystemServer.Configuration(host: reader.string("DYN_SYSTEM_HOST") ?? "0.0.0.0", port: port)
        configuration.startingStatus = starting
        configuration.decidingEndpoints = endpoints
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
