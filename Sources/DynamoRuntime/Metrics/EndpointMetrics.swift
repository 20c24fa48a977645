import RequestPlane

/// The metrics of served endpoints, by the names and labels that Dynamo's workers use.
struct EndpointMetrics: Sendable {
    private let registry: MetricsRegistry
    private let requests: MetricsRegistry.Metric
    private let inFlight: MetricsRegistry.Metric
    private let requestBytes: MetricsRegistry.Metric
    private let responseBytes: MetricsRegistry.Metric
    private let errors: MetricsRegistry.Metric
    private let cancellations: MetricsRegistry.Metric
    private let duration: MetricsRegistry.Metric

    init(registry: MetricsRegistry) {
        self.registry = registry
        let name: (String) -> String = { "dynamo_component_\($0)" }
        self.requests = registry.counter(name("requests_total"), "Total number of requests processed")
        self.inFlight = registry.gauge(name("inflight_requests"), "Number of requests being processed")
        self.requestBytes = registry.counter(name("request_bytes_total"), "Total number of bytes received in requests")
        self.responseBytes = registry.counter(name("response_bytes_total"), "Total number of bytes sent in responses")
        self.errors = registry.counter(name("errors_total"), "Total number of requests that failed")
        self.cancellations = registry.counter(
            name("cancellation_total"),
            "Total number of requests that were cancelled"
        )
        self.duration = registry.histogram(
            name("request_duration_seconds"),
            "Time spent processing requests",
            buckets: EndpointStatistics.durationBounds
        )
    }

    /// Takes over what the request plane has counted.
    func update(_ statistics: [EndpointStatistics]) {
        for entry in statistics {
            let labels: MetricsRegistry.Labels = [
                "dynamo_namespace": entry.endpoint.namespace, "dynamo_component": entry.endpoint.component,
                "dynamo_endpoint": entry.endpoint.name, "worker_id": entry.instance.hex,
            ]
            self.registry.set(self.requests, Double(entry.requests), labels)
            self.registry.set(self.inFlight, Double(entry.inFlight), labels)
            self.registry.set(self.requestBytes, Double(entry.requestBytes), labels)
            self.registry.set(self.responseBytes, Double(entry.responseBytes), labels)
            self.registry.set(self.errors, Double(entry.errors), labels)
            self.registry.set(self.cancellations, Double(entry.cancellations), labels)
            self.registry.set(self.duration, cumulative: entry.durationBuckets, sum: entry.durationSum, labels)
        }
    }
}
