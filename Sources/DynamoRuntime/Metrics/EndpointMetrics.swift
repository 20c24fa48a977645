import RequestPlane

/// The metrics of served endpoints, by the names, labels and buckets of Dynamo 1.2.1's workers and in their order.
///
/// One is ours: which transport an endpoint is served on. As a label it would make the others different from Dynamo's; joined
/// on `worker_id` and `dynamo_endpoint` it tells the numbers of each transport apart.
struct EndpointMetrics: Sendable {
    private let registry: MetricsRegistry
    private let requests: MetricsRegistry.Metric
    private let inFlight: MetricsRegistry.Metric
    private let requestBytes: MetricsRegistry.Metric
    private let responseBytes: MetricsRegistry.Metric
    private let errors: MetricsRegistry.Metric
    private let cancellations: MetricsRegistry.Metric
    private let duration: MetricsRegistry.Metric
    private let transport: MetricsRegistry.Metric
    private let uptime: MetricsRegistry.Metric

    init(registry: MetricsRegistry) {
        self.registry = registry
        let name: (String) -> String = { "dynamo_component_\($0)" }
        self.cancellations = registry.counter(
            name("cancellation_total"),
            "Total number of requests cancelled by work handler"
        )
        self.transport = registry.gauge(
            name("endpoint_transport_info"),
            "The transport that an endpoint is served on; always 1"
        )
        self.errors = registry.counter(name("errors_total"), "Total number of errors in work handler processing")
        self.inFlight = registry.gauge(
            name("inflight_requests"),
            "Number of requests currently being processed by work handler"
        )
        self.requestBytes = registry.counter(
            name("request_bytes_total"),
            "Total number of bytes received in requests by work handler"
        )
        self.duration = registry.histogram(
            name("request_duration_seconds"),
            "Time spent processing requests by work handler",
            buckets: EndpointStatistics.durationBounds
        )
        self.requests = registry.counter(
            name("requests_total"),
            "Total number of requests processed by work handler"
        )
        self.responseBytes = registry.counter(
            name("response_bytes_total"),
            "Total number of bytes sent in responses by work handler"
        )
        self.uptime = registry.gauge(
            name("uptime_seconds"),
            "Total uptime of the DistributedRuntime in seconds"
        )
    }

    /// Takes over what the request plane has counted.
    ///
    /// - Parameters:
    ///   - statistics: one for each endpoint.
    ///   - transport: the plane on which all of them are served.
    ///   - uptime: of the process.
    func update(_ statistics: [EndpointStatistics], transport: RequestPlaneMode, uptime: Duration) {
        for entry in statistics {
            let pairs = [
                ("dynamo_namespace", entry.endpoint.namespace), ("dynamo_component", entry.endpoint.component),
                ("dynamo_endpoint", entry.endpoint.name), ("worker_id", entry.instance.hex),
            ]
            let labels = MetricsRegistry.Labels(pairs)
            self.registry.set(self.requests, Double(entry.requests), labels)
            self.registry.set(self.inFlight, Double(entry.inFlight), labels)
            self.registry.set(self.requestBytes, Double(entry.requestBytes), labels)
            self.registry.set(self.responseBytes, Double(entry.responseBytes), labels)
            self.registry.set(self.cancellations, Double(entry.cancellations), labels)
            self.registry.set(self.duration, cumulative: entry.durationBuckets, sum: entry.durationSum, labels)
            self.registry.set(self.transport, 1, .init(pairs + [("transport", transport.rawValue)]))
            // As in Dynamo: a kind that has never happened has no sample.
            for (kind, count) in entry.errorsByKind where count > 0 {
                self.registry.set(self.errors, Double(count), .init(pairs + [("error_type", kind.rawValue)]))
            }
        }
        // The id is known only to those who serve something.
        let worker = statistics.first.map { [("worker_id", $0.instance.hex)] } ?? []
        self.registry.replace(self.uptime, [.init(worker): uptime.inSeconds])
    }
}
