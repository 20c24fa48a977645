internal import Deployment
internal import Supervisor

/// Migrations that an earlier launcher has begun.
extension MigrationLoop {
    /// Goes on with one; the first that the loop hears of.
    func takeUp(_ resumed: ResumedMigration) async {
        guard self.current == nil, !self.isStopping else { return self.control.setMigrating(false) }
        let (migration, resumption) = (resumed.migration, resumed.resumption)
        let shares = migration.plan.shares
        let (sender, id) = (self.sender, resumption.began.migration)
        let work = MigrationWork(
            migration,
            self.control,
            oldFigures: await self.control.figures(of: migration.from.generation),
            resuming: MigrationWork.Remains(old: resumed.old, new: resumed.new, share: resumption.share(shares)),
            canary: self.canary
        ) { sender.yield(.note($0, id: id)) }
        var machine = MigrationMachine(
            strategy: migration.plan.strategy,
            stages: shares.count,
            asksPerson: migration.asksPerson,
            keepsWarm: migration.settings.rollbackWindow > 0
        )
        let actions = machine.takeUp(resumption.position, isPaused: resumption.isPaused)
        self.current = RunningMigration(
            id: id,
            migration: migration,
            work: work,
            machine: machine,
            startedAt: .now - resumption.age,
            isTakenUp: true
        )
        work.keepShare()
        self.note(resumption.words(shares))
        await self.perform(actions)
        await self.tell()
    }

    /// The next launcher is not to go on with what a person holds back.
    func writePause(of current: RunningMigration) {
        guard current.unwritten == nil else { return }
        do { try self.write(.paused(current.machine.isPaused, migration: current.id)) } catch {
            self.note("\(error): the next launcher does not know whether the migration is paused")
        }
    }
}
