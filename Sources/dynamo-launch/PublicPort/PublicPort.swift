import Deployment
import Gateway
import Logging
import NIOCore
import Supervisor
import Synchronization
import Systemd

/// The public port of a deployment with a gateway: the gateway, and which frontends of which generations it forwards to.
final class PublicPort: Sendable {
    private let gateway: any PublicGateway
    private let certificates: CertificateWatch?
    private let port: Int
    private let isSecure: Bool
    /// The generation that the port was opened for.
    private let first: Plan
    private let state: Mutex<State>

    private struct State: Sendable {
        var generations: [Int: GenerationFrontends] = [:]
        /// Of the requests, by generation; nil: there is one generation, and it gets all.
        var shares: [Int: Int]?
        /// No generation will serve any more.
        var isClosing = false
        /// Another generation is on its way, or back: the port stays open without any.
        var isMigrating = false
        /// Of generations that ran before this launcher, and that nobody has taken over yet: they go on getting requests.
        var inherited: [Backend] = []

        /// Where requests may go.
        var backends: [Backend] {
            self.generations.sorted { $0.key < $1.key }.flatMap(\.value.backends) + self.inherited
        }
    }

    /// For each listener the name under which the service manager keeps it; nil: that is not the launcher's business.
    private let names: [String?]
    private let readiness: AsyncStream<Void>
    private let becomeReady: AsyncStream<Void>.Continuation

    /// Nil when the plan leaves the public port to a frontend.
    ///
    /// - Parameters:
    ///   - plan: of the generation that is started first.
    ///   - listeners: what it listens on.
    ///   - host: the deployment's.
    ///   - logger: gets what people should know.
    convenience init?(plan: Plan, listeners: PublicListeners, host: DeploymentHost, logger: Logger) {
        guard let settings = plan.gateway else { return nil }
        var configuration = GatewayConfiguration(settings, at: plan.publicAddress)
        configuration.listeners = listeners.listeners
        var notices = logger
        notices.logLevel = .notice
        let gateway: any PublicGateway
        var certificates: CertificateWatch?
        // One that goes on since before is taken over, and ends with this launcher when it need not survive any more.
        if plan.survive || KeptProgram.isOrphaned(in: host) {
            // Its process reads certificates again itself.
            gateway = RemoteGateway(
                configuration,
                controlSocket: PublicPortPrograms.controlSocket(of: host),
                programs: PublicPortPrograms(host: host, survives: plan.survive),
                logger: notices
            )
        } else {
            let own = Gateway(configuration, logger: logger)
            gateway = own
            certificates = settings.tls.map { tls in
                CertificateWatch(files: [tls.certificate, tls.key], gateway: own, logger: notices)
            }
        }
        self.init(
            plan: plan,
            gateway: gateway,
            certificates: certificates,
            names: listeners.names,
            isSecure: listeners.isSecure
        )
    }

    init(
        plan: Plan,
        gateway: any PublicGateway,
        certificates: CertificateWatch? = nil,
        names: [String?] = [],
        isSecure: Bool = false
    ) {
        self.gateway = gateway
        self.certificates = certificates
        self.names = names
        self.isSecure = isSecure
        (self.readiness, self.becomeReady) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.port = plan.publicAddress.port
        self.first = plan
        self.state = Mutex(State())
    }

    /// How long requests that are under way may take when their frontend, or all of the deployment, is stopped.
    private var grace: Duration {
        .seconds(self.state.withLock { $0.generations.values.map { DeploymentTimes($0.plan).drain }.max() ?? 0 })
    }

    /// Opens the port.
    ///
    /// - Throws: `Unavailable` when it cannot be had.
    func bind() async throws {
        do { try await self.gateway.bind() } catch {
            let holder = PortListeners().holder(of: self.port).map { "; \($0.words) listens there" } ?? ""
            throw Unavailable(description: "the gateway \(error)\(holder)", errno: error.errno)
        }
        guard let inherited = self.gateway.inherited else { return }
        self.state.withLock { ($0.inherited, $0.shares) = (inherited.backends, inherited.shares) }
    }

    /// Closes the port again before anything was started.
    func release() async { await self.gateway.drain(within: .zero) }

    /// How long ``troubles(at:of:)`` may take, in seconds.
    var proofTime: Double { PublicProof(self.first)?.limit ?? 0 }

    /// Whether the port serves, once every frontend does by itself.
    ///
    /// - Parameters:
    ///   - stage: what is ready.
    ///   - generation: of which generation; only that which the port was opened for proves it, while it gets requests.
    /// - Returns: what is wrong, in words; empty when nothing is.
    func troubles(at stage: Supervisor.VerificationStage, of generation: Int) async -> [String] {
        guard stage == .everythingReady, generation == self.first.generation else { return [] }
        // One that is started again while a migration is taken back gets nothing before it is ready: what is held proves nothing.
        let isServed = self.state.withLock { state in state.shares.map { $0[generation] ?? 0 > 0 } ?? true }
        guard isServed else { return [] }
        let prepare: (@Sendable (any Channel) throws -> Void)?
        do { prepare = try self.isSecure ? GatewayTLS.connectingToItself() : nil } catch {
            return ["the public address cannot be asked: \(error)"]
        }
        guard let trouble = await PublicProof(self.first, prepare: prepare)?.trouble() else { return [] }
        // Clients that waited for the port may keep the engine from answering one more request in time; they prove the port too.
        return await self.isUsed ? [] : [trouble]
    }

    /// Whether a frontend has answered a request that came through the port, or has several to answer.
    private var isUsed: Bool {
        get async {
            await self.gateway.status.backends.contains { $0.duration.count > $0.serverErrors || $0.inFlight > 1 }
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
        await self.gateway.keepSocketFiles()
    }

    /// Waits until the deployment has been ready and without a request for some time; accepts no more connections then.
    ///
    /// - Parameters:
    ///   - limit: the time.
    ///   - isBusy: whether something else than requests needs the deployment.
    /// - Returns: whether that came true; false when the task was cancelled before.
    func pauseWhenIdle(for limit: Duration, unless isBusy: () -> Bool) async -> Bool {
        for await _ in self.readiness { break }
        let start = ContinuousClock.now
        while !Task.isCancelled {
            let idle = min(await self.gateway.idleTime, ContinuousClock.now - start)
            if idle >= limit, !isBusy(), await self.gateway.pause(ifIdleFor: limit) { return true }
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

    /// Serves until the task is cancelled.
    ///
    /// - Returns: why the port cannot be served any more, in words; nil when it was to end.
    func run() async -> String? {
        await withTaskGroup(of: Void.self) { group in
            if let certificates = self.certificates { group.addTask { await certificates.run() } }
            let trouble = await self.gateway.serve()
            group.cancelAll()
            return trouble
        }
    }

    // MARK: Generations

    /// A generation is about to be started; unless it is the only one, it gets nothing until it has a share.
    func add(_ plan: Plan) {
        self.change { state in
            let inherited = state.inherited.filter { $0.generation == plan.generation }
            state.inherited.removeAll { $0.generation == plan.generation }
            // What an earlier launcher meant with shares is of no interest when nothing else is left to get any.
            if state.generations.isEmpty, state.inherited.isEmpty { state.shares = nil }
            let others = Set(state.generations.keys).union(state.inherited.map(\.generation))
            if state.shares == nil, inherited.isEmpty, !others.isEmpty {
                state.shares = Dictionary(uniqueKeysWithValues: others.map { ($0, 1) })
            }
            state.generations[plan.generation] = GenerationFrontends(plan, inherited: inherited)
        }
    }

    /// Backends that served before this launcher and that no generation has taken over get nothing more.
    ///
    /// To be called before their processes are ended, and when every generation that goes on was added; the first generation that is
    /// ready does the same.
    ///
    /// - Returns: when they have answered what they have, or it takes too long.
    func forgetInherited() async {
        let generations = self.state.withLock { Set($0.inherited.map(\.generation)) }
        self.change { Self.forgetInherited(&$0) }
        for generation in generations {
            _ = await self.gateway.waitUntilIdle(generation: generation, within: self.grace)
        }
    }

    private static func forgetInherited(_ state: inout State) {
        guard !state.inherited.isEmpty else { return }
        state.inherited = []
        if state.generations.count == 1 { state.shares = nil }
    }

    /// A generation is about to be stopped, and the port stays open.
    func retire(_ generation: Int) { self.change { $0.generations[generation]?.close() } }

    /// A generation is gone.
    func remove(_ generation: Int) {
        self.change { state in
            state.generations[generation] = nil
            state.shares?[generation] = nil
            // One that is alone gets everything, unless it is to get nothing yet.
            if state.generations.keys.allSatisfy({ state.shares?[$0] ?? 0 > 0 }) { state.shares = nil }
        }
    }

    /// Which part of the requests each generation gets.
    ///
    /// - Parameter shares: weights by generation; one that is missing gets nothing new.
    func setShares(_ shares: [Int: Int]) { self.change { $0.shares = shares } }

    /// Waits until a generation that gets nothing new has answered everything.
    ///
    /// - Returns: whether it has, within the limit.
    func waitUntilIdle(_ generation: Int, within limit: Duration) async -> Bool {
        await self.gateway.waitUntilIdle(generation: generation, within: limit)
    }

    /// What was counted of a generation.
    func figures(of generation: Int) async -> TrafficFigures { await self.gateway.figures(of: generation) }

    /// Whether a generation may go without being the last one.
    func setMigrating(_ isMigrating: Bool) { self.state.withLock { $0.isMigrating = isMigrating } }

    /// All of the deployment is about to be stopped.
    func prepareToClose() { self.state.withLock { $0.isClosing = true } }

    /// A generation is being stopped: it gets nothing more, and answers what it has; with the last one the port is closed.
    func close(_ generation: Int) async {
        let isLast = self.state.withLock { state in
            let isAlone = Array(state.generations.keys) == [generation]
            return state.isClosing
                || !state.isMigrating && isAlone && state.generations[generation]?.isClosed == false
        }
        guard !isLast else { return await self.gateway.drain(within: self.grace) }
        self.retire(generation)
        _ = await self.gateway.waitUntilIdle(generation: generation, within: self.grace)
    }

    func release(_ replica: String, of generation: Int) async {
        let backend = self.state.withLock { $0.generations[generation]?.frontends[replica] }
        guard let backend else { return }
        self.change { $0.generations[generation]?.release(replica) }
        _ = await self.gateway.waitUntilIdle(backend, within: self.grace)
    }

    /// Follows which frontends are ready.
    func observe(_ notice: SupervisorNotice, of generation: Int) {
        self.change { state in
            state.generations[generation]?.observe(notice)
            if case .ready = notice { Self.forgetInherited(&state) }
        }
        if case .ready = notice { self.becomeReady.yield() }
    }

    private func change(_ body: (inout State) -> Void) {
        self.state.withLock { state in
            let before = (state.backends, state.shares)
            body(&state)
            guard state.backends != before.0 || state.shares != before.1 else { return }
            // Inside the lock, so that two changes arrive in their order.
            self.gateway.setBackends(state.backends, shares: state.shares)
        }
    }

    /// For metrics.
    var status: GatewayStatus { get async { await self.gateway.status } }

    /// For `status`.
    var report: GatewayReport { get async { self.report(await self.gateway.status, await self.gateway.addresses) } }

    private func report(_ status: GatewayStatus, _ addresses: [String]) -> GatewayReport {
        let (ready, shares) = self.state.withLock { (Set($0.backends), $0.shares) }
        return GatewayReport(
            pid: self.gateway.processID,
            addresses: addresses,
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
                    isActive: ready.contains(backend.backend)
                        && shares.map { $0[backend.backend.generation] ?? 0 > 0 } ?? true,
                    isReady: ready.contains(backend.backend)
                )
            }
        )
    }
}
