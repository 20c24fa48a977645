import DynamoRuntime

/// The load of the simulated engine on `/metrics`.
struct MockMetrics: Sendable {
    private let registry: MetricsRegistry
    private let labels: MetricsRegistry.Labels
    private let totalBlocks: Int
    private let running, waiting, active, cached, total, usage: MetricsRegistry.Metric
    private let promptBlocks, hitBlocks, preemptions: MetricsRegistry.Metric

    init(registry: MetricsRegistry, model: String, totalBlocks: Int) {
        self.registry = registry
        self.labels = ["model": model]
        self.totalBlocks = totalBlocks
        let name: (String) -> String = { "dynamo_worker_\($0)" }
        self.running = registry.gauge(name("requests_running"), "Requests in the engine's batch.")
        self.waiting = registry.gauge(name("requests_waiting"), "Requests that wait for room in the engine.")
        self.active = registry.gauge(name("kv_active_blocks"), "Blocks of the KV cache that running requests use.")
        self.cached = registry.gauge(name("kv_cached_blocks"), "Full blocks in the KV cache, in use or not.")
        self.total = registry.gauge(name("kv_total_blocks"), "Blocks that fit into the KV cache.")
        self.usage = registry.gauge(name("kv_usage_ratio"), "Part of the KV cache that running requests use, 0 to 1.")
        self.promptBlocks = registry.counter(name("kv_prompt_blocks_total"), "Full blocks of all prompts.")
        self.hitBlocks = registry.counter(
            name("kv_hit_blocks_total"),
            "Blocks of prompts that were in the KV cache already."
        )
        self.preemptions = registry.counter(
            name("preemptions_total"),
            "Requests that went back to wait because the KV cache was full."
        )
    }

    func update(_ load: MockEngine.Load) {
        let values: [(MetricsRegistry.Metric, Double)] = [
            (self.running, Double(load.running)), (self.waiting, Double(load.waiting)),
            (self.active, Double(load.activeBlocks)), (self.cached, Double(load.cachedBlocks)),
            (self.total, Double(self.totalBlocks)), (self.usage, Double(load.activeBlocks) / Double(self.totalBlocks)),
            (self.promptBlocks, Double(load.promptBlocks)), (self.hitBlocks, Double(load.hitBlocks)),
            (self.preemptions, Double(load.preemptions)),
        ]
        for (metric, value) in values { self.registry.set(metric, value, self.labels) }
    }
}
