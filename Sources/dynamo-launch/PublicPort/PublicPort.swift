import Deployment
import Gateway
import Logging
import Supervisor
import Synchronization
import Systemd

/// The public port of a deployment whose launcher serves it: the gateway, and which frontends it forwards to.
final class PublicPort: Sendable {
    private let gateway: Gateway
    private let port: Int
    private let frontends: [String: Backend]
    private let ready: Mutex<Set<String>> = Mutex([])
    /// How long requests that are under way may take when the deployment is stopped.
    private let grace: Duration
    private let stops: AsyncStream<Void>
    private let stop: AsyncStream<Void>.Continuation

    private let names: [String?]
    private let readiness: AsyncStream<Void>
    private let becomeReady: AsyncStream<Void>.Continuation

    /// Nil when the plan leaves the public port to a frontend.
    init?(plan: Plan, listeners: PublicListeners, logger: Logger) {
        guard let settings = plan.gateway else { return nil }
        var configuration = GatewayConfiguration(
            listeners: listeners.listeners,
            hold: HoldPolicy(
                maximumRequests: settings.hold.requests,
                maximumBytes: settings.hold.bytes,
                patience: .seconds(settings.hold.time)
            )
        )
        configuration.limits.maximumBodyBytes = settings.bodyLimit
        configuration.limits.maximumConnections = settings.connections
        self.gateway = Gateway(configuration, logger: logger)
        self.names = listeners.names
        (self.readiness, self.becomeReady) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.port = plan.publicAddress.port
        let frontends = plan.replicas.filter { $0.role == .frontend }
        self.frontends = frontends.reduce(into: [:]) { backends, replica in
            guard let port = replica.ports.first(where: { $0.name == "http" })?.port else { return }
            backends[replica.name] = Backend(id: replica.name, generation: 0, host: "127.0.0.1", port: port)
        }
        self.grace = .seconds(frontends.map(\.stop.grace).max() ?? 0)
        (self.stops, self.stop) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
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
    }

    /// Serves until the task is cancelled; answers what is under way once the deployment is being stopped.
    func run() async {
        await withDiscardingTaskGroup { group in
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
        case .ready: self.becomeReady.yield()
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
                    errors: backend.failures.values.reduce(0, +),
                    retries: backend.retries,
                    isActive: active.contains(backend.backend.id)
                )
            }
        )
    }
}
