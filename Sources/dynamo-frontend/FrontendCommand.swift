import ArgumentParser
import Discovery
import DynamoRuntime
import KVRouter
import KVRouting
import Logging
import RequestPlane
import RouterCommandLine
import Systemd

/// An OpenAI-compatible HTTP server in front of the workers of a Dynamo deployment, whether they take text or token ids.
@main
struct FrontendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dynamo-frontend",
        abstract: "Serves the models of a Dynamo deployment over OpenAI's HTTP interface.",
        discussion: """
            The environment decides about the rest, as for Dynamo's own frontend: DYN_DISCOVERY_BACKEND with DYN_FILE_KV or
            ETCD_ENDPOINTS and ETCD_AUTH_*, DYN_REQUEST_PLANE with DYN_TCP_*, DYN_HTTP_BODY_LIMIT_MB, DYN_LOG,
            DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS; for --router-mode kv also DYN_EVENT_PLANE with
            NATS_SERVER, DYN_ROUTER_TEMPERATURE and the other variables of docs/environment.md. A listening socket that is
            passed (LISTEN_FDS, sd_listen_fds(3)) is used instead of --http-host and --http-port.
            """,
        version: ProgramVersion.text
    )

    @Option(help: "The address to listen on (DYN_HTTP_HOST; default: 0.0.0.0).")
    var httpHost: String?

    @Option(help: "The port to listen on (DYN_HTTP_PORT; default: 8000).")
    var httpPort: Int?

    @Option(help: "Serve only models of this namespace (DYN_NAMESPACE; default: all; `dynamo` means all).")
    var namespace: String?

    @Option(help: "Serve only models of namespaces that begin like this (DYN_NAMESPACE_PREFIX).")
    var namespacePrefix: String?

    @Option(
        help: """
            How an instance is chosen: round-robin, random, power-of-two, least-loaded, direct or kv (DYN_ROUTER_MODE; default: \
            round-robin).
            """,
        transform: { try RouterSettings.mode($0) }
    )
    var routerMode: RouterMode?

    @Option(
        help: "Tokens of a block of the workers' caches (DYN_KV_CACHE_BLOCK_SIZE; default: as the model's card says)."
    )
    var kvCacheBlockSize: String?

    @OptionGroup(title: "How workers are chosen in mode kv")
    var flags: RouterFlags

    func validate() throws {
        if let port = self.httpPort, !(0...65535).contains(port) {
            throw ValidationError("--http-port is \(port); it must be a number from 0 to 65535")
        }
    }

    /// The socket that a service manager, or the launcher, opened for this process.
    private static func passedSocket() throws -> (descriptor: Int32, host: String, port: Int)? {
        let all: [ListenDescriptor]
        do { all = try ListenDescriptors.take() } catch { throw ConfigurationError([error.message]) }
        guard let socket = all.first else { return nil }
        guard all.count == 1, case .tcp(let host, let port) = socket.address else {
            let names = all.map(\.description).joined(separator: ", ")
            throw ConfigurationError(["one TCP socket can be passed to this program, and it was passed \(names)"])
        }
        return (socket.descriptor, host, port)
    }

    func run() async throws {
        // Before other threads read the environment.
        let passed = try Self.passedSocket()
        let variables = ProcessEnvironment.variables
        var reader = EnvironmentReader(variables)
        let host = self.httpHost ?? reader.string("DYN_HTTP_HOST") ?? "0.0.0.0"
        let port = reader.integer("DYN_HTTP_PORT", in: 0...65535, default: 8000)
        let megabytes = reader.integer("DYN_HTTP_BODY_LIMIT_MB", in: 1...1024, default: 45)
        guard reader.problems.isEmpty else { throw ConfigurationError(reader.problems) }
        let router: RouterConfiguration
        let warnings: [String]
        do {
            (router, warnings) = try RouterSettings.read(
                variables,
                mode: self.routerMode,
                blockSize: self.kvCacheBlockSize,
                flags: self.flags.given
            )
        } catch {
            throw ConfigurationError([error.description])
        }
        var environment = try ProcessEnvironment(variables, label: "dynamo_frontend")
        // A frontend serves no endpoint: the system port of its environment belongs to a worker.
        environment.runtime.system = nil
        let plane =
            router.mode == .kv && RoutingService.needsPlane(router)
            ? try RouterEventPlane(variables, environment, router) : nil
        let runtime = RuntimeService(environment)
        let logger = runtime.logger
        for warning in warnings { runtime.logger.warning("\(warning)") }
        let configuration = FrontendServer.Configuration(
            host: passed?.host ?? host,
            port: passed?.port ?? self.httpPort ?? port,
            passed: passed?.descriptor,
            namespaces: NamespaceFilter(
                namespace: self.namespace ?? variables["DYN_NAMESPACE"],
                prefix: self.namespacePrefix ?? environment.runtime.namespacePrefix
            ),
            router: router,
            bodyLimit: megabytes << 20,
            drainTimeout: environment.runtime.drainTimeout
        )
        runtime.add(
            FrontendServer(
                configuration: configuration,
                discovery: runtime.discovery,
                client: runtime.client,
                metrics: runtime.metrics,
                metricsText: { runtime.metricsText },
                logger: runtime.logger,
                plane: { try await plane?.connect(logger: logger) },
                onInstanceChange: { runtime.instancesHaveChanged($0) }
            )
        )
        try await ProcessRunner.run(runtime, logger: runtime.logger)
    }
}
