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

    /// The plan of the manifest as it is now, or, with numbers of replicas for processes, of the one that runs with these.
    package typealias Replan = @Sendable (_ counts: [String: Int]) async throws(ReplanFailure) -> Plan

    /// The plan that runs, with other ports in the place of some that are taken.
    package typealias RenewPorts = @Sendable ([PortRenewal]) async throws(ReplanFailure) -> Plan

    /// Sockets whose names are the leases of what runs: further descriptors of them, which are the caller's.
    package typealias Leases = @Sendable () -> [Int32]

    /// When discovery is compared with the plan.
    package enum VerificationStage: Sendable, Hashable {
        /// All but frontends are ready: what is there must not contradict the plan; it need not be complete.
        case workersReady
        case everythingReady
        /// A worker was started while the deployment serves, and is ready: waits until those that send requests know it.
        case workerStarted(ReplicaPlan)
    }

    /// As it is at the start.
    package let plan: Plan
    /// As it is at the moment.
    let shared: SharedPlan
    let pump: LogPump
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
    let publicPort: (any PublicPortControl)?
    /// What the launcher says about itself in the text format of Prometheus.
    let metrics: @Sendable (DeploymentStatus) async -> String
    private let heartbeat: Heartbeat?
    /// Reads the manifest again.
    let replan: Replan?
    private let renewPorts: RenewPorts?
    private let leases: Leases
    private let migrations: (any MigrationControl)?
    /// What went on without a launcher, and is to go on under this one.
    private let orphans: Orphans?
    private let logger: Logger
    private let events: AsyncStream<SupervisorEvent>
    let sender: AsyncStream<SupervisorEvent>.Continuation

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
        metrics: @escaping @Sendable (DeploymentStatus) async -> String = { _ in "" },
        heartbeat: Heartbeat? = nil,
        replan: Replan? = nil,
        renewPorts: RenewPorts? = nil,
        leases: @escaping Leases = { [] },
        migrations: (any MigrationControl)? = nil,
        orphans: Orphans? = nil,
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
        self.renewPorts = renewPorts
        self.leases = leases
        self.migrations = migrations
        self.orphans = orphans
        self.logger = logger
        let (events, sender) = AsyncStream.makeStream(of: SupervisorEvent.self)
        (self.events, self.sender) = (events, sender)
        self.shared = SharedPlan(plan)
        let replicas = plan.replicas.map {
            LogPump.Replica(process: $0.process, name: $0.name, logFile: plan.logFile(of: $0))
        }
        self.pump = LogPump(replicas: replicas, sink: logs) { sender.yield(.log($0)) }
    }

    /// Asks for the end: everything is stopped in reverse order, or, with `now` or when asked again with it, killed at once.
    package func requestStop(now: Bool) {
        self.sender.yield(.stop(now: now))
    }

    /// Another generation takes the place of this one: it is stopped, and has ended when it has given back what it held of the machine.
    package func retire() {
        self.shared.retire()
        self.requestStop(now: false)
    }

    /// Runs the deployment as its only generation, with its lock and its control socket; returns when nothing of it is left.
    ///
    /// To be called once, and not together with ``run(in:)``.
    package func run() async -> SupervisorOutcome {
        do throws(DeploymentHost.Unavailable) {
            let host = try await DeploymentHost.open(self.plan.directories, deployment: self.plan.deployment)
            defer { host.close() }
            host.setCurrent(self)
            return await host.serving(
                migrations: self.migrations,
                metrics: self.metrics,
                logger: self.logger,
                warn: { self.sender.yield(.warning($0)) },
                { await self.run(in: host) }
            )
        } catch {
            self.notices(.failed(error.description))
            return await self.ended(SupervisorOutcome(failedBecause: error.description))
        }
    }

    /// Runs one generation of a deployment; returns when nothing of it is left.
    ///
    /// To be called once.
    ///
    /// - Parameter host: the deployment's.
    /// - Returns: how it ended.
    package func run(in host: DeploymentHost) async -> SupervisorOutcome {
        do {
            try DirectoryMaker.make(self.plan.directories.runtime)
            try DirectoryMaker.make(self.plan.directories.logs)
            let door = "\(self.plan.directories.runtime)/\(KeeperVisit.name)"
            // Last, and not before the preflights: what is not taken over yet is looked after by the keeper.
            let adopted = try self.orphans?.take()
            defer { unlink(door) }
            if let (keeper, runs) = adopted {
                return await self.ended(await self.run(with: keeper, adopting: runs))
            }
            self.removeStaleRecords()
            if let message = await Self.externalTrouble(self.plan, self.requestPlaneProbe) {
                self.notices(.failed(message))
                return await self.ended(SupervisorOutcome(failedBecause: message))
            }
            let keeper = try Keeper(
                lock: host.lock.descriptor,
                door: self.plan.survive ? door : nil,
                softLimit: Self.originalLimit
            )
            return await self.ended(await self.run(with: keeper, adopting: []))
        } catch {
            self.notices(.failed("\(error)"))
            return await self.ended(SupervisorOutcome(failedBecause: "\(error)"))
        }
    }

    /// Whoever asked before there was a loop, or after it, is answered.
    private func ended(_ outcome: SupervisorOutcome) async -> SupervisorOutcome {
        self.sender.finish()
        for await event in self.events {
            switch event {
            case .order(let request): request.reply(.failure(.stopping))
            case .signal(let request): request.reply(.failure(.stopping))
            case .apply(let request): request.reply(.failure(.stopping))
            case .status(let query): query.reply(nil)
            default: break
            }
        }
        return outcome
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

    private func run(with keeper: Keeper, adopting runs: [Orphans.Run]) async -> SupervisorOutcome {
        Self.raiseDescriptorLimit()
        let (sender, pump) = (self.sender, self.pump)
        // Two threads that block for as long as the deployment runs, and one for short looks at files.
        let threads = NIOThreadPool(numberOfThreads: 3)
        threads.start()
        // Said by a task of their own, so that a terminal that is held up does not hold up the loop.
        let (spoken, speaker) = AsyncStream.makeStream(of: SupervisorNotice.self)
        var groups: ControlGroups?
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
            let loop = SupervisorLoop(
                plan: self.plan,
                shared: self.shared,
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
                renewPorts: self.renewPorts,
                leases: self.leases,
                sender: sender
            )
            // Probes and the like are no longer of interest when the loop has ended.
            let outcome = await withDiscardingTaskGroup { questions in
                let outcome = await loop.run(self.events, adopting: runs, in: &questions)
                questions.cancelAll()
                return outcome
            }
            groups = loop.groups
            keeper.finish()
            pump.send(.stop)
            speaker.finish()
            return outcome
        }
        groups?.remove(SupervisorLoop.groupPrefix(of: self.plan))
        try? await threads.shutdownGracefully()
        return outcome
    }

    /// The limit of open files that what is started gets: the launcher's own, before it raised it.
    private static let originalLimit: UInt64 = {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 0 }
        return UInt64(limit.rlim_cur)
    }()

    /// Another program that takes this one's place gets the limit that there was.
    package static func restoreDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = min(limit.rlim_max, rlim_t(self.originalLimit))
        if limit.rlim_cur > 0 { setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) }
    }

    /// Each replica needs two descriptors here, and each port that is leased for it one.
    ///
    /// To be called before ports are leased; what is started gets the limit that there was.
    package static func raiseDescriptorLimit() {
        _ = self.originalLimit
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = max(limit.rlim_cur, min(limit.rlim_max, 65536))
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
