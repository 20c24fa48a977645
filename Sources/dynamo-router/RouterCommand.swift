import ArgumentParser
import DynamoRuntime
import KVRouter
import Logging
import RequestPlane
import RouterCommandLine

/// A router of tokenized requests, in the place of `python -m dynamo.router`.
@main
struct RouterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dynamo-router",
        abstract: "Sends tokenized requests to the worker that holds most of their prompt and has least to do.",
        discussion: """
            Registers the endpoints generate, best_worker_id and get_overlap_scores in component `router` of the workers' namespace, \
            once it knows what the workers hold. The environment decides about the rest, as for Dynamo's own router: \
            DYN_DISCOVERY_BACKEND with DYN_FILE_KV or ETCD_ENDPOINTS and ETCD_AUTH_*, DYN_REQUEST_PLANE with DYN_TCP_*, \
            DYN_EVENT_PLANE with NATS_SERVER, DYN_SYSTEM_*, DYN_LOG, DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS.
            """,
        version: ProgramVersion.text
    )

    @Option(help: "The workers' endpoint, namespace.component.endpoint (DYN_ROUTER_ENDPOINT; required).")
    var endpoint: String?

    @Option(help: "Tokens of a block, which must be the workers' (DYN_ROUTER_BLOCK_SIZE; default: 128).")
    var routerBlockSize: String?

    @OptionGroup(title: "How workers are chosen")
    var flags: RouterFlags

    func run() async throws {
        let variables = ProcessEnvironment.variables
        let settings = try RouterSettings(
            variables,
            endpoint: self.endpoint,
            blockSize: self.routerBlockSize,
            flags: self.flags.given
        )
        let environment = try ProcessEnvironment(variables, label: "dynamo_router")
        for warning in settings.warnings { environment.logger.warning("\(warning)") }
        let process = RouterProcess(settings: settings, environment: environment)
        let runtime = RuntimeService(environment) { runtime in try await process.run(in: runtime) }
        try await ProcessRunner.run(runtime, logger: environment.logger)
    }
}
