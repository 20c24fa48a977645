import Discovery
import KVRouter
import KVRouting
import Logging
import RequestPlane
import Synchronization

/// What a prepared model needs to be served: its tokenizer, and in mode kv the routers of its workers.
struct TokenService: Sendable {
    var model: TokenModel
    /// Chooses who decodes, or does everything; nil in other modes than kv.
    var router: WorkerRouter?
    /// Chooses who processes prompts for the others.
    var prefillRouter: WorkerRouter?
}

/// Prepares the models whose workers take tokens: reads their files, and in mode kv follows what their workers hold.
///
/// A model is prepared when its files are read, and its router knows what the workers hold: one that comes late would spread
/// what belongs together.
final class TokenServices: Sendable {
    /// Connects to where workers and other routers tell what happens; nil: blocks are predicted.
    typealias PlaneMaker = @Sendable () async throws -> RoutingPlane?

    private struct State {
        /// By model.
        var services: [String: (source: ModelDirectory.TokenModelSource, service: TokenService)] = [:]
        /// What is being prepared or is prepared, with what ends it.
        var running: [ModelDirectory.TokenModelSource: AsyncStream<Never>.Continuation] = [:]
    }

    /// How long it takes until a router whose event plane has failed is tried again.
    private static let retryPause: Duration = .seconds(2)

    private let configuration: RouterConfiguration
    private let discovery: any DiscoveryClient
    private let client: any RequestPlaneClient
    private let connect: PlaneMaker
    private let logger: Logger
    private let state = Mutex(State())
    private let wanted: AsyncStream<[ModelDirectory.TokenModelSource]>
    private let onChange: @Sendable (Set<String>) -> Void

    /// Starts with nothing.
    ///
    /// - Parameters:
    ///   - configuration: how workers are chosen.
    ///   - discovery: runs already when `run` is called.
    ///   - client: sends the requests.
    ///   - connect: called for each model in mode kv.
    ///   - sources: the models that there are, anew after each change.
    ///   - logger: hears of models that cannot be prepared.
    ///   - onChange: told which models are prepared.
    init(
        configuration: RouterConfiguration,
        discovery: any DiscoveryClient,
        client: any RequestPlaneClient,
        connect: @escaping PlaneMaker,
        sources: AsyncStream<[ModelDirectory.TokenModelSource]>,
        logger: Logger,
        onChange: @escaping @Sendable (Set<String>) -> Void
    ) {
        self.configuration = configuration
        self.discovery = discovery
        self.client = client
        self.connect = connect
        self.logger = logger
        self.onChange = onChange
        self.wanted = sources
    }

    /// What serves a model; nil while it is not prepared.
    func service(of model: String) -> TokenService? { self.state.withLock { $0.services[model]?.service } }

    /// Prepares models until cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            for await sources in self.wanted {
                let sources = Set(sources.map(Self.essence))
                let names = Set(sources.map(\.name))
                let started = self.state.withLock { state in
                    // One that is replaced goes on until the other is prepared.
                    for (source, stop) in state.running where !names.contains(source.name) { stop.finish() }
                    return sources.filter { state.running[$0] == nil }.map { source in
                        let (stopped, stop) = AsyncStream.makeStream(of: Never.self)
                        state.running[source] = stop
                        return (source, stopped)
                    }
                }
                for (source, stopped) in started {
                    group.addTask { await self.serve(source, until: stopped) }
                }
            }
            group.cancelAll()
        }
    }

    /// A card of another worker that says the same about the model is no reason to prepare it again.
    private static func essence(_ source: ModelDirectory.TokenModelSource) -> ModelDirectory.TokenModelSource {
        var source = source
        let names = [
            "display_name", "model_info", "tokenizer", "prompt_formatter", "chat_template_file", "gen_config",
            "context_length", "kv_cache_block_size",
        ]
        var fields = JSONFields()
        for name in names { if let value = source.card.fields[name] { fields.append(name, value) } }
        source.card.fields = fields
        return source
    }

    private func serve(_ source: ModelDirectory.TokenModelSource, until stopped: AsyncStream<Never>) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.prepare(source) }
            group.addTask { for await _ in stopped {} }
            await group.next()
            group.cancelAll()
        }
        self.state.withLock { $0.running[source] = nil }
        self.set(source, nil)
    }

    /// Takes or takes back what serves a model.
    private func set(_ source: ModelDirectory.TokenModelSource, _ service: TokenService?) {
        let names = self.state.withLock { state in
            if let service {
                state.services[source.name] = (source, service)
                for (other, stop) in state.running where other.name == source.name && other != source { stop.finish() }
            } else if state.services[source.name]?.source == source {
                state.services[source.name] = nil
            }
            return Set(state.services.keys)
        }
        self.onChange(names)
    }

    /// Prepares a model, and keeps it so until cancelled.
    @concurrent
    private func prepare(_ source: ModelDirectory.TokenModelSource) async {
        let model: TokenModel
        do { model = try TokenModel(source.name, source.card) } catch {
            self.logger.error(
                "a model cannot be served",
                metadata: ["model": "\(source.name)", "reason": "\(error.description)"]
            )
            return await Self.wait()
        }
        if let problem = model.templateProblem {
            self.logger.warning(
                "a model is served for completions only",
                metadata: ["model": "\(source.name)", "reason": "\(problem)"]
            )
        }
        guard self.configuration.mode == .kv else {
            self.set(source, TokenService(model: model))
            return await Self.wait()
        }
        var lastProblem = ""
        while !Task.isCancelled {
            do { try await self.route(source, model) } catch {
                guard !Task.isCancelled else { return }
                let problem = "\(error)"
                if problem != lastProblem {
                    self.logger.error(
                        "what the workers of a model hold cannot be followed; it is tried again",
                        metadata: ["model": "\(source.name)", "error": "\(problem)"]
                    )
                }
                lastProblem = problem
            }
            self.set(source, nil)
            try? await Task.sleep(for: Self.retryPause)
        }
    }

    /// Until the task is cancelled.
    private static func wait() async {
        let (never, continuation) = AsyncStream.makeStream(of: Never.self)
        for await _ in never {}
        continuation.finish()
    }

    /// Follows the workers of a model until cancelled.
    private func route(_ source: ModelDirectory.TokenModelSource, _ model: TokenModel) async throws {
        let plane = RoutingService.needsPlane(self.configuration) ? try await self.connect() : nil
        let result: Result<Void, any Error>
        do { result = .success(try await self.route(source, model, plane)) } catch { result = .failure(error) }
        await plane?.close()
        try result.get()
    }

    private func route(
        _ source: ModelDirectory.TokenModelSource,
        _ model: TokenModel,
        _ plane: RoutingPlane?
    ) async throws {
        let id = try await self.discovery.instanceID().rawValue
        func service(_ endpoint: EndpointID, _ configuration: RouterConfiguration) -> RoutingService {
            RoutingService(
                of: endpoint,
                blockSize: max(1, self.configuration.blockSize ?? source.card.kvCacheBlockSize ?? 16),
                configuration: configuration,
                routerID: id,
                plane: plane,
                client: self.client,
                logger: self.logger
            )
        }
        let isSplit = source.prefillEndpoint != nil
        let main = service(source.endpoint, isSplit ? self.configuration.adapted(to: .decode) : self.configuration)
        let prefill = source.prefillEndpoint.map { service($0, self.configuration.adapted(to: .prefill)) }
        let records = try await main.announcement() + (prefill?.announcement() ?? [])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for routing in [main, prefill].compactMap(\.self) {
                group.addTask { try await routing.run(self.discovery) }
            }
            group.addTask {
                try await main.waitUntilReady()
                try await prefill?.waitUntilReady()
                if !records.isEmpty { try await self.discovery.publish(records) }
                self.set(
                    source,
                    TokenService(model: model, router: main.router, prefillRouter: prefill?.router)
                )
                await Self.wait()
            }
            // The first error ends the others.
            try await group.next()
            group.cancelAll()
        }
    }
}
