import Deployment
import Gateway
import Logging
import Supervisor
import Synchronization

/// The public port of a deployment whose launcher serves it: the gateway, and which frontends it forwards to.
final class PublicPort: PublicPortControl {
    private let gateway: Gateway
    private let port: Int
    private let state: Mutex<State>
    /// How long requests that are under way may take when their frontend, or all of the deployment, is stopped.
    private let grace: Duration

    private struct State: Sendable {
        /// Where each frontend listens.
        var frontends: [String: Backend]
        /// The same by the plan, which counts for a frontend once a new process of it was started.
        var planned: [String: Backend]
        var ready: Set<String> = []
        /// Get nothing more until a new process of them has been started.
        var released: Set<String> = []
    }

    /// Nil when the plan leaves the public port to a frontend.
    init?(plan: Plan, logger: Logger) {
        guard let settings = plan.gateway else { return nil }
        var configuration = GatewayConfiguration(
            listeners: [.tcp(host: plan.publicAddress.host, port: plan.publicAddress.port)],
            hold: HoldPolicy(
                maximumRequests: settings.hold.requests,
                maximumBytes: settings.hold.bytes,
                patience: .seconds(settings.hold.time)
            )
        )
        configuration.limits.maximumBodyBytes = settings.bodyLimit
        configuration.limits.maximumConnections = settings.connections
        self.gateway = Gateway(configuration, logger: logger)
        self.port = plan.publicAddress.port
        let frontends = Self.frontends(of: plan)
        self.state = Mutex(State(frontends: frontends, planned: frontends))
        self.grace = .seconds(DeploymentTimes(plan).drain)
    }

    private static func frontends(of plan: Plan) -> [String: Backend] {
        plan.replicas.filter { $0.role == .frontend }.reduce(into: [:]) { backends, replica in
            guard let port = replica.ports.first(where: { $0.name == "http" })?.port else { return }
            backends[replica.name] = Backend(id: replica.name, generation: 0, host: "127.0.0.1", port: port)
        }
    }

    /// Opens the port.
    ///
    /// - Throws: `Unavailable` when it cannot be had.
    func bind() async throws {
        do { try await self.gateway.bind() } catch {
            let holder = PortListeners().holder(of: self.port).map { "; \($0.words) listens there" } ?? ""
            throw Unavailable(description: "the gateway \(error)\(holder)")
        }
    }

    /// The public port cannot be had.
    struct Unavailable: Error, CustomStringConvertible {
        let description: String
    }

    /// Serves until the task is cancelled or the port was closed.
    func run() async { await self.gateway.run() }

    func close() async { await self.gateway.drain(within: self.grace) }

    func release(_ replica: String) async {
        guard let backend = self.state.withLock({ $0.frontends[replica] }) else { return }
        self.change {
            $0.released.insert(replica)
            $0.ready.remove(replica)
        }
        _ = await self.gateway.waitUntilIdle(backend, within: self.grace)
    }

    /// Follows which frontends are ready.
    func observe(_ notice: SupervisorNotice) {
        switch notice {
        case .replicaState(let replica, let state, _): self.set(replica, isReady: state == .ready)
        case .exited(let replica, _, _): self.set(replica, isReady: false)
        case .planChanged(let plan):
            let frontends = Self.frontends(of: plan)
            self.change { $0.planned = frontends }
        case .started(let replica, _):
            self.change {
                $0.released.remove(replica)
                if let backend = $0.planned[replica] { $0.frontends[replica] = backend }
            }
        default: break
        }
    }

    private func set(_ replica: String, isReady: Bool) {
        self.change { state in
            guard isReady else {
                state.ready.remove(replica)
                return
            }
            guard state.frontends[replica] != nil, !state.released.contains(replica) else { return }
            state.ready.insert(replica)
        }
    }

    private func change(_ body: (inout State) -> Void) {
        self.state.withLock { state in
            let before = state.ready
            body(&state)
            guard state.ready != before else { return }
            // Inside the lock, so that two changes arrive in their order.
            self.gateway.setBackends(state.ready.sorted().compactMap { state.frontends[$0] })
        }
    }

    /// For `status`.
    var report: GatewayReport {
        let status = self.gateway.status
        let active = self.state.withLock { $0.ready }
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
                    errors: backend.failures.values.reduce(0, +),
                    retries: backend.retries,
                    isActive: active.contains(backend.backend.id)
                )
            }
        )
    }
}
