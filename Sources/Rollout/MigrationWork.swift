internal import Deployment
internal import Gateway
internal import Supervisor
internal import Synchronization

/// Does the work of each step of one migration, and knows what of it has to be undone.
final class MigrationWork: Sendable {
    struct State: Sendable {
        /// What runs, or shall run, of each generation; nil: nothing of it.
        var old: Plan?
        var new: Plan?
        /// Percent of the requests that the new generation gets.
        var share = 0
        /// Until when the stage is observed.
        var observedUntil: ContinuousClock.Instant?
        var oldAtStart: TrafficFigures
        var hasStarted = false
        /// From the first stage on that is watched.
        var stability: StabilityJudge?
        /// An earlier launcher has started the new generation, and nobody has looked yet how the new one is.
        var isUnseen = false
    }

    private let migration: PlannedMigration
    let control: any GenerationControl
    private let canary: MigrationRunner.CanaryRun
    private let note: @Sendable (String) -> Void
    let state: Mutex<State>

    /// How often figures are looked at.
    private static let observationPeriod = Duration.milliseconds(250)

    /// How often servers are asked that somebody else runs.
    private static let serverPeriod = Duration.seconds(1)

    /// - Parameters:
    ///   - migration: what is done.
    ///   - control: the generations.
    ///   - oldFigures: what the old generation was sent before.
    ///   - remains: what an earlier launcher has left; nil: it begins.
    ///   - canary: the probe requests.
    ///   - note: gets what a person should know.
    init(
        _ migration: PlannedMigration,
        _ control: any GenerationControl,
        oldFigures: TrafficFigures,
        resuming remains: Remains? = nil,
        canary: @escaping MigrationRunner.CanaryRun,
        note: @escaping @Sendable (String) -> Void
    ) {
        self.migration = migration
        self.control = control
        self.canary = canary
        self.note = note
        var state = State(old: migration.from, new: nil, oldAtStart: oldFigures)
        if let remains {
            (state.old, state.new, state.share) = (remains.old, remains.new, remains.share)
            (state.hasStarted, state.isUnseen) = (true, true)
        }
        self.state = Mutex(state)
    }

    var from: Plan { self.migration.from }
    var to: Plan { self.migration.to }
    var settings: MigrationSettings { self.migration.settings }

    /// Percent of the requests that the new generation gets.
    var share: Int { self.state.withLock { $0.share } }

    /// Whether the new generation was ever started.
    var hasStarted: Bool { self.state.withLock { $0.hasStarted } }

    /// Seconds until the stage has been observed for long enough; nil: it is not being observed.
    var observationLeft: Double? {
        self.state.withLock { $0.observedUntil }.map { max(0, (ContinuousClock.now - $0) / .seconds(-1)) }
    }

    /// What the old generation was sent since the migration began.
    var oldFigures: TrafficFigures {
        get async {
            let start = self.state.withLock { $0.oldAtStart }
            return await self.control.figures(of: self.from.generation).subtracting(start)
        }
    }

    /// What the new generation was sent.
    var newFigures: TrafficFigures { get async { await self.control.figures(of: self.to.generation) } }

    /// Does what a step is there for; to be called for one step at a time.
    ///
    /// - Throws: `MigrationFailure` when it cannot be done, `CancellationError` when it is of no more interest.
    func perform(_ step: MigrationStep, stage: Int) async throws {
        let wasTakenOver = try await self.takeOver(before: step)
        switch step {
        case .preparing: try await self.control.check(self.to)
        case .emptying: try await self.empty()
        case .starting where wasTakenOver: break
        case .starting: try await self.whileServersAnswer { try await self.start() }
        case .verifying: try await self.verify()
        case .canary: try await self.tryOut()
        case .shifting: try await self.shift(stage)
        case .observing: try await self.whileServersAnswer { try await self.observe() }
        case .draining: await self.drain()
        case .retiring: await self.retire()
        case .rollingBack: try await self.rollBack()
        case .confirming, .warm, .done, .rolledBack, .failed: break
        }
    }

    // MARK: Steps

    private func empty() async throws {
        self.setShare(0, held: true)
        await self.waitUntilIdle(self.from)
        // It is not stopped for a migration that is being taken back.
        try Task.checkCancellation()
        await self.stop(self.from)
        self.state.withLock { $0.old = nil }
    }

    private func start() async throws {
        var plan = self.to
        if let wave = self.migration.plan.waves.first {
            // The other workers come later.
            let late = Set(self.migration.plan.waves.dropFirst().flatMap(\.added))
            plan.replicas.removeAll { late.contains($0.name) }
            try await self.removeOld(wave.removedFirst, shareBefore: nil)
        }
        self.state.withLock { [plan] in ($0.new, $0.hasStarted) = (plan, true) }
        let limit = self.settings.startTimeout
        try await Self.within(limit) { [control, plan] in
            try await control.start(plan)
        } late: { [plan] in
            await self.lateness(of: plan)
        }
    }

    /// Why a generation that has had its time to become ready is given up.
    func lateness(of plan: Plan) async -> MigrationFailure {
        let waiting = await self.control.conditions(of: plan.generation).filter { !$0.isReady }
        let words = waiting.map { "\($0.name) \($0.words)" }.joined(separator: "; ")
        let limit = Self.seconds(self.settings.startTimeout ?? 0)
        return MigrationFailure(
            "generation \(plan.generation) was not ready within \(limit) ('migration.startTimeout')"
                + (words.isEmpty ? "" : ": \(words)")
        )
    }

    func verify() async throws {
        let contradictions = await self.control.contradictions(self.from, self.to)
        guard contradictions.isEmpty else { throw MigrationFailure(contradictions.joined(separator: "; ")) }
    }

    func tryOut() async throws {
        let troubles = await self.canary(self.to)
        try Task.checkCancellation()
        guard troubles.isEmpty else { throw MigrationFailure(troubles.joined(separator: "; ")) }
    }

    private func shift(_ stage: Int) async throws {
        let plan = self.migration.plan
        guard plan.strategy == .rolling else { return self.setShare(plan.shares[min(stage, plan.shares.count - 1)]) }
        let wave = plan.waves[min(stage, plan.waves.count - 1)]
        if stage > 0 {
            try await self.removeOld(wave.removedFirst, shareBefore: nil)
            var new = self.state.withLock { $0.new } ?? self.to
            let wanted = Set(new.replicas.map(\.name) + wave.added)
            new.replicas = self.to.replicas.filter { wanted.contains($0.name) }
            self.state.withLock { [new] in $0.new = new }
            try await self.control.apply(new)
        }
        self.setShare(wave.share)
        try await self.removeOld(wave.removedAfter, shareBefore: wave.share)
    }

    /// Takes workers from the old generation; when it has none left, requests that it still has are answered before.
    private func removeOld(_ names: [String], shareBefore: Int?) async throws {
        // What was given up loses its workers without being told.
        guard !names.isEmpty, !self.control.isLost(self.from.generation), var old = self.state.withLock({ $0.old })
        else {
            return
        }
        old.replicas.removeAll { names.contains($0.name) }
        if !old.replicas.contains(where: { $0.role == .worker }) {
            // Without a worker it can answer nothing more: what comes goes to the new one, or waits.
            self.setShare(shareBefore ?? (self.newHasWorkers ? 100 : 0), held: !self.newHasWorkers)
            await self.waitUntilIdle(self.from)
        }
        try Task.checkCancellation()
        // Before it is done: what is half done is undone too.
        self.state.withLock { [old] in $0.old = old }
        do { try await self.control.apply(old) } catch {
            if !self.control.isLost(self.from.generation) { throw error }
        }
    }

    private var newHasWorkers: Bool {
        self.state.withLock { $0.new?.replicas.contains { $0.role == .worker } ?? false && $0.share > 0 }
    }

    private func observe() async throws {
        let window = self.settings.observe
        let start = ContinuousClock.now
        self.state.withLock { $0.observedUntil = start + .seconds(window) }
        defer { self.state.withLock { $0.observedUntil = nil } }
        let judge = ObservationJudge(
            thresholds: self.settings.thresholds,
            new: self.to.generation,
            old: self.from.generation
        )
        let before = await self.newFigures
        let oldBefore = await self.oldFigures
        // After a gap everything that was held comes at once; the times are those of what comes later.
        var settled = self.settings.strategy == .recreate ? nil : before
        let stability = await self.stability()
        var stall = StallJudge(self.to.generation)
        var isWaiting = false
        while true {
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            let figures = await self.newFigures
            if settled == nil, seconds >= window / 2 { settled = figures }
            var new = GenerationFigures(figures.subtracting(before))
            // A moment in which the machine stood still is not held against a generation whose window has only begun.
            let times = seconds >= window / 2 ? settled.map { GenerationFigures(figures.subtracting($0)) } : nil
            (new.firstToken, new.betweenTokens) = (times?.firstToken, times?.betweenTokens)
            let oldFigures = await self.oldFigures
            let oldLifetime = await self.control.figures(of: self.from.generation)
            let old = judge.baseline(
                recent: GenerationFigures(oldFigures),
                lifetime: GenerationFigures(oldLifetime),
                meanwhile: GenerationFigures(oldFigures.subtracting(oldBefore))
            )
            let verdict = judge.verdict(new: new, old: old, after: seconds)
            if case .broken(let reason) = verdict { throw MigrationFailure(reason) }
            let condition = stability.verdict(await self.control.conditions(of: self.to.generation))
            if case .broken(let reason) = condition { throw MigrationFailure(reason) }
            let waiting = stall.verdict(await self.newFigures, usual: self.usualDuration(oldLifetime), after: seconds)
            if case .broken(let reason) = waiting { throw MigrationFailure(reason) }
            if seconds >= window {
                let words: String
                // It does not get more before it is whole and answers again.
                switch (condition, waiting) {
                case (.unready(let trouble), _):
                    guard seconds < 2 * window else { throw MigrationFailure(trouble) }
                    words = trouble
                case (_, .waiting(let trouble)): words = trouble
                default:
                    if case .tooFew(let words) = verdict, window > 0 { self.note("\(self.share)%: \(words)") }
                    return
                }
                if !isWaiting { self.note("watched for longer: \(words)") }
                isWaiting = true
            }
            let left = seconds < window ? window - seconds : Self.observationPeriod / .seconds(1)
            try await Task.sleep(for: min(Self.observationPeriod, .seconds(max(0.01, left))))
        }
    }

    /// What nearly all requests to the old generation take, in seconds; nil: too few were answered.
    private func usualDuration(_ old: TrafficFigures) -> Double? {
        let durations = old.duration
        return durations.count >= self.settings.thresholds.minimumRequests ? durations.quantile(0.99) : nil
    }

    /// Does something for as long as the servers answer that the new generation needs and nobody here runs.
    private func whileServersAnswer(_ body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await body() }
            group.addTask {
                var failures = 0
                while true {
                    try await Task.sleep(for: Self.serverPeriod)
                    do {
                        try await self.control.check(self.to)
                        failures = 0
                    } catch {
                        failures += 1
                        // Once may be an accident.
                        if failures > 1 { throw error }
                    }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Counts over all stages.
    private func stability() async -> StabilityJudge {
        if let known = self.state.withLock({ $0.stability }) { return known }
        let judge = StabilityJudge(await self.control.conditions(of: self.to.generation))
        self.state.withLock { $0.stability = judge }
        return judge
    }

    private func drain() async {
        self.control.activate(self.to.generation)
        self.setShare(100)
        await self.waitUntilIdle(self.from)
    }

    private func retire() async {
        guard self.state.withLock({ $0.old }) != nil else { return }
        await self.stop(self.from)
        self.state.withLock { $0.old = nil }
    }

    // MARK: The way back

    private func rollBack() async throws {
        if self.migration.plan.strategy == .recreate, self.control.isLost(self.from.generation) {
            // It was given up before it was to be stopped: what is left of it does not serve.
            await self.stop(self.from)
            self.state.withLock { $0.old = nil }
        }
        let (old, new) = self.state.withLock { ($0.old, $0.new) }
        var isOldComplete = old == self.from
        if old == nil {
            // It was stopped; what comes waits until it is there again.
            self.setShare(0, held: true)
            if new != nil { await self.stopNew() }
            try await self.control.start(self.from)
            isOldComplete = true
        } else if let new, !isOldComplete {
            // The new workers may have what the old ones need.
            let missing = self.from.replicas.filter { replica in
                old?.replicas.contains { $0.name == replica.name } == false
            }
            if self.compete(missing, new.replicas) {
                let oldServes = old?.replicas.contains { $0.role == .worker } ?? false
                self.setShare(0, held: !oldServes)
                await self.waitUntilIdle(self.to)
                await self.stopNew()
            }
        }
        if !isOldComplete { try await self.control.apply(self.from) }
        self.state.withLock { $0.old = self.from }
        self.control.activate(self.from.generation)
        self.setShare(0)
        guard self.state.withLock({ $0.new }) != nil else { return }
        await self.waitUntilIdle(self.to)
        await self.stopNew()
    }

    private func stopNew() async {
        await self.stop(self.to)
        self.state.withLock { $0.new = nil }
    }

    /// Whether processes of two generations want the same GPU or port.
    private func compete(_ first: [ReplicaPlan], _ second: [ReplicaPlan]) -> Bool {
        let places = MigrationNeeds.Places(first, self.migration.plan.devices)
        return second.contains { !places.conflicts(with: $0).isEmpty }
    }

    // MARK: Parts

    /// Says which part of the requests the new generation gets; held: nobody gets anything, and what comes waits.
    func setShare(_ share: Int, held isHeld: Bool = false) {
        self.state.withLock { $0.share = share }
        let shares = [self.from.generation: 100 - share, self.to.generation: share]
        self.control.setShares(isHeld ? [:] : shares.filter { $0.value > 0 })
    }

    private func waitUntilIdle(_ plan: Plan) async {
        let limit = self.settings.drainTimeout ?? DeploymentTimes(plan).drain
        let left = await self.control.waitUntilIdle(plan.generation, within: .seconds(limit))
        guard left > 0, !Task.isCancelled else { return }
        self.note(
            "generation \(plan.generation) still had \(left) request\(left == 1 ? "" : "s") after \(Self.seconds(limit)) ('drainTimeout')"
        )
    }

    private func stop(_ plan: Plan) async {
        for survivor in await self.control.stop(plan.generation) { self.note("still running: \(survivor)") }
    }

    private static func seconds(_ seconds: Double) -> String {
        seconds == seconds.rounded() ? "\(Int(seconds)) s" : "\(seconds) s"
    }

    /// Runs a body that may take so long.
    static func within(
        _ seconds: Double?,
        _ body: @escaping @Sendable () async throws -> Void,
        late: @escaping @Sendable () async -> MigrationFailure
    ) async throws {
        guard let seconds else { return try await body() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: .seconds(seconds))
                throw await late()
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}
