import Deployment
import NIOCore
import TestSupport
import Testing

@testable import Gateway
@testable import Supervisor
@testable import dynamo_launch

/// The launcher's metrics, read by the parser of Prometheus.
@Suite struct LauncherMetricsTests {
    private static let odd = "front\"end\\0\nx"

    private static var deployment: DeploymentStatus {
        DeploymentStatus(
            deployment: "demo",
            generation: 1,
            state: .ready,
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "demo",
            url: "http://127.0.0.1:8000",
            launcherPID: 1,
            uptime: 12.25,
            replicas: [
                ReplicaStatus(
                    name: "worker-0",
                    process: "worker",
                    role: .worker,
                    state: .backingOff,
                    reached: [],
                    restarts: 3,
                    ports: [],
                    logFile: "/l"
                )
            ],
            warnings: [],
            survivors: []
        )
    }

    /// Two backends, and requests of every end at the first one.
    private static func gateway() -> GatewayStatus {
        let backends = [
            Backend(id: self.odd, generation: 0, host: "127.0.0.1", port: 1),
            Backend(id: "frontend-1", generation: 2, host: "127.0.0.1", port: 2),
        ]
        var traffic = Traffic<Int>(hold: HoldPolicy(), upstream: UpstreamPolicy(), maximumRequests: 100)
        let now = NIODeadline.now()
        _ = traffic.setBackends([backends[0]], now: now)
        let ends: [ExchangeResult.End] = [
            .answered(status: 200), .answered(status: 500), .failed(.cut), .clientLeft, .clientStalled, .stale,
        ]
        for (index, end) in ends.enumerated() {
            guard case .send(let assignment) = traffic.arrive(index, bytes: 1, now: now) else { continue }
            let result = ExchangeResult(end, firstByte: .milliseconds(3), duration: .seconds(400 * Int64(index)))
            _ = traffic.finish(assignment, result, now: now)
        }
        _ = traffic.arrive(9, bytes: 1, now: now)
        _ = traffic.setBackends(backends, now: now)
        var status = GatewayStatus()
        (status.connections, status.heldRequests, status.heldBytes, status.inFlight) = (7, 2, 300, 1)
        status.refusals = ["no_backend_ready": 4, "malformed_request": 1]
        status.backends = traffic.statistics
        return status
    }

    @Test func `the process of the public port is named when it is not the launcher`() {
        var deployment = Self.deployment
        #expect(!LauncherMetrics.text(deployment, Self.gateway()).contains("dynamo_launch_gateway_pid"))
        deployment.gateway = GatewayReport(
            pid: 4711,
            addresses: [],
            connections: 0,
            held: 0,
            heldBytes: 0,
            inFlight: 0,
            refused: 0,
            backends: []
        )
        #expect(LauncherMetrics.text(deployment, Self.gateway()).contains("\ndynamo_launch_gateway_pid 4711\n"))
    }

    @Test func `Prometheus reads what is served`() async throws {
        let text = LauncherMetrics.text(Self.deployment, Self.gateway())
        let metrics = try await PrometheusReader.read(text)
        #expect(metrics.value("dynamo_launch_deployment_ready", ["deployment": "demo"]) == 1)
        #expect(metrics.value("dynamo_launch_uptime_seconds") == 12.25)
        #expect(metrics.value("dynamo_launch_replica_ready", ["replica": "worker-0", "role": "worker"]) == 0)
        #expect(metrics.value("dynamo_launch_replica_restarts_total", ["replica": "worker-0"]) == 3)
        let prefix = "dynamo_launch_gateway_"
        for (name, value) in [("connections", 7.0), ("held_requests", 2), ("held_bytes", 300), ("draining", 0)] {
            #expect(metrics.value(prefix + name) == value && metrics.kinds[prefix + name] == "gauge")
        }
        #expect(metrics.value(prefix + "requests_in_flight") == 1)
        #expect(metrics.value(prefix + "refusals_total", ["code": "no_backend_ready"]) == 4)
        let first = ["backend": Self.odd, "generation": "0"]
        #expect(metrics.value(prefix + "requests_total", first) == 5)
        #expect(metrics.value(prefix + "requests_total", ["backend": "frontend-1", "generation": "2"]) == 0)
        #expect(metrics.value(prefix + "backend_requests_in_flight", first) == 1)
        #expect(metrics.value(prefix + "retries_total", first) == 1)
        for (kind, count) in [
            ("cut", 1.0), ("client_left", 1), ("client_stalled", 1), ("server_error", 1), ("connect", 0),
            ("closed_before_head", 0), ("malformed", 0),
        ] {
            let labels = first.merging(["kind": kind]) { $1 }
            #expect(metrics.value(prefix + "errors_total", labels) == count, "\(kind)")
        }
        let name = prefix + "time_to_first_byte_seconds"
        #expect(metrics.kinds[name] == "histogram" && metrics.value(name + "_count", first) == 5)
        func bucket(_ name: String, _ bound: String) -> Double? {
            metrics.value(name + "_bucket", first.merging(["le": bound]) { $1 })
        }
        #expect(bucket(name, "0.0025") == 0 && bucket(name, "0.005") == 5 && bucket(name, "+Inf") == 5)
        // One answer took no time, and one longer than the last bound.
        let duration = prefix + "request_duration_seconds"
        #expect(bucket(duration, "0.0005") == 1 && bucket(duration, "300") == 1 && bucket(duration, "+Inf") == 2)
        #expect(metrics.value(duration + "_sum", first) == 400)
    }

    @Test func `without a gateway there is the deployment`() async throws {
        let metrics = try await PrometheusReader.read(LauncherMetrics.text(Self.deployment, nil))
        #expect(metrics.kinds.count == 5 && metrics.kinds.keys.allSatisfy { !$0.contains("gateway") })
    }
}
