internal import Supervisor

/// The work of one step of a migration, under way.
struct StepWork: Sendable {
    private let wish: AsyncStream<Void>.Continuation
    private let ended: AsyncStream<Void>

    /// Begins it.
    ///
    /// - Parameters:
    ///   - step: which step.
    ///   - stage: of `shifting` and `observing`.
    ///   - work: what does it.
    ///   - jobs: gets it, to be run at once.
    ///   - report: gets how it has ended, unless it was cancelled.
    init(
        _ step: MigrationStep,
        _ stage: Int,
        of work: MigrationWork,
        in jobs: AsyncStream<@Sendable () async -> Void>.Continuation,
        report: @escaping @Sendable (MigrationMachine.Event) -> Void
    ) {
        let (wishes, wish) = AsyncStream.makeStream(of: Void.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        (self.wish, self.ended) = (wish, ended)
        jobs.yield {
            if let event = await Self.run(step, stage, work, until: wishes) { report(event) }
            end.finish()
        }
    }

    /// Ends it early, and waits until it has ended; nothing is reported then.
    func cancel() async {
        self.wish.finish()
        for await _ in self.ended {}
    }

    /// Nil when it was cancelled.
    private static func run(
        _ step: MigrationStep,
        _ stage: Int,
        _ work: MigrationWork,
        until cancelled: AsyncStream<Void>
    ) async -> MigrationMachine.Event? {
        await withTaskGroup(of: MigrationMachine.Event?.self) { group in
            group.addTask {
                do {
                    try await work.perform(step, stage: stage)
                    return .workFinished(step, stage: stage)
                } catch is CancellationError {
                    return nil
                } catch {
                    return .workFailed(step, stage: stage, "\(error)")
                }
            }
            group.addTask {
                for await _ in cancelled {}
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            await group.waitForAll()
            return first
        }
    }
}
