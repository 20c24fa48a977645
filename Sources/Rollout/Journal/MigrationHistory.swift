package import Supervisor

/// What the records of a journal come to.
///
/// The commit point of a migration is its step `draining`: from that record on the deployment starts as the new generation, until
/// a record says that it is rolled back.
package struct MigrationHistory: Sendable, Hashable {
    /// The generation that the next start is with.
    package struct Current: Sendable, Hashable, Codable {
        package var number: Int
        /// Nil: as `up` says.
        package var source: GenerationSource?
        /// What `up` was called with when it was migrated to this one.
        package var base: GenerationSource?
        /// In words, such as `2 (nats)`; nil: it was not migrated to.
        package var words: String?

        /// What `up` starts without any migration.
        package static let first = Current(number: 1)
    }

    /// A migration without an end.
    package struct Unfinished: Sendable, Hashable {
        package var began: JournalRecord.Began
        /// When it began.
        package var time: String
        /// Nil: nothing was done yet.
        package var step: MigrationStep?
        package var stage: Int
        /// Whether the next start is with the new generation.
        package var isCommitted: Bool
        /// Whether a person has it paused.
        package var isPaused = false
        /// What was current when it began.
        package var previous: Current
    }

    /// A record that does not fit to those before it.
    package struct Contradiction: Error, Hashable, CustomStringConvertible {
        package var description: String
    }

    /// The latest last.
    package private(set) var records: [MigrationRecord] = []
    package private(set) var current = Current.first
    package private(set) var unfinished: Unfinished?
    /// Numbers are not used twice, also not those of migrations that were rolled back.
    package private(set) var nextGeneration = 2
    package private(set) var nextMigration = 1

    /// No migration yet.
    package init() {}

    /// Adds a record.
    ///
    /// - Parameter record: the next one.
    /// - Throws: `Contradiction` when it cannot follow; nothing has changed then.
    package mutating func add(_ record: JournalRecord) throws(Contradiction) {
        switch record.entry {
        case .began(let began):
            try self.begin(began, time: record.time)
        case .step(let step, let stage, let migration):
            var running = try self.running(migration, "a step")
            guard !step.isEnd else {
                throw Contradiction(description: "'\(step.rawValue)' ends migration \(migration), and is no step of it")
            }
            running.step = step
            running.stage = stage
            switch step {
            case .draining, .warm, .retiring: running.isCommitted = true
            case .rollingBack: running.isCommitted = false
            default: break
            }
            self.unfinished = running
            self.current = running.isCommitted ? Current(migratedBy: running.began) : running.previous
            self.records[self.records.count - 1].step = step
        case .paused(let isPaused, let migration):
            var running = try self.running(migration, "a pause")
            running.isPaused = isPaused
            self.unfinished = running
        case .ended(let step, let reason, let migration):
            _ = try self.running(migration, "the end")
            guard step.isEnd else {
                throw Contradiction(description: "'\(step.rawValue)' does not end migration \(migration)")
            }
            self.close(as: step, reason: reason, time: record.time)
        case .applied(let applied):
            // One that was not migrated to is as `up` says anyway.
            guard self.unfinished == nil, self.current.source != nil, applied.generation == self.current.number else {
                throw Contradiction(
                    description:
                        "generation \(applied.generation) is changed, but is not the current one, or was not migrated to"
                )
            }
            self.current.source = applied.source
            self.current.base = applied.base
        case .forgot(let generation):
            guard self.unfinished == nil, generation == self.current.number else {
                throw Contradiction(description: "generation \(generation) is forgotten, but is not the current one")
            }
            self.current = .first
        case .summary(let summary):
            guard self == MigrationHistory() else { throw Contradiction(description: "a summary must come first") }
            self.current = summary.current
            self.nextMigration = summary.nextMigration
            self.nextGeneration = summary.nextGeneration
        }
    }

    private mutating func begin(_ began: JournalRecord.Began, time: String) throws(Contradiction) {
        guard began.migration >= self.nextMigration, began.toNumber >= self.nextGeneration else {
            throw Contradiction(
                description: "migration \(began.migration) to generation \(began.toNumber) begins, but "
                    + "\(self.nextMigration) and \(self.nextGeneration) are the next numbers"
            )
        }
        var before = self
        before.closeBefore(began, time: time)
        // A generation that was to be forgotten, with a disk that was full.
        if began.fromNumber == 1 { before.current = .first }
        guard before.current.number == began.fromNumber else {
            throw Contradiction(
                description: "migration \(began.migration) begins at generation \(began.fromNumber), "
                    + "but \(before.current.number) is the current one"
            )
        }
        self = before
        self.nextMigration = began.migration + 1
        self.nextGeneration = began.toNumber + 1
        self.unfinished = Unfinished(began: began, time: time, stage: 0, isCommitted: false, previous: self.current)
        self.records.append(
            MigrationRecord(
                id: began.migration,
                began: time,
                ended: nil,
                from: began.from,
                to: began.to,
                strategy: began.strategy,
                step: .preparing
            )
        )
    }

    /// Closes a migration whose end could not be written, by what the next one begins with.
    mutating func closeBefore(_ next: JournalRecord.Began, time: String) {
        guard let unfinished = self.unfinished else { return }
        self.close(
            as: next.fromNumber == unfinished.began.toNumber ? .done : .rolledBack,
            reason: "its end was not written down",
            time: time
        )
    }

    private mutating func close(as step: MigrationStep, reason: String?, time: String) {
        guard let unfinished = self.unfinished else { return }
        switch step {
        case .done: self.current = Current(migratedBy: unfinished.began)
        case .rolledBack: self.current = unfinished.previous
        default: break
        }
        self.unfinished = nil
        self.records[self.records.count - 1].step = step
        self.records[self.records.count - 1].reason = reason
        self.records[self.records.count - 1].ended = time
    }

    private func running(_ migration: Int, _ what: String) throws(Contradiction) -> Unfinished {
        guard let unfinished = self.unfinished, unfinished.began.migration == migration else {
            throw Contradiction(description: "\(what) of migration \(migration), which is not under way")
        }
        return unfinished
    }
}

extension MigrationHistory.Current {
    /// What a migration leads to.
    ///
    /// - Parameter began: its first record.
    package init(migratedBy began: JournalRecord.Began) {
        self.init(number: began.toNumber, source: began.source, base: began.base, words: began.to)
    }
}
