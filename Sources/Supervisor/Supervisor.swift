package import Deployment
internal import FoundationEssentials
internal import Glibc
package import Logging
internal import NIOPosix
internal import Synchronization

/// Makes this machine match a plan: starts its replicas in order, proves that they serve, keeps them serving, and ends them.
package final class Supervisor: Sendable {
    /// Compares what registered in discovery with the plan; each text names a process and what is wrong with it.
    package typealias Verification = @Sendable (VerificationStage) async -> [String]

    /// The plan of the manifest as it is now.
    package typealias Replan = @Sendable () async throws(ReplanFailure) -> Plan

    /// When discovery is compared with the plan.
    package enum VerificationStage: Sendable, Hashable {
        /// All but frontends are ready: what is there must not contradict the plan; it need not be complete.
        case workersReady
        case everythingReady
    }

    /// As it is at the start.
    private let plan: Plan
    private let options: SupervisorOptions
    private let requestPlaneProbe: RequestPlaneProbe
    private let verification: Verification?
    private let logs: LogSink
    private let notices: @Sendable (SupervisorNotice) -> Void
    /// Gets every notice at once, also when the receiver of the notices is held up; must not block.
    private let observer: @Sendable (SupervisorNotice) -> Void
    /// What is known of the KV events that are relayed for each replica, by its name.
    private let relays: @Sendable () -> [String: KVRelayStatus]
    /// Nil when a frontend has the public port.
    private let publicPort: (any PublicPortControl)?
    /// What the launcher says about itself in the text format of Prometheus.
    private let metrics: @Sendable (DeploymentStatus) -> String
    private let heartbeat: Heartbeat?
    /// Reads the manifest again.
    private let replan: Replan?
    private let logger: Logger
    private let events: AsyncStream<SupervisorEvent>
    private let sender: AsyncStream<SupervisorEvent>.Continuation

    package init(
        plan: Plan,
        options: SupervisorOptions = SupervisorOptions(),
        requestPlaneProbe: @escaping RequestPlaneProbe,
        onReady verification: Verification? = nil,
        logs: @escaping LogSink,
        notices: @escaping @Sendable (SupervisorNotice) -> Void,
        observer: @escaping @Sendable (SupervisorNotice) -> Void = { _ in },
        relays: @escaping @Sendable () -> [String: KVRelayStatus] = { [:] },
        publicPort: (any PublicPortControl)? = nil,
        metrics: @escaping @Sendable (DeploymentStatus) -> String = { _ in "" },
        heartbeat: Heartbeat? = nil,
        replan: Replan? = nil,
        logger: Logger
    ) {
        self.plan = plan
        self.options = options
        self.requestPlaneProbe = requestPlaneProbe
        self.verification = verification
        self.logs = logs
        self.notices = notices
        self.observer = observer
        self.relays = relays
        self.publicPort = publicPort
        self.metrics = metrics
        self.heartbeat = heartbeat
        self.replan = replan
        self.logger = logger
        (self.events, self.sender) = AsyncStream.makeStream(of: SupervisorEvent.self)
    }

    /// Asks for the end: everything is stopped in reverse order, or, with `now` or when asked again with it, killed at once.
    package func requestStop(now: Bool) {
        self.sender.yield(.stop(now: now))
    }

    /// The launcher's metrics at the moment; nil when the deployment has ended.
    package func metricsText() async -> String? {
        await StatusQuery.ask(self.sender, .now, limit: nil).map(self.metrics)
    }

    /// Makes the deployment match its manifest as it is now.
    ///
    /// - Returns: what is changed, and how it goes on; without that there was nothing to change.
    /// - Throws: `RolloutRefusal` when nothing is changed, with the reason.
    package func apply() async throws(RolloutRefusal) -> (PlanChange, AsyncStream<RolloutProgress>?) {
        try await Self.apply(self.replan, isDryRun: false, self.sender)
    }

    static func apply(
        _ replan: Replan?,
        isDryRun: Bool,
        _ sender: AsyncStream<SupervisorEvent>.Continuation
    ) async throws(RolloutRefusal) -> (PlanChange, AsyncStream<RolloutProgress>?) {
        guard let replan else {
            throw RolloutRefusal(
                cause: .conflict,
                description: "this deployment has no manifest that could be read again"
            )
        }
        let plan: Plan
        do throws(ReplanFailure) { plan = try await replan() } catch {
            throw RolloutRefusal(cause: .badManifest, description: "\(error.description)\nnothing was changed")
        }
        let answer = await withCheckedContinuation { continuation in
            let request = ApplyRequest(plan: plan, isDryRun: isDryRun) { continuation.resume(returning: $0) }
            if case .terminated = sender.yield(.apply(request)) {
                continuation.resume(returning: .failure(.stopping))
            }
        }
        return try answer.get()
    }

    /// Runs the deployment; returns when nothing of it is left.
    ///
    /// To be called once.
    package func run() async -> SupervisorOutcome {
        let outcome = await self.runUnanswered()
        // Whoever asked before there was a loop, or after it, is answered.
        self.sender.finish()
        for await event in self.events {
            switch event {
            case .restart(let request): request.reply(.failure(.stopping))
            case .apply(let request): request.reply(.failure(.stopping))
            case .status(let query): query.reply(nil)
            default: break
            }
        }
        return outcome
    }

    private func runUnanswered() async -> SupervisorOutcome {
        do {
            try DirectoryMaker.make(self.plan.directories.runtime)
            let lock = try await DeploymentLock.acquire(
                directory: self.plan.directories.runtime,
                deployment: self.plan.deployment
            )
            try DirectoryMaker.make(self.plan.directories.logs)
            self.removeStaleRecords()
            let probes = ProbeRunner(namespace: self.plan.namespace, requestPlane: self.requestPlaneProbe)
            if let message = await ExternalServiceCheck(services: self.plan.externalServices, probes: probes).failure()
            {
                self.notices(.failed(message))
                lock.release()
                return SupervisorOutcome(exitCode: 1, reason: .failed, failure: .init(message: message))
            }
            let keeper = try Keeper(lock: lock.descriptor)
            return await self.run(with: keeper, lock: lock)
        } catch {
            let failure = SupervisorOutcome.Failure(message: "\(error)")
            self.notices(.failed(failure.message))
            return SupervisorOutcome(exitCode: 1, reason: .failed, failure: failure)
        }
    }

    /// Records of an earlier run would show frontends workers that are gone.
    ///
    /// Only the deployment's own folder is emptied, and only while its lock is held; one that the manifest names belongs to others.
    private func removeStaleRecords() {
        guard case .file(let directory) = self.plan.discovery, directory == self.plan.directories.discovery else {
            return
        }
        try? FileManager.default.removeItem(atPath: directory)
    }

    private func run(with keeper: Keeper, lock: consuming DeploymentLock) async -> SupervisorOutcome {
        Self.raiseDescriptorLimit()
        let sender = self.sender
        let replicas = self.plan.replicas.map {
            LogPump.Replica(process: $0.process, name: $0.name, logFile: self.plan.logFile(of: $0))
        }
        let pump = LogPump(replicas: replicas, sink: self.logs) { sender.yield(.log($0)) }
        // Two threads that block for as long as the deployment runs, and one for short looks at files.
        let threads = NIOThreadPool(numberOfThreads: 3)
        threads.start()
        let shared = SharedPlan(self.plan)
        let control = ControlServer(
            plan: shared,
            replan: self.replan,
            pump: pump,
            threads: threads,
            sender: sender,
            metrics: self.metrics,
            logger: self.logger
        )
        // Said by a task of their own, so that a terminal that is held up does not hold up the loop.
        let (spoken, speaker) = AsyncStream.makeStream(of: SupervisorNotice.self)
        let outcome = await withDiscardingTaskGroup { group in
            group.addTask {
                for await notice in spoken { self.notices(notice) }
            }
            group.addTask {
                let end = try? await threads.runIfActive {
                    keeper.receive { sender.yield(.keeper($0)) }
                }
                sender.yield(.keeperEnded(end ?? "gone"))
            }
            group.addTask { try? await threads.runIfActive { pump.run() } }
            // Nobody is told that it is ready before commands are answered.
            let (served, serving) = AsyncStream.makeStream(of: Void.self)
            if self.options.serveControl {
                group.addTask {
                    let trouble = await control.run { serving.finish() }
                    serving.finish()
                    if let trouble { sender.yield(.warning(trouble)) }
                }
                for await _ in served {}
            }
            let loop = SupervisorLoop(
                plan: self.plan,
                shared: shared,
                options: self.options,
                keeper: keeper,
                pump: pump,
                threads: threads,
                probes: ProbeRunner(namespace: self.plan.namespace, requestPlane: self.requestPlaneProbe),
                verification: self.verification,
                notices: {
                    self.observer($0)
                    speaker.yield($0)
                },
                relays: self.relays,
                publicPort: self.publicPort,
                heartbeat: self.heartbeat,
                sender: sender
            )
            // Probes and the like are no longer of interest when the loop has ended.
            let outcome = await withDiscardingTaskGroup { questions in
                let outcome = await loop.run(self.events, in: &questions)
                questions.cancelAll()
                return outcome
            }
            await control.shutDown()
            keeper.finish()
            pump.send(.stop)
            speaker.finish()
            return outcome
        }
        try? await threads.shutdownGracefully()
        lock.release()
        return outcome
    }

    /// Each replica needs two descriptors here.
    ///
    /// What is started keeps the original limit: the keeper was forked before.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = max(limit.rlim_cur, min(limit.rlim_max, 65536))
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
