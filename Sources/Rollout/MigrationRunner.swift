package import Deployment
package import Supervisor
internal import Synchronization

/// Runs the migrations of a deployment, one at a time: one loop around the state machine, whose actions it performs.
///
/// ``run()`` is to be called once, and beside it the functions of `MigrationControl`.
package final class MigrationRunner: MigrationControl {
    /// Asks a generation probe requests.
    ///
    /// - Returns: a sentence for each thing that is wrong.
    package typealias CanaryRun = @Sendable (_ plan: Plan) async -> [String]

    enum Input: Sendable {
        case reserve(@Sendable (MigrationRefusal?) -> Void)
        /// The reservation is not used: the manifest cannot be run.
        case release
        /// An earlier launcher has begun it.
        case takeUp(ResumedMigration)
        case begin(PlannedMigration, id: Int, AsyncStream<MigrationStatus>.Continuation)
        case command(MigrationCommand, @Sendable (Result<MigrationStatus, MigrationRefusal>) -> Void)
        case follow(AsyncStream<MigrationStatus>.Continuation)
        case event(MigrationMachine.Event, id: Int)
        case ended(generation: Int, String)
        case note(String, id: Int)
        /// What the new generation waits for while it starts, in words.
        case waiting(String?, id: Int)
        case tick
        case stop(@Sendable () -> Void)
    }

    private let control: any GenerationControl
    private let journal: MigrationJournal
    private let canary: CanaryRun
    private let inputs: AsyncStream<Input>
    private let sender: AsyncStream<Input>.Continuation
    /// The last status that was told.
    private let last = Mutex<MigrationStatus?>(nil)

    /// - Parameters:
    ///   - control: the generations.
    ///   - journal: where every step is written before it is done.
    ///   - canary: the probe requests through a new generation.
    package init(
        _ control: any GenerationControl,
        journal: MigrationJournal,
        canary: @escaping CanaryRun = { await Canary($0).troubles() }
    ) {
        self.control = control
        self.journal = journal
        self.canary = canary
        (self.inputs, self.sender) = AsyncStream.makeStream(of: Input.self)
    }

    /// Runs migrations until ``stop()``, or until cancelled.
    package func run() async {
        let (jobs, worker) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
        await withDiscardingTaskGroup { group in
            group.addTask {
                await withDiscardingTaskGroup { work in
                    for await job in jobs { work.addTask { await job() } }
                }
            }
            let (alarms, alarm) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
            group.addTask {
                // Without a migration there is nothing to look at, and an idle launcher is not to wake up.
                for await _ in alarms {
                    try? await Task.sleep(for: .seconds(1))
                    self.sender.yield(.tick)
                }
            }
            let loop = MigrationLoop(
                control: self.control,
                journal: self.journal,
                canary: self.canary,
                sender: self.sender,
                jobs: worker
            ) { status in
                self.last.withLock { $0 = status }
            }
            for await input in self.inputs {
                await loop.take(input)
                if loop.needsTicks { alarm.yield() }
            }
            await loop.end()
            worker.finish()
            group.cancelAll()
        }
    }

    /// Goes on with a migration that an earlier launcher has begun; to be called before ``run()``, and before its generations run.
    package func takeUp(_ migration: ResumedMigration) {
        // Nothing else changes what runs from here on.
        self.control.setMigrating(true)
        self.sender.yield(.takeUp(migration))
    }

    /// The deployment is being stopped: nothing more of the migration that is under way is begun, and no other begins any more.
    ///
    /// Returns when the work that was under way has ended.
    ///
    /// - Parameter asked: called once nothing more will be begun, before what was under way has ended.
    package func stop(asked: () -> Void = {}) async {
        await withCheckedContinuation { continuation in
            if case .terminated = self.sender.yield(.stop({ continuation.resume() })) { continuation.resume() }
            asked()
        }
    }

    /// A generation was given up for good.
    package func generationEnded(_ generation: Int, _ reason: String) {
        self.sender.yield(.ended(generation: generation, reason))
    }

    // MARK: MigrationControl

    package func outline(_ request: MigrationRequest) async throws(MigrationRefusal) -> MigrationOutline {
        let number = self.journal.history.nextGeneration
        var outline = try await self.control.plan(request, generation: number, isOutline: true).plan.outline
        if let last = self.last.withLock({ $0 }), !last.step.isEnd {
            outline.notes.append(
                last.step == .warm
                    ? "generation \(last.from.number) is still kept for a return; it is stopped when this begins"
                    : "a migration is under way (\(last.step.rawValue)): this one can begin when it has ended"
            )
        }
        return outline
    }

    package func migrate(_ request: MigrationRequest) async throws(MigrationRefusal) -> AsyncStream<MigrationStatus> {
        let kept = self.last.withLock { $0 }.flatMap { $0.step == .warm ? $0.from : nil }
        if kept != nil { try await self.refuseInTime(request) }
        let refusal = await withCheckedContinuation { continuation in
            let reply: @Sendable (MigrationRefusal?) -> Void = { continuation.resume(returning: $0) }
            if case .terminated = self.sender.yield(.reserve(reply)) { reply(.stopping) }
        }
        if let refusal { throw refusal }
        let history = self.journal.history
        do throws(MigrationRefusal) {
            let migration = try await self.control.plan(request, generation: history.nextGeneration, isOutline: false)
            let (statuses, watcher) = AsyncStream.makeStream(
                of: MigrationStatus.self,
                bufferingPolicy: .bufferingNewest(64)
            )
            if case .terminated = self.sender.yield(.begin(migration, id: history.nextMigration, watcher)) {
                throw .stopping
            }
            return statuses
        } catch {
            self.sender.yield(.release)
            guard let kept else { throw error }
            var refusal = error
            refusal.description +=
                "; but generation \(kept.number), which was kept for a return, had been stopped for this migration"
            throw refusal
        }
    }

    /// A migration that could not begin must not take the way back of the one before.
    ///
    /// What a manifest lacks is not looked at: the generation that is still kept may have what the next one needs.
    private func refuseInTime(_ request: MigrationRequest) async throws(MigrationRefusal) {
        let number = self.journal.history.nextGeneration
        do throws(MigrationRefusal) {
            _ = try await self.control.plan(request, generation: number, isOutline: true)
        } catch {
            if error.cause == .conflict { throw error }
        }
    }

    package func command(_ command: MigrationCommand) async throws(MigrationRefusal) -> MigrationStatus {
        let answer: Result<MigrationStatus, MigrationRefusal> = await withCheckedContinuation { continuation in
            let reply: @Sendable (Result<MigrationStatus, MigrationRefusal>) -> Void = {
                continuation.resume(returning: $0)
            }
            if case .terminated = self.sender.yield(.command(command, reply)) { reply(.failure(.stopping)) }
        }
        return try answer.get()
    }

    package func status() async -> MigrationStatus? { self.last.withLock { $0 } }

    package func follow() async -> AsyncStream<MigrationStatus>? {
        guard let last = self.last.withLock({ $0 }), !last.step.isEnd else { return nil }
        let (statuses, watcher) = AsyncStream.makeStream(
            of: MigrationStatus.self,
            bufferingPolicy: .bufferingNewest(64)
        )
        if case .terminated = self.sender.yield(.follow(watcher)) { return nil }
        return statuses
    }

    package func history() async -> [MigrationRecord] { self.journal.history.records }
}

extension MigrationRefusal {
    static let stopping = Self(cause: .conflict, description: "the deployment is being stopped")
}
