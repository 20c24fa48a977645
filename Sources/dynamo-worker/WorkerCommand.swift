import ArgumentParser
import Discovery
import DynamoRuntime
import Logging
import RequestPlane

/// A worker that serves un-tokenized requests in a deployment of Dynamo.
@main
struct WorkerCommand: AsyncParsableCommand {
    enum Engine: String, ExpressibleByArgument, CaseIterable {
        /// Sends the last user message back.
        case echo
    }

    /// The kinds of requests on the model card.
    ///
    /// All of them are answered.
    enum Offer: String, ExpressibleByArgument, CaseIterable {
        case both
        case chat
        case completions

        var kind: ModelCard.Kind {
            switch self {
            case .both: [.chat, .completions]
            case .chat: .chat
            case .completions: .completions
            }
        }
    }

    static let configuration = CommandConfiguration(
        commandName: "dynamo-worker",
        abstract: "Serves a model in a Dynamo deployment.",
        discussion: """
            The environment decides about the rest, as for Dynamo's own workers: DYN_NAMESPACE, DYN_DISCOVERY_BACKEND with
            DYN_FILE_KV or ETCD_ENDPOINTS and ETCD_AUTH_*, DYN_REQUEST_PLANE with DYN_TCP_*, DYN_SYSTEM_*, DYN_LOG,
            DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS.
            """,
        version: ProgramVersion.text
    )

    @Option(help: "What answers requests: echo sends the last user message back token by token.")
    var engine: Engine = .echo

    @Option(help: "The name that clients use.")
    var modelName = "echo"

    @Option(help: "Tokens per second and request; 0 is as fast as possible.")
    var rate = 200.0

    @Option(help: "The component to register in.")
    var component = "backend"

    @Option(
        help: """
            What the model card offers: both, chat or completions. A frontend of Dynamo 1.0 to 1.2 serves only chat for both; there, \
            completions need a worker with a model name of its own.
            """
    )
    var serve: Offer = .both

    @Option(help: "The endpoint to register.")
    var endpoint = "generate"

    @Option(help: "The most tokens that prompt and answer may have together.")
    var contextLength = 4096

    @Option(help: "Seconds to wait before registering, as if a model were loaded.")
    var startupDelay = 0.0

    func validate() throws {
        guard self.rate >= 0, self.rate <= 1e9 else {
            throw ValidationError("--rate is \(self.rate); it must be a number from 0 to 1000000000")
        }
        guard self.contextLength > 0 else {
            throw ValidationError("--context-length is \(self.contextLength); it must be at least 1")
        }
        guard self.startupDelay >= 0, self.startupDelay <= 86_400 else {
            throw ValidationError(
                "--startup-delay is \(self.startupDelay); it must be a number of seconds from 0 to 86400"
            )
        }
        for (flag, name) in [("--component", self.component), ("--endpoint", self.endpoint)] {
            guard !name.isEmpty, !name.contains(where: { "/. ".contains($0) }) else {
                throw ValidationError("\(flag) is '\(name)'; it must not be empty or contain a slash, a dot or a space")
            }
        }
        guard !self.modelName.isEmpty else { throw ValidationError("--model-name must not be empty") }
    }

    func run() async throws {
        let environment = try ProcessEnvironment(ProcessEnvironment.variables, label: "dynamo_worker")
        let runtime = RuntimeService(environment) { runtime in
            let endpoint = self.endpoint(namespace: runtime.configuration.workerNamespace)
            runtime.prepare([endpoint])
            try await Task.sleep(for: .milliseconds(Int(self.startupDelay * 1000)))
            try await runtime.serve([endpoint])
        }
        try await ProcessRunner.run(runtime, logger: environment.logger)
    }

    private func endpoint(namespace: String) -> RuntimeService.Endpoint {
        let engine = EchoEngine(contextLength: self.contextLength, rate: self.rate)
        return RuntimeService.Endpoint(
            id: EndpointID(namespace: namespace, component: self.component, name: self.endpoint),
            card: .text(name: self.modelName, kind: self.serve.kind, contextLength: self.contextLength),
            handler: { engine.answer($0) }
        )
    }
}
