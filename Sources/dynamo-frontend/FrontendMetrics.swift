import Discovery
import DynamoRuntime

/// The metrics of a frontend, by the names and labels that Dynamo's frontend uses.
struct FrontendMetrics: Sendable {
    /// How a request ended.
    enum Outcome: Sendable, Hashable {
        case success
        /// The client went away.
        case cancelled
        case failed(OpenAIError.Kind)
    }

    let registry: MetricsRegistry
    private let requests: MetricsRegistry.Metric
    private let inFlight: MetricsRegistry.Metric
    private let active: MetricsRegistry.Metric
    private let queued: MetricsRegistry.Metric
    private let disconnected: MetricsRegistry.Metric
    private let duration: MetricsRegistry.Metric
    private let firstToken: MetricsRegistry.Metric
    private let inputTokens: MetricsRegistry.Metric
    private let outputTokens: MetricsRegistry.Metric
    private let contextLength: MetricsRegistry.Metric
    private let blockSize: MetricsRegistry.Metric
    private let migrationLimit: MetricsRegistry.Metric

    init(registry: MetricsRegistry) {
        self.registry = registry
        let name: (String) -> String = { "dynamo_frontend_\($0)" }
        self.active = registry.gauge(
            name("active_requests"),
            "Number of requests being handled, from HTTP handler entry to completion"
        )
        self.disconnected = registry.gauge(name("disconnected_clients"), "Number of disconnected clients")
        self.inFlight = registry.gauge(name("inflight_requests"), "Number of inflight requests")
        self.contextLength = registry.gauge(
            name("model_context_length"),
            "Maximum context length in tokens of the model"
        )
        self.blockSize = registry.gauge(name("model_kv_cache_block_size"), "KV cache block size in tokens of the model")
        self.migrationLimit = registry.gauge(
            name("model_migration_limit"),
            "Maximum number of request migrations of the model"
        )
        self.queued = registry.gauge(name("queued_requests"), "Number of requests waiting for their first response")
        self.duration = registry.histogram(name("request_duration_seconds"), "Duration of LLM requests")
        self.requests = registry.counter(name("requests_total"), "Total number of LLM requests processed")
        self.firstToken = registry.histogram(name("time_to_first_token_seconds"), "Time to first token in seconds")
        let sizes: [Double] = [1, 8, 32, 128, 512, 2048, 8192, 32768, 131_072]
        self.inputTokens = registry.histogram(
            name("input_sequence_tokens"),
            "Input sequence length in tokens",
            buckets: sizes
        )
        self.outputTokens = registry.histogram(
            name("output_sequence_tokens"),
            "Output sequence length in tokens",
            buckets: sizes
        )
        registry.set(self.disconnected, 0)
    }

    /// One request from its first byte to its end.
    struct Measurement {
        fileprivate let metrics: FrontendMetrics
        fileprivate let kind: TextRequestKind
        fileprivate let model: String
        fileprivate let streams: Bool
        fileprivate let started: ContinuousClock.Instant
        /// Made once: making them costs more than counting.
        fileprivate let labels: MetricsRegistry.Labels
        fileprivate var isQueued = true

        /// The first response has arrived.
        mutating func firstResponse() {
            guard self.isQueued else { return }
            self.isQueued = false
            self.metrics.registry.add(-1, to: self.metrics.queued, self.labels)
            self.metrics.registry.observe(self.started.duration(to: .now), in: self.metrics.firstToken, self.labels)
        }

        /// The worker counted.
        func tokens(prompt: Int, completion: Int) {
            self.metrics.registry.observe(Double(prompt), in: self.metrics.inputTokens, self.labels)
            self.metrics.registry.observe(Double(completion), in: self.metrics.outputTokens, self.labels)
        }

        /// The request has ended.
        func end(_ outcome: Outcome) {
            let registry = self.metrics.registry
            if self.isQueued { registry.add(-1, to: self.metrics.queued, self.labels) }
            registry.add(-1, to: self.metrics.inFlight, self.labels)
            registry.add(-1, to: self.metrics.active, self.labels)
            registry.observe(self.started.duration(to: .now), in: self.metrics.duration, self.labels)
            if outcome == .cancelled { registry.add(1, to: self.metrics.disconnected) }
            self.metrics.count(outcome, kind: self.kind, model: self.model, streams: self.streams)
        }
    }

    /// A request for a known model begins.
    func begin(_ request: TextRequest, started: ContinuousClock.Instant) -> Measurement {
        let labels: MetricsRegistry.Labels = ["model": request.model]
        for gauge in [self.active, self.inFlight, self.queued] { self.registry.add(1, to: gauge, labels) }
        return Measurement(
            metrics: self,
            kind: request.kind,
            model: request.model,
            streams: request.streams,
            started: started,
            labels: labels
        )
    }

    /// Counts a request.
    ///
    /// One that names no known model counts under `unknown`: a label takes no client's word.
    func count(_ outcome: Outcome, kind: TextRequestKind, model: String = "unknown", streams: Bool = false) {
        let (status, errorType) =
            switch outcome {
            case .success: ("success", "")
            case .cancelled: ("error", "cancelled")
            case .failed(let kind): ("error", kind.metricsLabel)
            }
        let endpoint = kind == .chat ? "chat_completions" : "completions"
        let labels: MetricsRegistry.Labels = [
            "endpoint": endpoint, "error_type": errorType, "model": model, "request_type": streams ? "stream" : "unary",
            "status": status,
        ]
        self.registry.add(1, to: self.requests, labels)
    }

    /// Takes what the models say about themselves.
    func describe(_ directory: ModelDirectory) {
        func values(_ value: (ModelCard) -> Int?) -> [MetricsRegistry.Labels: Double] {
            directory.cards.reduce(into: [:]) { values, entry in
                if let number = value(entry.card) { values[["model": entry.name]] = Double(number) }
            }
        }
        self.registry.replace(self.contextLength, values(\.contextLength))
        self.registry.replace(self.blockSize, values(\.kvCacheBlockSize))
        self.registry.replace(self.migrationLimit, values(\.migrationLimit))
    }
}
