import Deployment
import Rollout
import Supervisor
import Synchronization
import Systemd

/// The generations of a deployment that run, one of which is the deployment.
final class GenerationFleet: Sendable {
    private enum Event: Sendable {
        case run(LaunchedGeneration)
        case stop
        case settled(SupervisorOutcome)
    }

    struct State: Sendable {
        /// Those that run.
        var running: [Int: LaunchedGeneration] = [:]
        var outcomes: [Int: SupervisorOutcome] = [:]
        /// The one whose end is the deployment's.
        var active: Int
        var isMigrating = false
        var isStopping = false
        /// Are being ended because a migration is done with them.
        var retiring: Set<Int> = []
        var hasSettled = false
        /// Were given up, and are ending or have ended.
        var lost: Set<Int> = []
        /// Why everything is given up, although its processes could go on.
        var givenUp: String?

        /// How the deployment has ended; nil: it has not.
        var outcome: SupervisorOutcome? {
            guard let reason = self.givenUp else {
                if let outcome = self.outcomes[self.active] { return outcome }
                // Asked to stop before anything was begun.
                return self.isStopping && self.running.isEmpty
                    ? SupervisorOutcome(exitCode: 0, reason: .requested) : nil
            }
            // The process that failed says more.
            let failed = self.outcomes.sorted { $0.key < $1.key }.lazy.map(\.value).last { $0.failure != nil }
            return failed ?? SupervisorOutcome(failedBecause: reason)
        }
    }

    let host: DeploymentHost
    /// Of the deployment.
    let directories: DeploymentDirectories
    let port: PublicPort?
    let service: ServiceProgress
    let output: ForegroundOutput
    let sources: GenerationSources
    /// Where clients connect, when that is not the manifest's address.
    let address: HTTPAddress?
    let state: Mutex<State>
    private let options: SupervisorOptions
    private let runner: Mutex<MigrationRunner?> = Mutex(nil)
    private let events: AsyncStream<Event>
    private let sender: AsyncStream<Event>.Continuation

    init(
        _ start: DeploymentStart,
        port: PublicPort?,
        service: ServiceProgress,
        output: ForegroundOutput,
        options: SupervisorOptions
    ) {
        self.host = start.host
        self.directories = start.host.directories
        self.port = port
        self.service = service
        self.output = output
        self.address = start.listeners.address
        self.sources = GenerationSources(start) { output.say("warning: \($0)", as: .warning) }
        if let second = start.second {
            self.sources.add(second.plan.generation, second.source, base: second.base, second.ports)
        }
        self.options = options
        self.state = Mutex(State(active: start.plan.generation))
        (self.events, self.sender) = AsyncStream.makeStream(of: Event.self)
    }

    /// The supervisor of the generation that is the deployment.
    var supervisor: Supervisor? {
        // With `recreate` only the other one may run.
        self.state.withLock { $0.running[$0.active] ?? $0.running.values.first }?.supervisor
    }

    /// Whether a migration is under way.
    var isMigrating: Bool { self.state.withLock { $0.isMigrating } }

    /// Whether everything is being stopped.
    var isStopping: Bool { self.state.withLock { $0.isStopping || $0.givenUp != nil } }

    // MARK: Running

    /// Runs the deployment, from its first generation to its end.
    ///
    /// - Parameters:
    ///   - first: the plan of its first generation.
    ///   - orphans: the processes of it that run already.
    ///   - second: the other generation of a migration that goes on, which `runner` was told of.
    ///   - runner: runs migrations.
    /// - Returns: how it ended.
    func run(
        _ first: Plan,
        adopting orphans: Orphans?,
        beside second: SecondGeneration?,
        _ runner: MigrationRunner
    ) async -> SupervisorOutcome {
        self.runner.withLock { $0 = runner }
        self.host.onStop { self.requestStop(now: $0) }
        self.launch(first, adopting: orphans)
        // Before the first one can be ready: it would get all requests then.
        if let second, let orphans = second.orphans { self.launch(second.plan, adopting: orphans) }
        return await withDiscardingTaskGroup { group in
            group.addTask { await runner.run() }
            if let heartbeat = self.service.heartbeat {
                group.addTask { await self.beatWhileNothingRuns(heartbeat) }
            }
            for await event in self.events {
                switch event {
                case .run(let generation):
                    group.addTask {
                        let outcome = await generation.run(in: self.host)
                        await self.ended(generation, outcome)
                    }
                case .stop:
                    group.addTask {
                        // What a migration was about to do is not done any more.
                        await runner.stop {
                            for generation in self.state.withLock({ $0.running.values.map(\.self) }) {
                                generation.supervisor.requestStop(now: false)
                            }
                        }
                        self.settle()
                    }
                case .settled(let outcome):
                    group.cancelAll()
                    return outcome
                }
            }
            return SupervisorOutcome(exitCode: 1, reason: .failed)
        }
    }

    /// Each generation's supervisor gives signs of life; with `recreate`, and a pause in it, there may be none.
    private func beatWhileNothingRuns(_ heartbeat: Heartbeat) async {
        while !Task.isCancelled {
            try? await Task.sleep(for: heartbeat.period)
            if self.state.withLock({ $0.running.isEmpty }) { heartbeat.beat() }
        }
    }

    /// Begins to run a generation.
    ///
    /// - Returns: it; nil when the deployment is being stopped.
    @discardableResult
    func launch(_ plan: Plan, adopting orphans: Orphans? = nil) -> LaunchedGeneration? {
        let generation = LaunchedGeneration(
            plan,
            LaunchedGeneration.Surroundings(
                output: self.output,
                port: self.port,
                service: self.service,
                options: self.options,
                replan: { number, counts throws(ReplanFailure) in
                    let plan = try await self.sources.replan(number, counts)
                    // Reading takes a while, in which a migration may have begun.
                    if self.isMigrating { throw ReplanFailure(description: RolloutRefusal.migrating.description) }
                    return plan
                },
                renewPorts: { number, ports throws(ReplanFailure) in try await self.sources.renew(ports, of: number) },
                leases: { self.sources.leases(of: $0) },
                observe: { notice, number in self.observe(notice, of: number) },
                isActive: { number in self.state.withLock { $0.active == number } },
                isEnd: { number in
                    self.state.withLock { state in
                        state.active == number && (!state.isMigrating || state.isStopping || state.givenUp != nil)
                    }
                }
            ),
            adopting: orphans
        )
        let (isWanted, isSpokenOf) = self.state.withLock { state in
            guard !state.isStopping else { return (false, false) }
            // With 'recreate' the active one is gone before the next one comes: commands are for what there is.
            let isSpokenOf =
                state.active == plan.generation || state.retiring.contains(state.active)
                || state.running[state.active] == nil
            // First: who sees that it runs may count on it.
            self.port?.add(plan)
            state.running[plan.generation] = generation
            state.outcomes[plan.generation] = nil
            state.retiring.remove(plan.generation)
            state.lost.remove(plan.generation)
            return (true, isSpokenOf)
        }
        guard isWanted else { return nil }
        if isSpokenOf { self.host.setCurrent(generation.supervisor) }
        self.sender.yield(.run(generation))
        return generation
    }

    private func observe(_ notice: SupervisorNotice, of number: Int) {
        switch notice {
        case .failed(let reason):
            // It gets nothing more from now on; how long its processes take to end is of no interest to a migration.
            self.tellLost(number, reason)
        case .stopping:
            let isEnd = self.state.withLock { $0.active == number && !$0.isMigrating }
            if isEnd { Terminal.hurry() }
        // What a migration changes is in its own records.
        case .planChanged(_, isWayBack: false) where !self.isMigrating: self.sources.beginChange(number)
        case .changeEnded(let failure) where !self.isMigrating:
            if failure == nil { self.sources.applied(number) }
            let running = self.state.withLock { $0.running[number] }
            if let running { self.sources.settle(number, running.supervisor.activePlan) }
        case .planUnchanged where !self.isMigrating:
            self.sources.beginChange(number)
            self.sources.applied(number)
        default: break
        }
    }

    /// A generation is given up that should have gone on; may be told more than once.
    private func tellLost(_ number: Int, _ reason: String) {
        let isExpected = self.state.withLock { state in
            state.lost.insert(number)
            return state.retiring.contains(number) || state.isStopping || state.givenUp != nil
        }
        if !isExpected { self.runner.withLock { $0 }?.generationEnded(number, reason) }
    }

    private func ended(_ generation: LaunchedGeneration, _ outcome: SupervisorOutcome) async {
        let number = generation.plan.generation
        await generation.finishOutput(unless: self.output)
        self.state.withLock { state in
            state.running[number] = nil
            state.outcomes[number] = outcome
        }
        let (active, isStopping) = self.state.withLock { ($0.active, $0.isStopping || $0.givenUp != nil) }
        if isStopping, number != active {
            GenerationFolders.forget(number, of: self.directories, active: active)
        }
        self.tellLost(number, outcome.failure?.message ?? "its processes have ended (\(outcome.reason.rawValue))")
        // Last: whoever waits for this may start the same generation again at once.
        generation.life.ended()
        self.settle()
    }

    /// The deployment has ended when its generation has, and no migration can change which one that is.
    func settle() {
        let (outcome, others) = self.state.withLock { state -> (SupervisorOutcome?, [LaunchedGeneration]) in
            guard !state.hasSettled, !state.isMigrating || state.isStopping, let outcome = state.outcome
            else { return (nil, []) }
            guard state.running.isEmpty else { return (nil, state.running.values.map(\.self)) }
            state.hasSettled = true
            return (outcome, [])
        }
        if !others.isEmpty {
            self.port?.prepareToClose()
            Terminal.hurry()
        }
        for generation in others {
            generation.life.retire()
            generation.supervisor.requestStop(now: false)
        }
        if let outcome { self.sender.yield(.settled(outcome)) }
    }

    /// The deployment cannot go on: everything is stopped, and the launcher ends with a failure.
    ///
    /// - Parameter reason: why, in words.
    func fail(_ reason: String) {
        self.state.withLock { $0.givenUp = $0.givenUp ?? reason }
        self.service.observe(.failed(reason))
        self.requestStop(now: false)
    }

    /// Everything is stopped; with `now`, or when asked again with it, killed at once.
    func requestStop(now: Bool) {
        self.port?.prepareToClose()
        let isFirst = self.state.withLock { state in
            defer { state.isStopping = true }
            return !state.isStopping
        }
        Terminal.hurry()
        if isFirst {
            // With `recreate` no active generation may be there to say so.
            self.service.observe(.stopping(now: now))
            self.sender.yield(.stop)
        }
        guard now else { return }
        for generation in self.state.withLock({ $0.running.values.map(\.self) }) {
            generation.supervisor.requestStop(now: true)
        }
    }
}
