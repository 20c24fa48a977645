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

    /// One preparation of a model, which goes on as long as the model is served by it.
    private struct Run: Sendable {
        var number: Int
        /// What makes it the same model, whoever has its files.
        var essence: ModelDirectory.TokenModelSource
        var source: ModelDirectory.TokenModelSource
        var stop: AsyncStream<Never>.Continuation
    }

    private struct State {
        var nextNumber = 0
        /// Those that were not told to stop.
        var runs: [Int: Run] = [:]
        /// What serves each model, and the run that it belongs to.
        var services: [String: (run: Int, service: TokenService)] = [:]

        /// Tells a run to stop.
        mutating func stop(_ number: Int) { self.runs.removeValue(forKey: number)?.stop.finish() }
    }

    /// How long it takes until a router whose event plane has failed, or a file that could not be fetched, is tried again.
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
                for (run, stopped) in self.begin(sources) {
                    group.addTask { await self.serve(run, until: stopped) }
                }
            }
            group.cancelAll()
        }
    }

    /// Stops what is not wanted any more, except what serves until its successor is prepared.
    ///
    /// - Returns: what is to be prepared.
    private func begin(_ sources: [ModelDirectory.TokenModelSource]) -> [(Run, AsyncStream<Never>)] {
        let names = Set(sources.map(\.name))
        let wanted = Dictionary(sources.map { (Self.essence($0), $0) }) { first, _ in first }
        return self.state.withLock { state in
            for run in state.runs.values {
                let serves = state.services[run.source.name]?.run == run.number
                // Before it serves, its files may be had from the other worker only.
                if let source = wanted[run.essence], serves || source == run.source { continue }
                if !serves || !names.contains(run.source.name) { state.stop(run.number) }
            }
            let present = Set(state.runs.values.map(\.essence))
            return wanted.filter { !present.contains($0.key) }.map { essence, source in
                let (stopped, stop) = AsyncStream.makeStream(of: Never.self)
                state.nextNumber += 1
                let run = Run(number: state.nextNumber, essence: essence, source: source, stop: stop)
                state.runs[run.number] = run
                return (run, stopped)
            }
        }
    }

    /// A card of another worker that says the same about the model is no reason to prepare it again, nor is another address of a file
    /// with the same checksum.
    private static func essence(_ source: ModelDirectory.TokenModelSource) -> ModelDirectory.TokenModelSource {
        var source = source
        let names = [
            "display_name", "model_info", "tokenizer", "prompt_formatter", "chat_template_file", "gen_config",
            "context_length", "kv_cache_block_size",
        ]
        var fields = JSONFields()
        for name in names {
            if let value = source.card.fields[name] { fields.append(name, Self.withoutAddress(value)) }
        }
        source.card.fields = fields
        return source
    }

    /// A file of a card, such as `{"hf_tokenizer_json": {"path": ..., "checksum": ...}}`, without the URL that each worker has of its own.
    private static func withoutAddress(_ value: JSONValue) -> JSONValue {
        guard var fields = value.object else { return value }
        for member in fields.members {
            guard var file = member.value.object, file["checksum"] != nil,
                let path = file["path"]?.string, RemoteModelFile.isURL(path)
            else { continue }
            file["path"] = nil
            fields[member.name] = .object(file)
        }
        return .object(fields)
    }

    private func serve(_ run: Run, until stopped: AsyncStream<Never>) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.prepare(run) }
            group.addTask { for await _ in stopped {} }
            await group.next()
            group.cancelAll()
        }
        self.set(run, nil)
    }

    /// Takes or takes back what serves a model; from a run that was told to stop nothing is taken.
    private func set(_ run: Run, _ service: TokenService?) {
        let name = run.source.name
        self.state.withLock { state in
            if let service {
                guard state.runs[run.number] != nil else { return }
                state.services[name] = (run.number, service)
                for other in state.runs.values where other.source.name == name && other.number < run.number {
                    state.stop(other.number)
                }
            } else if state.services[name]?.run == run.number {
                state.services[name] = nil
            }
            // Under the lock, so that nobody is told of an older state after a newer one.
            self.onChange(Set(state.services.keys))
        }
    }

    /// Prepares a model, and keeps it so until cancelled.
    @concurrent
    private func prepare(_ run: Run) async {
        let source = run.source
        guard let model = await self.read(source) else { return await Self.wait() }
        if let problem = model.templateProblem {
            self.logger.warning(
                "a model is served for completions only",
                metadata: ["model": "\(source.name)", "reason": "\(problem)"]
            )
        }
        guard self.configuration.mode == .kv else {
            self.set(run, TokenService(model: model))
            return await Self.wait()
        }
        var lastProblem = ""
        while !Task.isCancelled {
            do { try await self.route(run, model) } catch {
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
            self.set(run, nil)
            try? await Task.sleep(for: Self.retryPause)
        }
    }

    /// Reads a model's files, again and again while a worker that has them cannot be reached.
    ///
    /// - Returns: the model; nil when it cannot be served, or the task was cancelled.
    private func read(_ source: ModelDirectory.TokenModelSource) async -> TokenModel? {
        var lastProblem = ""
        while !Task.isCancelled {
            do { return try await TokenModel(source.name, source.card) } catch {
                guard !Task.isCancelled else { return nil }
                if error.description != lastProblem {
                    self.logger.error(
                        "a model cannot be served",
                        metadata: ["model": "\(source.name)", "reason": "\(error.description)"]
                    )
                }
                guard error.isTransient else { return nil }
                lastProblem = error.description
            }
            try? await Task.sleep(for: Self.retryPause)
        }
        return nil
    }

    /// Until the task is cancelled.
    private static func wait() async {
        let (never, continuation) = AsyncStream.makeStream(of: Never.self)
        for await _ in never {}
        continuation.finish()
    }

    /// Follows the workers of a model until cancelled.
    private func route(_ run: Run, _ model: TokenModel) async throws {
        let plane = RoutingService.needsPlane(self.configuration) ? try await self.connect() : nil
        let result: Result<Void, any Error>
        do { result = .success(try await self.route(run, model, plane)) } catch { result = .failure(error) }
        await plane?.close()
        try result.get()
    }

    private func route(
        _ run: Run,
        _ model: TokenModel,
        _ plane: RoutingPlane?
    ) async throws {
        let source = run.source
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
                    run,
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
