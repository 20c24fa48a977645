import Deployment
import Gateway
import Logging
import NIOCore
import Supervisor
import Synchronization
import Systemd

/// The public port of a deployment whose launcher serves it: the gateway, and which frontends it forwards to.
final class PublicPort: PublicPortControl {
    private let gateway: Gateway
    private let certificates: CertificateWatch?
    private let metrics: MetricsListener?
    private let port: Int
    private let isSecure: Bool
    private let state: Mutex<State>

    private struct State: Sendable {
        /// As it is at the moment.
        var plan: Plan
        /// Where each frontend listens.
        var frontends: [String: Backend]
        var ready: Set<String> = []
        /// Get nothing more until a new process of them has been started.
        var released: Set<String> = []
    }

    /// For each listener the name under which the service manager keeps it; nil: that is not the launcher's business.
    private let names: [String?]
    private let readiness: AsyncStream<Void>
    private let becomeReady: AsyncStream<Void>.Continuation

    /// Nil when the plan leaves the public port to a frontend.
    init?(plan: Plan, listeners: PublicListeners, logger: Logger) {
        guard let settings = plan.gateway else { return nil }
        var configuration = GatewayConfiguration(settings, at: plan.publicAddress)
        configuration.listeners = listeners.listeners
        let gateway = Gateway(configuration, logger: logger)
        self.gateway = gateway
        self.certificates = settings.tls.map { tls in
            var logger = logger
            logger.logLevel = .notice
            return CertificateWatch(files: [tls.certificate, tls.key], gateway: gateway, logger: logger)
        }
        self.metrics = settings.metrics.map { MetricsListener(host: $0.host, port: $0.port) }
        self.names = listeners.names
        (self.readiness, self.becomeReady) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.port = plan.publicAddress.port
        self.isSecure = listeners.isSecure
        let frontends = plan.replicas.map { ($0.name, Self.backend(of: $0)) }
        self.state = Mutex(
            State(plan: plan, frontends: Dictionary(frontends) { first, _ in first }.compactMapValues { $0 })
        )
    }

    /// Nil for what is no frontend.
    private static func backend(of replica: ReplicaPlan) -> Backend? {
        guard replica.role == .frontend, let port = replica.ports.first(where: { $0.name == "http" })?.port else {
            return nil
        }
        return Backend(id: replica.name, generation: 0, host: "127.0.0.1", port: port)
    }

    private var plan: Plan { self.state.withLock { $0.plan } }

    /// How long requests that are under way may take when their frontend, or all of the deployment, is stopped.
    private var grace: Duration { .seconds(DeploymentTimes(self.plan).drain) }

    /// Opens the port, and the one for metrics.
    ///
    /// - Throws: `Unavailable` when one cannot be had.
    func bind() async throws {
        do { try await self.gateway.bind() } catch {
            let holder = PortListeners().holder(of: self.port).map { "; \($0.words) listens there" } ?? ""
            throw Unavailable(description: "the gateway \(error)\(holder)", errno: error.errno)
        }
        do { try await self.metrics?.bind() } catch {
            await self.gateway.drain(within: .zero)
            throw Unavailable(description: "'gateway.metrics': \(error)")
        }
    }

    /// How long ``troubles(at:)`` may take, in seconds.
    var proofTime: Double { PublicProof(self.plan)?.limit ?? 0 }

    /// Whether the port serves, once every frontend does by itself.
    ///
    /// - Parameter stage: what is ready.
    /// - Returns: what is wrong, in words; empty when nothing is.
    func troubles(at stage: Supervisor.VerificationStage) async -> [String] {
        guard stage == .everythingReady else { return [] }
        let prepare: (@Sendable (any Channel) throws -> Void)?
        do { prepare = try self.isSecure ? GatewayTLS.connectingToItself() : nil } catch {
            return ["the public address cannot be asked: \(error)"]
        }
        guard let trouble = await PublicProof(self.plan, prepare: prepare)?.trouble() else { return [] }
        // Clients that waited for the port may keep the engine from answering one more request in time; they prove the port too.
        return self.isUsed ? [] : [trouble]
    }

    /// Whether a frontend has answered a request that came through the port, or has several to answer.
    private var isUsed: Bool {
        self.gateway.status.backends.contains { $0.duration.count > $0.serverErrors || $0.inFlight > 1 }
    }

    /// Leaves a copy of each socket with the service manager, if there is one: the next launcher gets it, and connections that come
    /// in between wait.
    ///
    /// A service manager whose unit has no room (`FileDescriptorStoreMax=`) drops it without a word.
    ///
    /// - Throws: `SystemdError` when the service manager cannot be told.
    func leaveWithServiceManager() async throws {
        guard ServiceNotifier().isManaged else { return }
        for case (let name?, let descriptor?) in zip(self.names, await self.gateway.descriptors()) {
            try DescriptorStore().store(descriptor, name: name)
        }
        self.gateway.keepSocketFiles()
    }

    /// Waits until the deployment has been ready and without a request for some time; accepts no more connections then.
    ///
    /// - Parameter limit: the time.
    /// - Returns: whether that came true; false when the task was cancelled before.
    func pauseWhenIdle(for limit: Duration) async -> Bool {
        for await _ in self.readiness { break }
        let start = ContinuousClock.now
        while !Task.isCancelled {
            let idle = min(self.gateway.idleTime, ContinuousClock.now - start)
            if idle >= limit, await self.gateway.pause(ifIdleFor: limit) { return true }
            // A client that is in the middle of something will soon have sent a request, or be gone.
            try? await Task.sleep(for: idle < limit ? limit - idle : min(limit, .seconds(1)))
        }
        return false
    }

    /// The public port cannot be had.
    struct Unavailable: Error, CustomStringConvertible {
        let description: String
        /// The system's number for the reason, if it is one.
        var errno: Int32?
    }

    /// Serves until the task is cancelled; once the port was closed only metrics.
    ///
    /// - Parameter metrics: the launcher's metrics; nil when there are none any more.
    func run(metrics: @escaping @Sendable () async -> String?) async {
        await withDiscardingTaskGroup { group in
            if let listener = self.metrics { group.addTask { await listener.run(metrics) } }
            if let certificates = self.certificates { group.addTask { await certificates.run() } }
            group.addTask { await self.gateway.run() }
        }
    }

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
        case .planChanged(let plan, _):
            self.change { state in
                state.plan = plan
                // What is there already goes on at its old place until it is started anew.
                for replica in plan.replicas where state.frontends[replica.name] == nil {
                    state.frontends[replica.name] = Self.backend(of: replica)
                }
            }
        case .replicaPlanned(let replica):
            self.change { $0.frontends[replica.name] = Self.backend(of: replica) }
        case .started(let replica, _):
            self.change { $0.released.remove(replica) }
        case .ready: self.becomeReady.yield()
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

    /// For metrics.
    var status: GatewayStatus { self.gateway.status }

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
                    errors: backend.failures.values.reduce(0, +) + backend.stalled,
                    retries: backend.retries,
                    isActive: active.contains(backend.backend.id)
                )
            }
        )
    }
}
