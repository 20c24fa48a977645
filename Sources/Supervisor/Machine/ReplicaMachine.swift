internal import Deployment

/// The life of one replica, as a value: inputs are methods, outputs are actions.
///
/// It does nothing itself.
///
///     waiting -> starting -> ready <-> unready
///                   |          |         |
///                   +----------+---------+--> ending (told to end) --> clearing (leader gone, descendants being ended)
///                   |                                                       |
///                   +--(exited)-------------------------------------------->+--> backingOff -> starting
///                                                                           +--> stopped | failed
///
/// What an exit that nobody asked for means:
/// - the exit code is not 0, or a signal ended it: restarted by `on-failure` and `always`; with `never` the replica has failed;
/// - exit code 0 of infrastructure: work done, unless the policy is `always`;
/// - exit code 0 of a frontend, router or worker: serving has ended though nobody asked for it, so `on-failure` restarts it too;
///   with `never` the work is done.
struct ReplicaMachine: Sendable {
    enum Timer: Hashable, Sendable, CaseIterable {
        case probe, startup, stuck, holding, grace, killLimit, backoff
    }

    enum Action: Equatable {
        case spawn(run: Int)
        /// Answered by `probeFinished` with the same numbers.
        case probe(run: Int, index: Int)
        case arm(Timer, at: ContinuousClock.Instant)
        case cancel(Timer)
        case signal(run: Int, Int32)
        case kill(run: Int)
        /// End what the leader left behind and read its output to the end; answered by `cleared`.
        case clear(run: Int, grace: Duration)
        case layerReached(ReadinessLayer, seconds: Double)
        case stateChanged(String?)
        case stuck(layer: ReadinessLayer, seconds: Double, reason: String?)
        /// It was told to end so long ago, and is killed when so many seconds more have passed.
        case holding(seconds: Double, left: Double)
        case exited(ProcessExit)
        /// Waits for its dependencies, as before the first start.
        case backoffOver
        /// The plan is another one from here on.
        case planTaken
        case restarting(reason: String, delay: Duration, attempt: Int)
        /// Starts again at once, on other ports.
        case portsRenewed(String)
        case warning(String)
        /// It was ready in an earlier run, and this run has not become ready in time; it goes on.
        case late(String)
        /// What the run says that it does.
        case said(String)
        /// This replica can not become ready, although its process runs.
        case hopeless(String)
    }

    /// One process of the replica, from the request to start it until nothing is left of it.
    struct Run: Sendable, Hashable {
        var number: Int
        var startedAt: ContinuousClock.Instant
        var pid: Int32?
        /// The layer that is being waited for, an index into the schedule.
        var next = 0
        var waitingSince: ContinuousClock.Instant
        var reached: [LayerReached] = []
        var matched: Set<Int> = []
        /// It said `READY=1`.
        var isNotified = false
        /// What it says that it does.
        var status: String?
        var lastReason: String?
        /// Where the round of steady probes stands.
        var steadyPosition = 0
        var failedRounds = 0
        var failedOwnRounds = 0
        /// When it was told to end.
        var endingSince: ContinuousClock.Instant?
        /// SIGKILL was sent: what is left behind gets no grace either.
        var killed = false
    }

    /// Why a run ends.
    enum Ending: Sendable, Hashable {
        /// The deployment does not want it any more.
        case stop
        /// To start again, for this reason.
        case restart(String)
        /// To start again at once: a person asked for it.
        case replace
        /// It ended by itself.
        case exit(ProcessExit)
        /// It could not be started.
        case notStarted(String, permanent: Bool)
        /// Its ports were taken, and it has others now.
        case newPorts(String)
    }

    enum State: Sendable, Hashable {
        case waiting
        case starting(Run)
        case ready(Run)
        case unready(Run)
        case ending(Run, Ending)
        case clearing(Run, Ending, lifetime: Duration)
        case backingOff
        case stopped
        case failed(String)
    }

    // Changed here, and in the files ReplicaMachine+*.swift of endings, of time and of adoption only.

    var plan: ReplicaPlan
    var schedule: ReadinessSchedule
    var state: State = .waiting
    var lastExit: String?
    /// How often a process was started again.
    var restarts = 0
    /// Of these, those that a person has asked for, or a change; and one that was being ended when its launcher died.
    var restartsAskedFor = 0
    /// The highest layer that the last run reached, kept when it has ended.
    var lastLayer: ReadinessLayer?
    /// The process of it that could not be killed.
    var survivor: Survivor?
    var wasReady = false
    /// How many processes there were.
    var runs = 0
    var backoff: Backoff
    /// How often in a row it got other ports, without having been ready.
    var renewals = 0
    /// The plan of the next run, when it is another one.
    var successor: ReplicaPlan?
    /// Servers outside the deployment that it needs and that do not answer: starting it, or starting it again, would be of no use.
    var missingServer: String?
    /// Was removed from the deployment; what is left of it is being ended.
    var isRetired = false
    /// A person has stopped it, and nothing but a person starts it again.
    var isHalted = false

    /// What the leader leaves behind may take this long after SIGTERM.
    static let clearingGrace: Duration = .seconds(2)
    /// How long a process may take to go after SIGKILL.
    static let killLimit: Duration = .seconds(5)
    static let stuckAfter: Duration = .seconds(10)
    /// Whoever waits for an end is told after so long what they wait for.
    static let holdingAfter: Duration = .seconds(3)

    init(plan: ReplicaPlan, seed: UInt64) {
        self.plan = plan
        self.schedule = ReadinessSchedule(layers: plan.readiness, timing: plan.timing)
        self.backoff = Backoff(policy: plan.restart, seed: seed)
    }

    // MARK: Starting

    /// The dependencies are there.
    ///
    /// Anything but a waiting replica stays as it is, so asking twice starts nothing twice.
    mutating func start(at now: ContinuousClock.Instant) -> [Action] {
        guard case .waiting = self.state else { return [] }
        return self.beginRun(at: now)
    }

    private mutating func beginRun(at now: ContinuousClock.Instant) -> [Action] {
        self.runs += 1
        self.lastLayer = nil
        self.state = .starting(Run(number: self.runs, startedAt: now, waitingSince: now))
        var actions: [Action] = [.stateChanged(nil), .spawn(run: self.runs)]
        if let limit = self.schedule.timing.startupTimeout {
            actions.append(.arm(.startup, at: now + .seconds(limit)))
        }
        actions.append(.arm(.stuck, at: now + Self.stuckAfter))
        return actions
    }

    mutating func spawned(run number: Int, pid: Int32, at now: ContinuousClock.Instant) -> [Action] {
        switch self.state {
        case .starting(var run) where run.number == number:
            run.pid = pid
            return self.advance(run, at: now)
        case .ending(var run, let ending) where run.number == number:
            // Told to end while it was being started.
            run.pid = pid
            self.state = .ending(run, ending)
            return run.killed ? [.kill(run: number)] : [.signal(run: number, self.plan.stop.signal)]
        case .waiting, .starting, .ready, .unready, .ending, .clearing, .backingOff, .stopped, .failed:
            return []
        }
    }

    mutating func notStarted(
        run number: Int,
        reason: String,
        permanent: Bool,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        switch self.state {
        case .starting(let run) where run.number == number:
            self.lastExit = reason
            return self.runEnded(run, .notStarted(reason, permanent: permanent), at: now)
        case .ending(let run, let ending) where run.number == number:
            return self.runEnded(run, ending, at: now)
        case .waiting, .starting, .ready, .unready, .ending, .clearing, .backingOff, .stopped, .failed:
            return []
        }
    }

    // MARK: Readiness

    /// Passes every layer that needs no question, then asks for the next one.
    mutating func advance(_ run: Run, at now: ContinuousClock.Instant) -> [Action] {
        var run = run
        var actions: [Action] = []
        while run.next < self.schedule.layers.count {
            let layer = self.schedule.layers[run.next]
            switch layer.probe {
            case .process:
                break
            case .logLine where run.matched.contains(run.next):
                break
            case .notify where run.isNotified:
                break
            case .logLine, .notify:
                self.state = .starting(run)
                return actions
            case .tcp, .http, .exec, .natsPing, .systemHealth, .modelListed, .modelReady, .generate, .requestPlane:
                self.state = .starting(run)
                return actions + [.probe(run: run.number, index: run.next)]
            }
            actions += self.reach(&run, at: now)
        }
        self.wasReady = true
        self.renewals = 0
        run.lastReason = nil
        self.state = .ready(run)
        actions += [.cancel(.startup), .cancel(.stuck), .stateChanged(nil)]
        return actions + self.armSteadyRound(at: now)
    }

    private mutating func reach(_ run: inout Run, at now: ContinuousClock.Instant) -> [Action] {
        let layer = self.schedule.layers[run.next].layer
        let seconds = (now - run.startedAt).inSeconds
        run.reached.append(LayerReached(layer: layer, seconds: seconds))
        run.next += 1
        run.waitingSince = now
        run.lastReason = nil
        self.lastLayer = layer
        return [.layerReached(layer, seconds: seconds), .arm(.stuck, at: now + Self.stuckAfter)]
    }

    private func armSteadyRound(at now: ContinuousClock.Instant) -> [Action] {
        guard !self.schedule.steady.isEmpty else { return [] }
        let interval = max(.milliseconds(50), Duration.seconds(self.schedule.timing.steadyInterval))
        return [.arm(.probe, at: now + interval)]
    }

    mutating func probeFinished(
        run number: Int,
        index: Int,
        outcome: ProbeOutcome,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        switch self.state {
        case .starting(var run) where run.number == number && run.next == index:
            switch outcome {
            case .success:
                let actions = self.reach(&run, at: now)
                return actions + self.advance(run, at: now)
            case .failure(let reason):
                run.lastReason = reason
                self.state = .starting(run)
                return [.arm(.probe, at: now + self.schedule.startupPause(elapsed: now - run.startedAt))]
            }
        case .ready(let run) where run.number == number:
            return self.steadyProbeFinished(run, index: index, outcome: outcome, at: now)
        case .unready(let run) where run.number == number:
            return self.steadyProbeFinished(run, index: index, outcome: outcome, at: now)
        case .waiting, .starting, .ready, .unready, .ending, .clearing, .backingOff, .stopped, .failed:
            return []
        }
    }

    private mutating func steadyProbeFinished(
        _ run: Run,
        index: Int,
        outcome: ProbeOutcome,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        var run = run
        guard run.steadyPosition < self.schedule.steady.count, self.schedule.steady[run.steadyPosition] == index else {
            return []
        }
        switch outcome {
        case .success:
            run.steadyPosition += 1
            if self.schedule.isOwn(index) { run.failedOwnRounds = 0 }
            if run.steadyPosition < self.schedule.steady.count {
                self.keep(run)
                return [.probe(run: run.number, index: self.schedule.steady[run.steadyPosition])]
            }
            run.failedRounds = 0
            run.lastReason = nil
            var actions: [Action] = []
            if case .unready = self.state { actions.append(.stateChanged("its probes succeed again")) }
            self.state = .ready(run)
            return actions + self.armSteadyRound(at: now)
        case .failure(let reason):
            return self.steadyRoundFailed(run, index: index, reason: reason, at: now)
        }
    }

    private mutating func steadyRoundFailed(
        _ run: Run,
        index: Int,
        reason: String,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        var run = run
        let layer = self.schedule.layers[index].layer.rawValue
        let threshold = max(1, self.schedule.timing.failureThreshold)
        run.failedRounds += 1
        if self.schedule.isOwn(index) { run.failedOwnRounds += 1 }
        run.lastReason = "\(layer): \(reason)"
        let next = self.armSteadyRound(at: now)
        guard run.failedRounds >= threshold else {
            self.keep(run)
            return next
        }
        let wasUnready = if case .unready = self.state { true } else { false }
        self.state = .unready(run)
        let actions: [Action] = wasUnready ? [] : [.stateChanged(run.lastReason)]
        guard run.failedOwnRounds >= threshold, self.plan.restart.condition != .never, self.missingServer == nil else {
            return actions + next
        }
        let cause = "probe \(layer) failed \(run.failedOwnRounds) times in a row: \(reason)"
        return actions + self.beginEnding(run, .restart(cause), at: now)
    }

    mutating func keep(_ run: Run) {
        if case .unready = self.state { self.state = .unready(run) } else { self.state = .ready(run) }
    }

    mutating func logMatched(run number: Int, index: Int, at now: ContinuousClock.Instant) -> [Action] {
        if case .clearing(var run, .exit(let status), let lifetime) = self.state, run.number == number {
            // What it wrote last was read after its end.
            run.matched.insert(index)
            self.state = .clearing(run, .exit(status), lifetime: lifetime)
            return []
        }
        guard case .starting(var run) = self.state, run.number == number else { return [] }
        run.matched.insert(index)
        self.state = .starting(run)
        // Before the pid is known the first layer cannot have been passed.
        guard run.pid != nil, run.next == index else { return [] }
        return self.advance(run, at: now)
    }

    /// The run said something on its `NOTIFY_SOCKET`.
    mutating func notified(run number: Int, _ message: NotifyMessage, at now: ContinuousClock.Instant) -> [Action] {
        guard var run = self.run, run.number == number else { return [] }
        var actions: [Action] = []
        if let status = message.status, status != run.status {
            run.status = status
            actions.append(.said(status))
        }
        run.isNotified = run.isNotified || message.isReady
        switch self.state {
        case .starting:
            self.state = .starting(run)
            guard run.isNotified, run.pid != nil, run.next < self.schedule.layers.count,
                self.schedule.layers[run.next].probe == .notify
            else { return actions }
            return actions + self.advance(run, at: now)
        case .ready, .unready:
            self.keep(run)
            return actions
        case .clearing(_, .exit(let status), let lifetime):
            self.state = .clearing(run, .exit(status), lifetime: lifetime)
            return []
        case .waiting, .ending, .clearing, .backingOff, .stopped, .failed:
            return []
        }
    }
}
