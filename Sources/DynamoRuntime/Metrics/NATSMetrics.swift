import RequestPlaneTransports

/// The state of a process's NATS connection; not there in processes that do not use NATS.
struct NATSMetrics: Sendable {
    private let registry: MetricsRegistry
    private let connected: MetricsRegistry.Metric
    private let reconnects: MetricsRegistry.Metric
    private let dropped: MetricsRegistry.Metric
    private let failures: MetricsRegistry.Metric

    init(registry: MetricsRegistry) {
        self.registry = registry
        let name: (String) -> String = { "dynamo_component_nats_\($0)" }
        self.connected = registry.gauge(name("connected"), "Whether there is a connection to NATS: 1 or 0")
        self.reconnects = registry.counter(name("reconnects_total"), "How often a lost connection to NATS was regained")
        self.dropped = registry.counter(
            name("dropped_messages_total"),
            "Messages from NATS that this process did not take fast enough"
        )
        self.failures = registry.counter(name("publish_failures_total"), "Messages that could not be sent to NATS")
    }

    /// Takes over what the request plane has counted.
    func update(_ statistics: NATSLinkStatistics?) {
        guard let statistics else { return }
        self.registry.set(self.connected, statistics.isConnected ? 1 : 0)
        self.registry.set(self.reconnects, Double(statistics.reconnects))
        self.registry.set(self.dropped, Double(statistics.droppedMessages))
        self.registry.set(self.failures, Double(statistics.publishFailures))
    }
}
