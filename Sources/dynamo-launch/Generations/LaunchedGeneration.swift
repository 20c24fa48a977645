import Deployment
import Logging
import Rollout
import Supervisor
import Synchronization

/// One generation that the launcher runs: its supervisor, its KV relays, who leaves discovery, and what it says.
final class LaunchedGeneration: Sendable {
    /// What all generations of the deployment share.
    struct Surroundings: Sendable {
        let output: ForegroundOutput
        let port: PublicPort?
        let service: ServiceProgress
        let options: SupervisorOptions
        /// The plan of a generation's manifest as it is now, or as it was with other numbers of replicas.
        let replan: @Sendable (_ generation: Int, _ counts: [String: Int]) async throws(ReplanFailure) -> Plan
        /// The same with other ports in the place of some.
        let renewPorts: @Sendable (_ generation: Int, _ ports: [PortRenewal]) async throws(ReplanFailure) -> Plan
        /// Further descriptors of the leases of a generation, which are the caller's.
        let leases: @Sendable (_ generation: Int) -> [Int32]
        /// Gets what happens to each generation, at once.
        let observe: @Sendable (SupervisorNotice, _ generation: Int) -> Void
        /// Whether what happens to a generation is what happens to the deployment.
        let isActive: @Sendable (_ generation: Int) -> Bool
        /// Whether the end of a generation is the deployment's: no migration can put another one in its place.
        let isEnd: @Sendable (_ generation: Int) -> Bool
    }

    let plan: Plan
    let supervisor: Supervisor
    let life: GenerationLife
    private let relays: KVRelays
    private let departures: DepartedInstances
    private let output: ForegroundOutput

    /// - Parameters:
    ///   - plan: what runs.
    ///   - surroundings: what all generations share.
    ///   - orphans: the processes that run already.
    init(_ plan: Plan, _ surroundings: Surroundings, adopting orphans: Orphans? = nil) {
        let number = plan.generation
        let output = number == surroundings.output.generation ? surroundings.output : surroundings.output.of(plan)
        let logger = Logger(label: ForegroundOutput.name) { _ in LauncherLogHandler(output: output) }
        let current = CurrentPlan(plan)
        let relays = KVRelays(
            plan: plan,
            makeLogger: { replica in
                Logger(label: ForegroundOutput.name) { _ in LauncherLogHandler(output: output, subject: replica) }
            },
            say: { output.say($0) }
        )
        let departures = DepartedInstances(current: { current.plan }, logger: logger, say: { output.say($0) })
        let progress = LaunchProgress(output: output)
        let life = GenerationLife()
        let (port, service) = (surroundings.port, surroundings.service)
        self.supervisor = Supervisor(
            plan: plan,
            options: surroundings.options,
            requestPlaneProbe: PlaneProbe(plan: plan, logger: logger).probe,
            onReady: { stage in
                if case .workerStarted(let worker) = stage {
                    return await WorkerSighting(plan: current.plan, worker: worker, logger: logger).wait()
                }
                let mismatches = await RegistrationCheck(plan: current.plan, logger: logger).mismatches(at: stage)
                return mismatches.isEmpty ? await port?.troubles(at: stage, of: number) ?? [] : mismatches
            },
            logs: { output.show($0) },
            notices: { notice in
                // Nobody has to be told how to stop one that the deployment goes on without.
                if case .stopping = notice, life.isRetiring || !surroundings.isActive(number) {
                    return output.say("generation \(number): stopping")
                }
                progress.show(notice)
            },
            observer: { notice in
                current.observe(notice)
                output.observe(notice)
                relays.observe(notice)
                departures.observe(notice)
                port?.observe(notice, of: number)
                life.observe(notice)
                surroundings.observe(notice, number)
                // One that a migration stops on purpose says nothing about the deployment.
                guard surroundings.isActive(number), !life.isRetiring else { return }
                switch notice {
                case .failed, .stopping: if surroundings.isEnd(number) { service.observe(notice) }
                default: service.observe(notice)
                }
            },
            relays: { relays.statuses },
            publicPort: port.map { GenerationPort(port: $0, generation: number) },
            heartbeat: service.heartbeat,
            replan: { counts throws(ReplanFailure) in try await surroundings.replan(number, counts) },
            renewPorts: { ports throws(ReplanFailure) in try await surroundings.renewPorts(number, ports) },
            leases: { surroundings.leases(number) },
            orphans: orphans,
            logger: logger
        )
        self.plan = plan
        self.life = life
        self.relays = relays
        self.departures = departures
        self.output = output
    }

    /// Runs it; returns when nothing of it is left.
    ///
    /// Whoever calls it tells ``life`` so.
    func run(in host: DeploymentHost) async -> SupervisorOutcome {
        await withTaskGroup(of: SupervisorOutcome?.self) { group in
            group.addTask { await self.supervisor.run(in: host) }
            group.addTask {
                await self.relays.run()
                return nil
            }
            group.addTask {
                await self.departures.run()
                return nil
            }
            while let next = await group.next() {
                guard let outcome = next else { continue }
                group.cancelAll()
                return outcome
            }
            return SupervisorOutcome(exitCode: 1, reason: .failed)
        }
    }

    /// Waits until the journal has what it said; only for one whose output is its own.
    func finishOutput(unless shared: ForegroundOutput) async {
        if self.output.generation != shared.generation { await self.output.finish() }
    }
}

/// The plan as it runs: with the replicas that were added or planned anew since the start.
final class CurrentPlan: Sendable {
    private let state: Mutex<Plan>

    init(_ plan: Plan) { self.state = Mutex(plan) }

    var plan: Plan { self.state.withLock { $0 } }

    func observe(_ notice: SupervisorNotice) {
        switch notice {
        case .planChanged(var plan, _):
            self.state.withLock { current in
                // What is changed goes on as it is until it is started anew.
                for index in plan.replicas.indices {
                    let name = plan.replicas[index].name
                    plan.replicas[index] = current.replicas.first { $0.name == name } ?? plan.replicas[index]
                }
                current = plan
            }
        case .replicaPlanned(let replica):
            self.state.withLock { plan in
                guard let index = plan.replicas.firstIndex(where: { $0.name == replica.name }) else { return }
                plan.replicas[index] = replica
            }
        default: break
        }
    }
}

/// Follows the notices: shows them, and remembers the times for the summary.
private final class LaunchProgress: Sendable {
    private let output: ForegroundOutput
    private let reached: Mutex<[String: [LayerReached]]> = Mutex([:])

    init(output: ForegroundOutput) { self.output = output }

    func show(_ notice: SupervisorNotice) {
        let reached = self.reached.withLock { reached in
            switch notice {
            case .started(let replica, _), .adopted(let replica, _, _): reached[replica] = []
            case .layerReached(let replica, let layer, let seconds):
                reached[replica, default: []].append(LayerReached(layer: layer, seconds: seconds))
            default: break
            }
            return reached
        }
        self.output.show(notice, reached: reached)
    }
}
