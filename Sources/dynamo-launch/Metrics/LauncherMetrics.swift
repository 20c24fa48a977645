import Deployment
import Gateway
import Supervisor

/// What the launcher says about itself in the text format of Prometheus.
enum LauncherMetrics {
    static func text(_ deployment: DeploymentStatus, _ gateway: GatewayStatus?) -> String {
        var text = PrometheusText()
        self.write(deployment, to: &text)
        if let gateway { self.write(gateway, to: &text) }
        if let pid = deployment.gateway?.pid {
            let help = "The process that has the public port, when it is not the launcher."
            text.single("dynamo_launch_gateway_pid", .gauge, help, Int(pid))
        }
        return text.text
    }

    private static func write(_ deployment: DeploymentStatus, to text: inout PrometheusText) {
        text.begin("dynamo_launch_deployment_ready", .gauge, "Whether the deployment serves: 1 when it is ready.")
        let labels: PrometheusText.Labels = [("deployment", deployment.deployment)]
        text.sample(labels, deployment.state == .ready ? 1 : 0)
        text.begin("dynamo_launch_uptime_seconds", .gauge, "Time since the deployment was started.")
        text.sample(labels, deployment.uptime)
        text.begin("dynamo_launch_generation", .gauge, "Which generation the deployment is.")
        text.sample(labels + [("plane", deployment.planes.request.rawValue)], deployment.generation)
        if let migration = deployment.migration {
            let way: PrometheusText.Labels = [
                ("from", String(migration.from.number)), ("to", String(migration.to.number)),
            ]
            let step = "1 for the step of the migration that is under way, or that the last one ended with."
            text.begin("dynamo_launch_migration", .gauge, step)
            text.sample(way + [("step", migration.step.rawValue)], 1)
            text.begin("dynamo_launch_migration_share", .gauge, "Percent of the requests that the new generation gets.")
            text.sample(way, migration.share)
        }
        let replicas = deployment.replicas.map { replica in
            (
                status: replica,
                labels: [("replica", replica.name), ("role", replica.role.rawValue)] as PrometheusText.Labels
            )
        }
        text.begin("dynamo_launch_replica_ready", .gauge, "Whether the process is ready.")
        for replica in replicas { text.sample(replica.labels, replica.status.state == .ready ? 1 : 0) }
        text.begin("dynamo_launch_replica_restarts_total", .counter, "How often the process was started again.")
        for replica in replicas { text.sample(replica.labels, replica.status.restarts) }
        let services = deployment.externalServices ?? []
        guard !services.isEmpty else { return }
        text.begin("dynamo_launch_external_service_up", .gauge, "Whether the server outside the deployment answers.")
        for service in services { text.sample([("service", service.name)], service.failure == nil ? 1 : 0) }
    }

    // MARK: The gateway

    private static func write(_ gateway: GatewayStatus, to text: inout PrometheusText) {
        let prefix = "dynamo_launch_gateway_"
        let numbers = [
            ("connections", "Open connections of clients.", gateway.connections),
            ("requests_in_flight", "Requests that are at backends.", gateway.inFlight),
            ("held_requests", "Requests that wait for a backend.", gateway.heldRequests),
            ("held_bytes", "Bytes that are kept of the requests that wait.", gateway.heldBytes),
            ("draining", "1 when no new connections are taken.", gateway.isDraining ? 1 : 0),
        ]
        for (name, help, value) in numbers { text.single(prefix + name, .gauge, help, value) }
        let refusals = "Requests that the gateway answered itself with an error, by the error's code."
        text.begin(prefix + "refusals_total", .counter, refusals)
        for (code, count) in gateway.refusals.sorted(by: { $0.key < $1.key }) { text.sample([("code", code)], count) }

        let backends = gateway.backends.map { backend in
            (
                backend,
                [
                    ("backend", backend.backend.id), ("generation", String(backend.backend.generation)),
                ] as PrometheusText.Labels
            )
        }
        func family(
            _ name: String,
            _ kind: PrometheusText.Kind,
            _ help: String,
            _ value: (BackendStatistics) -> Int
        ) {
            text.begin(prefix + name, kind, help)
            for (backend, labels) in backends { text.sample(labels, value(backend)) }
        }
        family("backend_requests_in_flight", .gauge, "Requests that are at the backend.") { $0.inFlight }
        family("requests_total", .counter, "Requests to the backend that have ended, in whatever way.") { $0.requests }
        text.begin(prefix + "errors_total", .counter, "Requests to the backend that went wrong, by how.")
        for (backend, labels) in backends {
            for (kind, count) in backend.errors { text.sample(labels + [("kind", kind)], count) }
        }
        family("retries_total", .counter, "Requests that had to take another connection.") { $0.retries }
        family("ejections_total", .counter, "How often the backend was left alone for a while.") { $0.ejections }
        let first = "Time from the end of a request's headers to the first byte of its answer."
        text.begin(prefix + "time_to_first_byte_seconds", .histogram, first)
        for (backend, labels) in backends { text.histogram(labels, backend.firstByte) }
        let duration = "Time from the end of a request's headers to the end of its answer, of whole answers."
        text.begin(prefix + "request_duration_seconds", .histogram, duration)
        for (backend, labels) in backends { text.histogram(labels, backend.duration) }
    }
}

extension PrometheusText {
    fileprivate mutating func histogram(_ labels: Labels, _ histogram: Histogram) {
        self.histogram(labels, bounds: Histogram.bounds, counts: histogram.counts, sum: histogram.sum)
    }
}

extension BackendStatistics {
    /// Each kind of error, those that never happened too.
    fileprivate var errors: [(kind: String, count: Int)] {
        BackendFailure.allCases.map { ($0.rawValue, self.failures[$0] ?? 0) } + [
            ("server_error", self.serverErrors), ("client_left", self.cancelled), ("client_stalled", self.stalled),
        ]
    }
}
