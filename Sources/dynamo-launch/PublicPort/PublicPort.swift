import Deployment
import Gateway
import Logging
import Supervisor
import Synchronization

/// The public port of a deployment whose launcher serves it: the gateway, and which frontends it forwards to.
final class PublicPort: Sendable {
    private let gateway: Gateway
    private let certificates: CertificateWatch?
    private let metrics: MetricsListener?
    private let port: Int
    private let frontends: [String: Backend]
    private let ready: Mutex<Set<String>> = Mutex([])
    /// How long requests that are under way may take when the deployment is stopped.
    private let grace: Duration
    private let stops: AsyncStream<Void>
    private let stop: AsyncStream<Void>.Continuation

    /// Nil when the plan leaves the public port to a frontend.
    init?(plan: Plan, logger: Logger) {
        guard let settings = plan.gateway else { return nil }
        let gateway = Gateway(GatewayConfiguration(settings, at: plan.publicAddress), logger: logger)
        self.gateway = gateway
        self.certificates = settings.tls.map { tls in
            var logger = logger
            logger.logLevel = .notice
            return CertificateWatch(files: [tls.certificate, tls.key], gateway: gateway, logger: logger)
        }
        self.metrics = settings.metrics.map { MetricsListener(host: $0.host, port: $0.port) }
        self.port = plan.publicAddress.port
        let frontends = plan.replicas.filter { $0.role == .frontend }
        self.frontends = frontends.reduce(into: [:]) { backends, replica in
            guard let port = replica.ports.first(where: { $0.name == "http" })?.port else { return }
            backends[replica.name] = Backend(id: replica.name, generation: 0, host: "127.0.0.1", port: port)
        }
        self.grace = .seconds(frontends.map(\.stop.grace).max() ?? 0)
        (self.stops, self.stop) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// Opens the port, and the one for metrics.
    ///
    /// - Throws: `Unavailable` when one cannot be had.
    func bind() async throws {
        do { try await self.gateway.bind() } catch {
            let holder = PortListeners().holder(of: self.port).map { "; \($0.words) listens there" } ?? ""
            throw Unavailable(description: "the gateway \(error)\(holder)")
        }
        do { try await self.metrics?.bind() } catch {
            throw Unavailable(description: "'gateway.metrics': \(error)")
        }
    }

    /// The public port cannot be had.
    struct Unavailable: Error, CustomStringConvertible {
        let description: String
    }

    /// Serves until the task is cancelled; answers what is under way once the deployment is being stopped.
    ///
    /// - Parameter metrics: the launcher's metrics; nil when there are none any more.
    func run(metrics: @escaping @Sendable () async -> String?) async {
        await withDiscardingTaskGroup { group in
            if let listener = self.metrics { group.addTask { await listener.run(metrics) } }
            if let certificates = self.certificates { group.addTask { await certificates.run() } }
            group.addTask { await self.gateway.run() }
            group.addTask {
                for await _ in self.stops {
                    await self.gateway.drain(within: self.grace)
                    // Whoever asks again is in a hurry, and draining twice takes longer.
                    break
                }
            }
        }
    }

    /// Follows which frontends are ready.
    func observe(_ notice: SupervisorNotice) {
        switch notice {
        case .replicaState(let replica, let state, _): self.set(replica, isReady: state == .ready)
        case .exited(let replica, _, _): self.set(replica, isReady: false)
        case .stopping: self.stop.yield()
        default: break
        }
    }

    private func set(_ replica: String, isReady: Bool) {
        guard self.frontends[replica] != nil else { return }
        self.ready.withLock { ready in
            let changes = isReady ? ready.insert(replica).inserted : ready.remove(replica) != nil
            guard changes else { return }
            // Inside the lock, so that two changes arrive in their order.
            self.gateway.setBackends(ready.sorted().compactMap { self.frontends[$0] })
        }
    }

    /// For metrics.
    var status: GatewayStatus { self.gateway.status }

    /// For `status`.
    var report: GatewayReport {
        let status = self.gateway.status
        let active = self.ready.withLock { $0 }
        return GatewayReport(
            addresses: self.gateway.addresses,
            connections: status.connections,
            held: status.heldRequests,
            heldBytes: status.heldBytes,
            inFlight: status.inFlight,
            refused: status.refusals.values.reduce(0, +),
            backends: status.backends.map { backend in
                GatewayReport.Backend(
                    name: backend.backend.id,
                    generation: backend.backend.generation,
                    requests: backend.requests,
                    inFlight: backend.inFlight,
                    errors: backend.failures.values.reduce(0, +) + backend.stalled,
                    retries: backend.retries,
                    isActive: active.contains(backend.backend.id)
                )
            }
        )
    }
}
