internal import Deployment
internal import Supervisor

/// The one loop of migrations: takes inputs, hands them to the state machine, and performs the actions that come back.
final class MigrationLoop {
    let control: any GenerationControl
    private let journal: MigrationJournal
    let canary: MigrationRunner.CanaryRun
    let sender: AsyncStream<MigrationRunner.Input>.Continuation
    /// Gets the work of each step, to be run at once.
    let jobs: AsyncStream<@Sendable () async -> Void>.Continuation
    let publish: (MigrationStatus) -> Void

    var current: RunningMigration?
    /// Somebody plans a migration, or waits for the end of the one that is under way.
    private var isReserved = false
    private var waiting: (@Sendable (MigrationRefusal?) -> Void)?
    var isStopping = false
    /// Generations that were given up while a migration was planned, and why.
    private var lost: [Int: String] = [:]
    /// The end of the last migration, while it is not in the journal.
    private var missingEnd: JournalRecord.Entry?

    init(
        control: any GenerationControl,
        journal: MigrationJournal,
        canary: @escaping MigrationRunner.CanaryRun,
        sender: AsyncStream<MigrationRunner.Input>.Continuation,
        jobs: AsyncStream<@Sendable () async -> Void>.Continuation,
        publish: @escaping (MigrationStatus) -> Void
    ) {
        self.control = control
        self.journal = journal
        self.canary = canary
        self.sender = sender
        self.jobs = jobs
        self.publish = publish
    }

    /// Whether something has to be looked at as time goes by.
    var needsTicks: Bool { self.current != nil || self.missingEnd != nil }

    // MARK: Inputs

    func take(_ input: MigrationRunner.Input) async {
        switch input {
        case .reserve(let reply): await self.reserve(reply)
        case .release:
            self.isReserved = false
            self.control.setMigrating(false)
        case .takeUp(let resumed): await self.takeUp(resumed)
        case .begin(let migration, let id, let watcher): await self.begin(migration, id, watcher)
        case .command(let command, let reply): await self.obey(command, reply)
        case .follow(let watcher):
            guard self.current != nil else { return watcher.finish() }
            self.current?.watchers.append(watcher)
            await self.tell()
        case .event(let event, let id):
            guard self.current?.id == id else { return }
            // What a shift has changed is told before what comes after it.
            if case .workFinished(.shifting, _) = event { await self.tell() }
            await self.feed(event)
        case .ended(let generation, let reason): await self.generationEnded(generation, reason)
        case .note(let text, let id):
            guard self.current?.id == id else { return }
            self.note(text)
            await self.tell()
        case .waiting(let words, let id):
            guard self.current?.id == id else { return }
            self.current?.waitingFor = words
        case .tick:
            self.writeMissingEnd()
            self.askWhatStarts()
            if let end = self.current?.warmEnd, end <= .now {
                self.current?.warmEnd = nil
                await self.feed(.warmOver)
            } else {
                await self.tell()
            }
        case .stop(let reply):
            self.isStopping = true
            await self.feed(.stopped)
            self.waiting?(.stopping)
            self.waiting = nil
            self.writeMissingEnd()
            reply()
        }
    }

    /// Nobody waits for anything any more.
    func end() async {
        if let underWay = self.current?.underWay { await underWay.cancel() }
        for watcher in self.current?.watchers ?? [] { watcher.finish() }
        self.waiting?(.stopping)
    }

    private func reserve(
        _ reply: @escaping @Sendable (MigrationRefusal?) -> Void
    ) async {
        guard !self.isStopping else { return reply(.stopping) }
        guard !self.isReserved else {
            return reply(MigrationRefusal(cause: .conflict, description: "another migration is about to begin"))
        }
        guard let current = self.current else {
            // Nothing else changes what runs from here on: the plan is made from it.
            self.isReserved = true
            self.lost = [:]
            self.control.setMigrating(true)
            return reply(nil)
        }
        switch current.machine.step {
        case .retiring:
            self.isReserved = true
            self.waiting = reply
        case .warm where !current.machine.isPaused:
            // The one before has done its work; the generation that it keeps for a return gives way.
            self.isReserved = true
            self.waiting = reply
            self.note(
                "a further migration begins: generation \(current.migration.from.generation) is not kept any longer"
            )
            await self.feed(.command(.promote))
        default:
            let way = "\(Self.words(current.migration.from)) to \(Self.words(current.migration.to))"
            let place = current.machine.step.rawValue + (current.machine.isPaused ? ", paused" : "")
            let text =
                "the migration from generation \(way) is under way (\(place)); wait for its end "
                + "('dynamo-launch migrate status --follow'), or take it back first ('dynamo-launch migrate abort')"
            reply(MigrationRefusal(cause: .conflict, description: text))
        }
    }

    private func begin(
        _ migration: PlannedMigration,
        _ id: Int,
        _ watcher: AsyncStream<MigrationStatus>.Continuation
    ) async {
        self.isReserved = false
        guard !self.isStopping else {
            self.control.setMigrating(false)
            return watcher.finish()
        }
        self.writeMissingEnd()
        let sender = self.sender
        let work = MigrationWork(
            migration,
            self.control,
            oldFigures: await self.control.figures(of: migration.from.generation),
            canary: self.canary
        ) { sender.yield(.note($0, id: id)) }
        self.current = RunningMigration(
            id: id,
            migration: migration,
            work: work,
            machine: MigrationMachine(
                strategy: migration.plan.strategy,
                stages: migration.plan.shares.count,
                asksPerson: migration.asksPerson,
                keepsWarm: migration.settings.rollbackWindow > 0
            ),
            watchers: [watcher]
        )
        self.say(
            "from generation \(Self.words(migration.from)) to \(Self.words(migration.to)), \(migration.plan.strategy.rawValue)"
        )
        do {
            try self.write(
                .began(
                    JournalRecord.Began(
                        migration: id,
                        fromNumber: migration.from.generation,
                        toNumber: migration.to.generation,
                        from: Self.words(migration.from),
                        to: Self.words(migration.to),
                        strategy: migration.plan.strategy,
                        source: migration.source,
                        base: migration.base,
                        fromSource: migration.fromSource,
                        settings: migration.settings,
                        asksPerson: migration.asksPerson
                    )
                )
            )
        } catch {
            // Nothing is begun: the machine takes back what there is not.
            self.current?.unwritten = error
        }
        await self.feed(.begin)
        if let reason = self.lost[migration.from.generation] {
            await self.feed(.oldEnded(reason))
        }
    }

    private func obey(
        _ command: MigrationCommand,
        _ reply: @Sendable (Result<MigrationStatus, MigrationRefusal>) -> Void
    ) async {
        guard self.current != nil else {
            let last = self.journal.history.records.last { $0.step == .done }
            let back =
                command == .rollback
                ? last.map { "; generation \($0.from) is gone, go back to it with '\($0.wayBack)'" } ?? "" : ""
            return reply(
                .failure(MigrationRefusal(cause: .conflict, description: "no migration is under way\(back)"))
            )
        }
        let refusal = await self.feed(.command(command))
        if let refusal {
            reply(.failure(MigrationRefusal(cause: .conflict, description: refusal)))
        } else if let status = await self.tell() {
            reply(.success(status))
        } else {
            reply(.failure(MigrationRefusal(cause: .conflict, description: "the migration has ended")))
        }
    }

    private func generationEnded(_ generation: Int, _ reason: String) async {
        guard let migration = self.current?.migration else {
            self.lost[generation] = reason
            return
        }
        switch generation {
        case migration.from.generation: await self.feed(.oldEnded(reason))
        case migration.to.generation: await self.feed(.newEnded(reason))
        default: break
        }
    }

    // MARK: The machine

    /// Hands an event to the machine and does what it says.
    ///
    /// - Returns: why a command was not obeyed.
    @discardableResult
    private func feed(_ event: MigrationMachine.Event) async -> String? {
        let wasPaused = self.current?.machine.isPaused
        guard let actions = self.current?.machine.handle(event) else { return nil }
        let refusal = await self.perform(actions)
        if let current = self.current, current.machine.isPaused != wasPaused { self.writePause(of: current) }
        await self.tell()
        return refusal
    }

    @discardableResult
    func perform(
        _ actions: [MigrationMachine.Action]
    ) async -> String? {
        var refusal: String?
        for action in actions {
            switch action {
            case .perform(let step, let stage): await self.enter(step, stage)
            case .cancelWork:
                guard let underWay = self.current?.underWay else { break }
                self.current?.underWay = nil
                await underWay.cancel()
            case .armWarm:
                guard let window = self.current?.migration.settings.rollbackWindow else { break }
                self.current?.warmEnd = .now + .seconds(window)
            case .cancelWarm: self.current?.warmEnd = nil
            case .ended(let step, let reason): await self.ended(step, reason)
            case .note(let text): self.note(text)
            case .refuse(let text): refusal = text
            }
        }
        return refusal
    }

    /// Writes what is about to be done, and begins it.
    private func enter(_ step: MigrationStep, _ stage: Int) async {
        guard let current = self.current else { return }
        self.current?.stepAt = .now
        do {
            if let unwritten = current.unwritten {
                // Said already when its first step was not begun.
                if step != .rollingBack { throw unwritten }
            } else {
                try self.write(.step(step, stage: stage, migration: current.id))
            }
        } catch {
            if current.isTakenUp {
                // What the journal has leads to this step.
                self.note("\(error)")
            } else {
                let answer = self.current?.machine.handle(.journalFailed("\(error)")) ?? []
                await self.perform(answer)
                let isElsewhere = answer.contains { action in
                    switch action {
                    case .perform, .ended: true
                    default: false
                    }
                }
                if isElsewhere { return }
            }
        }
        self.current?.isTakenUp = false
        let share = step == .shifting ? " (\(stage + 1) of \(current.machine.stages))" : ""
        if step != .observing { self.say("\(step.rawValue)\(share)") }
        guard step.hasWork else { return }
        let (sender, id) = (self.sender, current.id)
        self.current?.underWay = StepWork(step, stage, of: current.work, in: self.jobs) {
            sender.yield(.event($0, id: id))
        }
    }

    private func ended(_ step: MigrationStep, _ reason: String?) async {
        guard let current = self.current else { return }
        if current.unwritten == nil {
            let end = JournalRecord.Entry.ended(step, reason: reason, migration: current.id)
            do { try self.write(end) } catch {
                self.note("\(error)")
                self.missingEnd = end
            }
        }
        if step == .rolledBack, current.work.hasStarted {
            let next = self.isStopping ? "" : "; the same migration may be begun again"
            self.note(current.migration.remains + next)
        }
        let stops = self.isStopping && step != .failed
        let remaining = step == .done ? current.migration.to : current.migration.from
        let outcome: String =
            switch step {
            case _ where stops:
                "ended: the deployment is being stopped; the next start is with generation \(Self.words(remaining))"
            case .done: "done: generation \(Self.words(current.migration.to)) serves"
            case .rolledBack: "rolled back: generation \(Self.words(current.migration.from)) serves as before"
            default: "failed"
            }
        // Its reason is the stop.
        self.say(outcome + (stops ? "" : reason.map { " (\($0))" } ?? ""), isWarning: step != .done && !stops)
        await self.tell()
        let watchers = self.current?.watchers ?? []
        self.current = nil
        if step == .failed { self.control.giveUp(reason ?? "the migration failed") }
        self.control.setMigrating(false)
        for watcher in watchers { watcher.finish() }
        guard let waiting = self.waiting else { return }
        self.waiting = nil
        guard step != .failed, !self.isStopping else { return waiting(.stopping) }
        self.lost = [:]
        self.control.setMigrating(true)
        waiting(nil)
    }

    /// Writes a record to the journal, and says when somebody had deleted that.
    func write(_ entry: JournalRecord.Entry) throws(MigrationJournalError) {
        defer { if let notice = self.journal.takeNotice() { self.control.say(notice, isWarning: true) } }
        try self.journal.append(entry)
    }

    /// Writes the end of the last migration, as soon as the disk takes it.
    private func writeMissingEnd() {
        guard let end = self.missingEnd, self.current == nil else { return }
        do {
            try self.write(end)
            self.control.say(
                "the migration journal can be written again, and has the end of the last migration",
                isWarning: false
            )
        } catch {
            // Tried again; unless somebody else has closed the migration meanwhile.
            guard self.journal.history.unfinished == nil else { return }
        }
        self.missingEnd = nil
    }
}
