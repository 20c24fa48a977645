internal import Deployment
internal import Supervisor

/// What is told of a migration.
extension MigrationLoop {
    /// Beside the loop: the supervisor may be about to begin, and answers then.
    func askWhatStarts() {
        guard let current = self.current, current.machine.step == .starting || current.work.isUnseen else { return }
        let (control, sender, id, generation) = (self.control, self.sender, current.id, current.migration.to.generation)
        self.jobs.yield {
            let late = await control.conditions(of: generation).filter { !$0.isReady }
            let words = late.map { "\($0.name) \($0.words)" }.joined(separator: "; ")
            sender.yield(.waiting(words.isEmpty ? nil : words, id: id))
        }
    }

    func note(_ text: String) {
        self.current?.notes.append(text)
        self.say(text, isWarning: true)
    }

    func say(_ text: String, isWarning: Bool = false) {
        guard let current = self.current else { return }
        self.control.say("migration \(current.id): \(text)", isWarning: isWarning)
    }

    static func words(_ plan: Plan) -> String { MigrationPlan.Side(number: plan.generation, plan: plan).words }

    @discardableResult
    func tell() async -> MigrationStatus? {
        guard let current = self.current else { return nil }
        let status = await MigrationReport(control: self.control).status(
            id: current.id,
            migration: current.migration,
            machine: current.machine,
            work: current.work,
            notes: current.notes,
            waitingFor: current.waitingFor,
            startedAt: current.startedAt,
            stepAt: current.stepAt,
            warmEnd: current.warmEnd,
            isStopped: self.isStopping
        )
        self.publish(status)
        self.current?.watchers.removeAll { if case .terminated = $0.yield(status) { true } else { false } }
        return status
    }
}
