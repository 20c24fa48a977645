import Deployment
import Discovery
import Logging
import RequestPlane
import Supervisor
import Synchronization

/// Takes the instances of workers that have ended out of discovery.
///
/// A worker that was killed cannot do that itself, and until its lease is over (10 s; 30 s on etcd with Dynamo 1.6) frontends send it
/// requests, which fail. Its model stays for as long as its lease: a frontend that has nobody else answers 503, and clients try again
/// (contract `discovery.md`, section 6).
final class DepartedInstances: Sendable {
    /// What is known of the workers; does no I/O itself.
    struct Ledger: Sendable {
        /// One run of a worker.
        struct Run: Sendable, Hashable {
            var replica: String
            var number: Int
        }

        private struct Worker: Sendable {
            var number: Int
            var instance: InstanceID?
            var hasEnded = false
            /// Somebody looks for its instance until that is known.
            var isSought = false
        }

        private var workers: [String: Worker] = [:]

        init() {}

        mutating func started(_ replica: String) {
            self.workers[replica] = Worker(number: (self.workers[replica]?.number ?? 0) + 1)
        }

        /// The run whose instance is to be looked for; nil when it is known, or when there is none.
        func unknown(_ replica: String) -> Run? {
            guard let worker = self.workers[replica], !worker.hasEnded, worker.instance == nil else { return nil }
            return Run(replica: replica, number: worker.number)
        }

        /// The same for whoever looks until it is known: once for each run.
        mutating func seek(_ replica: String) -> Run? {
            guard let run = self.unknown(replica), self.workers[replica]?.isSought == false else { return nil }
            self.workers[replica]?.isSought = true
            return run
        }

        /// A look has found the instance of a run.
        ///
        /// - Returns: it, if the run has ended meanwhile.
        mutating func found(_ instance: InstanceID, of run: Run) -> InstanceID? {
            guard let worker = self.workers[run.replica], worker.number == run.number else { return nil }
            self.workers[run.replica]?.instance = instance
            return worker.hasEnded ? self.departed(run.replica) : nil
        }

        /// A worker's process is gone.
        ///
        /// - Returns: the instance that it was, if that is known and nobody else is it.
        mutating func ended(_ replica: String) -> InstanceID? {
            guard self.workers[replica]?.hasEnded == false else { return nil }
            self.workers[replica]?.hasEnded = true
            return self.departed(replica)
        }

        private func departed(_ replica: String) -> InstanceID? {
            guard let instance = self.workers[replica]?.instance,
                !self.workers.contains(where: { !$0.value.hasEnded && $0.value.instance == instance })
            else { return nil }
            return instance
        }
    }

    private enum Event: Sendable {
        /// With patience: again and again, until it is known or the run has ended.
        case look(Ledger.Run, isPatient: Bool)
        case ended(replica: String, InstanceID)
    }

    /// Longer than the longest lease; and what a process has left behind may serve for a while.
    private static let patience = Duration.seconds(60)
    private static let pause = Duration.milliseconds(500)
    /// Between looks for an instance that was not found within the patience: some workers never say it.
    private static let latePause = Duration.seconds(10)

    private let current: @Sendable () -> Plan
    /// Nil when others cannot see what is in discovery.
    private let client: (any DiscoveryClient)?
    private let logger: Logger
    private let say: @Sendable (String) -> Void
    private let ledger = Mutex(Ledger())
    private let events: AsyncStream<Event>
    private let sender: AsyncStream<Event>.Continuation

    /// - Parameters:
    ///   - current: the plan as it runs at the moment.
    ///   - logger: where problems go.
    ///   - say: gets the lines about what was done.
    init(
        current: @escaping @Sendable () -> Plan,
        logger: Logger,
        say: @escaping @Sendable (String) -> Void
    ) {
        self.current = current
        self.client = RegistrationCheck(plan: current(), logger: logger).client
        self.logger = logger
        self.say = say
        (self.events, self.sender) = AsyncStream.makeStream(of: Event.self)
        if self.client == nil { self.sender.finish() }
    }

    // MARK: What happens

    /// Takes note; does not block.
    func observe(_ notice: SupervisorNotice) {
        switch notice {
        case .started(let replica, _): self.ledger.withLock { $0.started(replica) }
        case .adopted(let replica, _, _):
            self.ledger.withLock { $0.started(replica) }
            self.look(for: replica, isPatient: true)
        case .layerReached(let replica, _, _): self.look(for: replica, isPatient: false)
        case .replicaState(let replica, .ready, _): self.look(for: replica, isPatient: true)
        case .ended(let replica):
            guard let instance = self.ledger.withLock({ $0.ended(replica) }) else { return }
            self.sender.yield(.ended(replica: replica, instance))
        // Frontends end, too.
        case .stopping: self.sender.finish()
        default: break
        }
    }

    private func look(for replica: String, isPatient: Bool) {
        guard let run = self.ledger.withLock({ isPatient ? $0.seek(replica) : $0.unknown(replica) }) else { return }
        self.sender.yield(.look(run, isPatient: isPatient))
    }

    // MARK: Running

    /// Does it until the deployment is being stopped, or until cancelled.
    func run() async {
        guard let client = self.client else { return }
        await withDiscardingTaskGroup { group in
            for await event in self.events {
                group.addTask {
                    switch event {
                    case .look(let run, let isPatient): await self.look(for: run, isPatient: isPatient, client)
                    case .ended(let replica, let instance): await self.depart(instance, of: replica, client)
                    }
                }
            }
            group.cancelAll()
        }
    }

    private func look(for run: Ledger.Run, isPatient: Bool, _ client: any DiscoveryClient) async {
        guard let port = self.systemPort(of: run.replica) else { return }
        let late = ContinuousClock.now + Self.patience
        repeat {
            if let instance = await RegistrationCheck.instance(systemPort: port) {
                let departed = self.ledger.withLock { $0.found(instance, of: run) }
                if let departed { await self.depart(departed, of: run.replica, client) }
                return
            }
            guard isPatient else { return }
            try? await Task.sleep(for: ContinuousClock.now < late ? Self.pause : Self.latePause)
        } while !Task.isCancelled && self.ledger.withLock { $0.unknown(run.replica) } == run
    }

    /// Where a worker names its instance; nil for others, whose servers may speak of the workers that they know.
    private func systemPort(of name: String) -> Int? {
        let replica = self.current().replicas.first { $0.name == name && $0.role == .worker }
        return replica?.ports.first { $0.name == "system" }?.port
    }

    /// Removes an instance as soon as nothing serves as it any more: what has ended may have left a descendant.
    private func depart(_ instance: InstanceID, of replica: String, _ client: any DiscoveryClient) async {
        let port = self.systemPort(of: replica)
        let deadline = ContinuousClock.now + Self.patience
        var failure: DiscoveryError?
        while !Task.isCancelled, ContinuousClock.now < deadline {
            var server: InstanceID?
            if let port { server = await RegistrationCheck.instance(systemPort: port) }
            if server != instance {
                do throws(DiscoveryError) { return try await self.remove(instance, of: replica, client) } catch {
                    failure = error
                }
            }
            try? await Task.sleep(for: Self.pause)
        }
        guard let failure, !Task.isCancelled else { return }
        self.logger.warning(
            "instance \(instance) of \(replica), which has ended, could not be taken out of discovery and stays until its lease is over: \(failure)"
        )
    }

    private func remove(
        _ instance: InstanceID,
        of replica: String,
        _ client: any DiscoveryClient
    ) async throws(DiscoveryError) {
        let records = try await client.snapshot(.exact(self.current().namespace)).instances
        let departed = records.filter { $0.instance.id == instance }
        guard !departed.isEmpty else { return }
        try await client.remove(departed)
        self.say("\(replica): instance \(instance) of its last run was taken out of discovery")
    }
}
