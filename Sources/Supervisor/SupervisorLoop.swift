internal import CProcess
internal import Deployment
internal import Glibc
internal import NIOCore
internal import NIOPosix

/// The one loop: takes events, hands them to the deployment's machine, and performs the actions that come back.
final class SupervisorLoop {
    /// What a deadline is for.
    enum Timer: Hashable, Sendable {
        case replica(Int, ReplicaMachine.Timer)
        case cleanup
        case probes
        case exec(UInt64)
        case verification
        case watch
        case query(Int)
        case heartbeat
        case trim
        case services
    }

    /// What a program that the keeper was asked for belongs to.
    enum Launch: Sendable {
        case replica(Int, run: Int)
        case exec(ExecProbe)
    }

    /// What runs; what was removed is still in it.
    var plan: Plan { self.machine.plan }
    let shared: SharedPlan
    let options: SupervisorOptions
    let keeper: Keeper
    let pump: LogPump
    let threads: NIOThreadPool
    let probes: ProbeRunner
    let verification: Supervisor.Verification?
    /// Known once everything is ready.
    var servingModel: String?
    let notices: @Sendable (SupervisorNotice) -> Void
    let relays: @Sendable () -> [String: KVRelayStatus]
    let publicPort: (any PublicPortControl)?
    let heartbeat: Heartbeat?
    let renewPorts: Supervisor.RenewPorts?
    let leases: Supervisor.Leases
    let sender: AsyncStream<SupervisorEvent>.Continuation
    let clock = ContinuousClock()
    let startedAt = ContinuousClock.now

    var machine: DeploymentMachine
    var timers = TimerQueue<Timer>()
    private var scheduled: (deadline: ContinuousClock.Instant, task: Scheduled<Void>)?
    private let eventLoop = MultiThreadedEventLoopGroup.singleton.next()

    var launches: [UInt64: Launch] = [:]
    var lastLaunch: UInt64 = 0
    /// The keeper's number for the process of each replica's run.
    var launchOfReplica: [Int: UInt64] = [:]
    var pids: [UInt64: Int32] = [:]
    /// The output of processes that were asked for: read once their numbers are known, so that no line lacks its process's.
    var outputs: [UInt64: LogPump.Run] = [:]
    /// The replica of each leader there was, for processes that stay in its session.
    var sessions: [Int32: Int] = [:]
    /// The number of each replica's last process, which the keeper remembers for the next launcher.
    var keptLaunches: [Int: UInt64] = [:]
    /// What the keeper was told last of each.
    var notes: [Int: KeptNote] = [:]
    /// What the launcher listens on for replicas.
    var held = HeldSockets()
    /// Made for the first replica with a memory limit.
    var groups: ControlGroups?
    var isKeeperLost = false
    /// Exits that are said once the output of the run was read to the end.
    var exits: [Int: ProcessExit] = [:]
    /// How many lines a replica had written before its run.
    var linesBefore: [Int: Int] = [:]
    /// Whose ports are being looked for, first, and who waits for that.
    var renewals: [Renewal] = []
    /// The processes of each replica that has GPUs, of its run, with their start times.
    var gpuProcesses: [Int: [Int32: UInt64]] = [:]
    /// The runs that have ended and may still hold memory of GPUs.
    var memoryWaits: [Int: Int] = [:]

    var cleanup = TreeCleanup()
    /// Replicas whose leader ended after the last look at /proc began.
    var cleanupQueue: [(replica: Int, run: Int, grace: Duration)] = []
    var isLookingForStrays = false
    /// What replicas left behind and could not be killed; it may go later.
    var survivors: [(replica: String, stray: Stray)] = []

    var probesUnderWay = 0
    /// Many replicas that start together are asked less often each, so that asking does not slow their start down.
    var probeRate = RateLimit(perSecond: 400, burst: 64)
    var probeQueue: [(replica: Int, run: Int, index: Int)] = []
    var portsCheckedAt: ContinuousClock.Instant?
    /// Whether the servers outside the deployment are being asked.
    var isAskingServices = false

    var warnings: [String] = []
    var logTroubles: [Int: String] = [:]
    var queries: [Int: StatusQuery] = [:]
    var lastQuery = 0
    /// Whether the rollout that is under way is one to another plan.
    var isApplying = false
    /// How many replicas have a log.
    var introduced: Int
    /// Who watches the rollout that is under way.
    var rolloutWatcher: AsyncStream<RolloutProgress>.Continuation? {
        didSet { self.shared.set(isChanging: self.rolloutWatcher != nil) }
    }
    var outcome: SupervisorOutcome?

    init(
        plan: Plan,
        shared: SharedPlan,
        options: SupervisorOptions,
        keeper: Keeper,
        pump: LogPump,
        threads: NIOThreadPool,
        probes: ProbeRunner,
        verification: Supervisor.Verification?,
        notices: @escaping @Sendable (SupervisorNotice) -> Void,
        relays: @escaping @Sendable () -> [String: KVRelayStatus],
        publicPort: (any PublicPortControl)?,
        heartbeat: Heartbeat?,
        renewPorts: Supervisor.RenewPorts?,
        leases: @escaping Supervisor.Leases,
        sender: AsyncStream<SupervisorEvent>.Continuation
    ) {
        self.shared = shared
        self.introduced = plan.replicas.count
        self.options = options
        self.keeper = keeper
        self.pump = pump
        self.threads = threads
        self.probes = probes
        self.verification = verification
        self.notices = notices
        self.relays = relays
        self.publicPort = publicPort
        self.heartbeat = heartbeat
        self.renewPorts = renewPorts
        self.leases = leases
        self.sender = sender
        self.machine = DeploymentMachine(
            plan: plan,
            exitOnFirst: options.exitOnFirst,
            seed: UInt64.random(in: .min ... .max)
        )
        self.machine.confirmsWorkers = verification != nil
        self.machine.steadyTime = .seconds(2)
    }

    /// Runs until nothing of the deployment is left.
    ///
    /// - Parameters:
    ///   - events: what happens.
    ///   - adopted: the processes that an earlier launcher has started.
    ///   - group: for what takes time.
    /// - Returns: how it ended.
    func run(
        _ events: AsyncStream<SupervisorEvent>,
        adopting adopted: [Orphans.Run],
        in group: inout DiscardingTaskGroup
    ) async -> SupervisorOutcome {
        self.beat()
        self.armServices()
        self.keepPlan()
        let running = Set(adopted.map(\.kept.replica.name))
        let taken = self.takenPorts(of: self.plan.replicas.filter { !running.contains($0.name) })
        // Who is in the way of those that are started now is looked for again when each of them is.
        if taken.isEmpty { self.portsCheckedAt = self.clock.now }
        if adopted.isEmpty {
            // Who can get other ports gets them when it is started.
            let goesOn = taken.isEmpty || self.canRenew(taken)
            self.feed(goesOn ? .begin : .portsTaken(taken.map(\.words)), in: &group)
        } else {
            // Who is in the way of the others does not end those that serve: each says it when it is started.
            self.begin(with: adopted, in: &group)
            self.askServices(in: &group)
        }
        self.schedule()
        if self.outcome == nil {
            for await event in events {
                self.handle(event, in: &group)
                self.schedule()
                if self.outcome != nil { break }
            }
        }
        self.scheduled?.task.cancel()
        self.held.keep([])
        await self.nameLeftovers()
        await self.completeSurvivors()
        let outcome = self.outcome ?? SupervisorOutcome(exitCode: 1, reason: .requested)
        self.answerQueries()
        self.sender.finish()
        // Questions that came while the last event was handled.
        for await event in events {
            switch event {
            case .status(let query): query.reply(self.status())
            case .order(let request): request.reply(.failure(.stopping))
            case .signal(let request): request.reply(.failure(.stopping))
            case .apply(let request): request.reply(.failure(.stopping))
            default: break
            }
        }
        return outcome
    }

    private func handle(_ event: SupervisorEvent, in group: inout DiscardingTaskGroup) {
        switch event {
        case .keeper(let report):
            self.keeperReported(report, in: &group)
        case .keeperEnded(let reason):
            self.keeperEnded(reason, in: &group)
        case .log(let event):
            self.logReported(event, in: &group)
        case .probeFinished(let replica, let run, let index, let outcome):
            self.probesUnderWay -= 1
            self.feed(.probeFinished(replica: replica, run: run, index: index, outcome), in: &group)
            self.startProbes(in: &group)
        case .wake:
            self.scheduled = nil
            for timer in self.timers.due(at: self.clock.now) { self.fired(timer, in: &group) }
        case .strays(let strays):
            self.strayFound(strays, in: &group)
        case .abandonedKilled(let survivors):
            self.abandonedKilled(survivors, in: &group)
        case .processesSeen(let index, let leader, let processes):
            self.processesSeen(of: index, leader: leader, processes)
        case .memorySeen(let index, let run, let users):
            self.memorySeen(index, run: run, users, in: &group)
        case .portsRenewed(let index, let run, let taken, let result):
            self.portsRenewed(index, run: run, taken, result, in: &group)
        case .contradictionsFound(let contradictions):
            self.feed(.contradictionsFound(contradictions), in: &group)
        case .verified(let mismatches, let model):
            self.timers.cancel(.verification)
            self.servingModel = model
            self.feed(.verified(mismatches), in: &group)
        case .modelSeen(let model):
            self.servingModel = model ?? self.servingModel
        case .warning(let text):
            self.warn(text)
        case .stop(let now):
            self.feed(.stopRequested(now: now), in: &group)
        case .status(let query):
            self.take(query)
        case .order(let request):
            self.obey(request, in: &group)
        case .signal(let request):
            self.send(request)
        case .apply(let request):
            self.apply(request, in: &group)
        case .released(let name):
            self.feed(.released(name), in: &group)
        case .confirmed(let name, let run, let troubles):
            // Of a moment, which passes: the state of the deployment does not keep them.
            for text in troubles { self.notices(.warning(text)) }
            self.feed(.confirmed(name, run: run), in: &group)
        case .publicPortClosed:
            self.feed(.publicPortClosed, in: &group)
        case .servicesSeen(let answers):
            self.isAskingServices = false
            self.feed(.servicesSeen(answers), in: &group)
            self.armServices()
        }
        self.answerQueries()
    }

    /// Gives the machine an event and performs what it answers.
    func feed(_ event: DeploymentMachine.Event, in group: inout DiscardingTaskGroup) {
        let actions = self.machine.handle(event, at: self.clock.now)
        self.introduceAdded()
        for action in actions { self.perform(action, in: &group) }
    }

    private func fired(_ timer: Timer, in group: inout DiscardingTaskGroup) {
        switch timer {
        case .replica(let index, let timer):
            self.feed(.timerFired(replica: index, timer), in: &group)
        case .cleanup:
            self.lookForStrays(in: &group)
        case .probes:
            self.startProbes(in: &group)
        case .exec(let id):
            self.execTimedOut(id)
        case .verification:
            let limit = self.options.verificationTimeout.shortWords
            self.feed(.verified(["the comparison with discovery did not end within \(limit) s"]), in: &group)
        case .watch:
            self.feed(.watched, in: &group)
        case .query(let id):
            if let query = self.queries.removeValue(forKey: id) { query.reply(self.status()) }
        case .heartbeat:
            self.beat()
        case .services:
            self.askServices(in: &group)
        case .trim:
            // What only the start needed, and the summary that followed it.
            dynamo_trim_memory()
        }
    }

    private func beat() {
        guard let heartbeat = self.heartbeat else { return }
        heartbeat.beat()
        self.timers.arm(.heartbeat, at: self.clock.now + heartbeat.period)
    }

    /// Lets the earliest deadline interrupt the loop.
    private func schedule() {
        let next = self.timers.next()
        guard next != self.scheduled?.deadline else { return }
        self.scheduled?.task.cancel()
        self.scheduled = nil
        guard let next else { return }
        let sender = self.sender
        // A millisecond is the finest a poll can wait; a little late is better than twice.
        let delay = max(.zero, next - self.clock.now) + .microseconds(500)
        self.scheduled = (next, self.eventLoop.scheduleTask(in: TimeAmount(delay)) { _ = sender.yield(.wake) })
    }

    func warn(_ text: String) {
        guard !self.warnings.contains(text) else { return }
        if self.warnings.count == 100 { self.warnings.removeFirst() }
        self.warnings.append(text)
        self.notices(.warning(text))
    }
}
