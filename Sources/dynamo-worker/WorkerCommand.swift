import ArgumentParser
import Discovery
import DynamoRuntime
import KVEvents
import KVRouter
import Logging
import RequestPlane

/// A worker of a deployment of Dynamo: an echo of un-tokenized requests, or a simulated engine for tokenized ones.
@main
struct WorkerCommand: AsyncParsableCommand {
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
            DYN_FILE_KV or ETCD_ENDPOINTS and ETCD_AUTH_*, DYN_REQUEST_PLANE with DYN_TCP_*, DYN_EVENT_PLANE with NATS_SERVER
            or DYN_EVENT_PLANE_HOST, DYN_SYSTEM_*, DYN_LOG, DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS.
            """,
        version: ProgramVersion.text
    )

    @Option(
        help: """
            What answers requests: echo sends the last user message back token by token; mock simulates an engine with a KV \
            cache, for frontends and routers that tokenize.
            """,
        completion: .list(EngineName.allCases.map(\.rawValue)),
        transform: EngineName.parse
    )
    var engine: EngineName = .echo

    @Option(help: "The name that clients use. (default: the engine's name)")
    var modelName: String?

    @Option(help: "With echo: tokens per second and request; 0 is as fast as possible. (default: 200)")
    var rate: Double?

    @Option(help: "The component to register in. (default: backend; for a worker that only processes prompts: prefill)")
    var component: String?

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

    @OptionGroup(title: "Options of --engine mock")
    var mock: MockOptions

    @OptionGroup(title: "KV events")
    var events: EventOptions

    @OptionGroup(title: "KV events of an engine elsewhere")
    var relay: RelayOptions

    /// Whether there are KV events to publish.
    private var publishes: Bool { self.engine == .mock || self.relay.engine != nil }

    private var role: PoolRole { self.mock.role ?? .aggregated }

    private var effectiveComponent: String { self.component ?? (self.role == .prefill ? "prefill" : "backend") }

    private var model: String { self.modelName ?? self.engine.rawValue }

    func validate() throws {
        if let rate = self.rate, !(0...1e9).contains(rate) {
            throw ValidationError("--rate is \(rate); it must be a number from 0 to 1000000000")
        }
        switch self.engine {
        case .echo:
            if let flag = (self.mock.given + (self.publishes ? [] : self.events.given)).first {
                throw ValidationError("\(flag) is for --engine mock; leave it out, or choose that engine")
            }
        case .mock:
            if let flag = self.relay.given.first {
                throw ValidationError(
                    "\(flag) is for workers whose engine is elsewhere; the mock engine publishes its KV events itself"
                )
            }
            guard self.rate == nil else {
                throw ValidationError(
                    "--rate is for --engine echo; the mock engine takes --decode-tokens-per-second and --speedup"
                )
            }
        }
        guard self.contextLength > 0 else {
            throw ValidationError("--context-length is \(self.contextLength); it must be at least 1")
        }
        guard self.startupDelay >= 0, self.startupDelay <= 86_400 else {
            throw ValidationError(
                "--startup-delay is \(self.startupDelay); it must be a number of seconds from 0 to 86400"
            )
        }
        for (flag, name) in [("--component", self.effectiveComponent), ("--endpoint", self.endpoint)] {
            guard !name.isEmpty, !name.contains(where: { "/. ".contains($0) }) else {
                throw ValidationError("\(flag) is '\(name)'; it must not be empty or contain a slash, a dot or a space")
            }
        }
        guard self.modelName?.isEmpty != true else { throw ValidationError("--model-name must not be empty") }
    }

    func run() async throws {
        let environment = try ProcessEnvironment(ProcessEnvironment.variables, label: "dynamo_worker")
        let settings = self.publishes ? try EventSettings(self.events, ProcessEnvironment.variables) : nil
        let events: @Sendable (EndpointID, RuntimeService) async throws -> WorkerEvents? = { id, runtime in
            if let settings { try await .connect(id, settings, environment, runtime) } else { nil }
        }
        let runtime = RuntimeService(environment) { runtime in
            let id = EndpointID(
                namespace: runtime.configuration.workerNamespace,
                component: self.effectiveComponent,
                name: self.endpoint
            )
            switch self.engine {
            case .echo:
                guard let relay = self.relay.configuration else {
                    return try await self.publish([self.echo(id)], in: runtime)
                }
                try await self.publish(self.echo(id), relaying: relay, try await events(id, runtime), in: runtime)
            case .mock:
                let events = try await events(id, runtime)
                let (endpoint, service) = try self.mock(id, events, in: runtime)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    if let events { group.addTask { await events.run() } }
                    group.addTask {
                        try await self.publish([endpoint], events, in: runtime)
                        // Ends when the runtime has let its requests finish.
                        try await service.run()
                    }
                    // The first error ends the other.
                    while try await group.next() != nil {}
                }
            }
        }
        try await ProcessRunner.run(runtime, logger: environment.logger)
    }

    private func publish(
        _ endpoints: [RuntimeService.Endpoint],
        _ events: WorkerEvents? = nil,
        in runtime: RuntimeService
    ) async throws {
        let endpoints = endpoints + (events?.queryEndpoints ?? [])
        runtime.prepare(endpoints)
        try await Task.sleep(for: .milliseconds(Int(self.startupDelay * 1000)))
        try await runtime.serve(endpoints) { events?.records($0) ?? [] }
    }

    /// Serves an endpoint and publishes an engine's KV events beside it, until cancelled.
    private func publish(
        _ endpoint: RuntimeService.Endpoint,
        relaying relay: EngineRelay.Configuration,
        _ events: WorkerEvents?,
        in runtime: RuntimeService
    ) async throws {
        guard let events else {
            throw ConfigurationError(
                ["--relay-kv-events needs an event plane: set DYN_EVENT_PLANE to nats, with NATS_SERVER, or to zmq"]
            )
        }
        let engine = try EngineEvents(relay, events, blockSize: self.blockSize, logger: runtime.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await events.run() }
            group.addTask { try await engine.run() }
            try await self.publish([endpoint], events, in: runtime)
            // The first error ends the others.
            while try await group.next() != nil {}
        }
    }

    /// Of the model card that goes with an engine elsewhere.
    private var blockSize: Int { self.relay.blockSize ?? RelayOptions.defaultBlockSize }

    private func echo(_ id: EndpointID) -> RuntimeService.Endpoint {
        let engine = EchoEngine(contextLength: self.contextLength, rate: self.rate ?? 200)
        return RuntimeService.Endpoint(
            id: id,
            card: .text(
                name: self.model,
                kind: self.serve.kind,
                contextLength: self.contextLength,
                blockSize: self.blockSize
            ),
            handler: { engine.answer($0) }
        )
    }

    private func mock(
        _ id: EndpointID,
        _ events: WorkerEvents?,
        in runtime: RuntimeService
    ) throws -> (RuntimeService.Endpoint, MockService) {
        let model =
            try self.mock.modelPath.map { try MockModel(folder: $0) } ?? MockModel(contextLength: self.contextLength)
        let engine = self.mock.engine(vocabulary: model.vocabulary)
        let metrics = MockMetrics(registry: runtime.metrics, model: self.model, totalBlocks: engine.blocks)
        let service = MockService(
            configuration: engine,
            limits: MockRequest.Limits(
                contextLength: self.contextLength,
                cacheTokens: engine.blocks * engine.blockSize,
                answerTokens: self.mock.answerTokens ?? 64
            ),
            role: self.role,
            sink: events ?? NoKVChanges(),
            report: { load in
                metrics.update(load)
                events?.update(usedBlocks: load.activeBlocks)
            }
        )
        var terms = ModelCard.Runtime(
            blockSize: engine.blockSize,
            totalBlocks: engine.blocks,
            maxSequences: engine.maxBatch,
            maxBatchedTokens: engine.maxBatchedTokens
        )
        terms.hasLocalIndexer = events?.hasLocalIndexer ?? false
        let card = ModelCard.tokens(
            name: self.model,
            kind: self.role == .prefill ? .prefill : self.serve.kind,
            part: self.role.rawValue,
            contextLength: self.contextLength,
            files: model.files,
            runtime: terms
        )
        return (RuntimeService.Endpoint(id: id, card: card, handler: { service.answer($0) }), service)
    }
}
