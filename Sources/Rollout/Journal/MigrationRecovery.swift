internal import Supervisor

extension MigrationHistory {
    /// What `up` has to do before it starts anything.
    package struct Recovery: Sendable, Hashable {
        /// The generation that is started.
        package var number: Int
        /// What it is planned from; nil: what `up` was called with.
        package var source: GenerationSource?
        /// To be appended to the journal, in this order, before anything is started.
        package var entries: [JournalRecord.Entry]
        /// For the user, each a sentence without a full stop; empty when there is nothing special.
        package var messages: [String]
    }

    /// What the next start is with, and how a migration ends that was interrupted.
    ///
    /// An interrupted migration is finished when it had passed its commit point, else undone; both need nothing but the
    /// start of the right generation, as nothing of a launcher that has ended is left running.
    ///
    /// - Parameter base: what `up` is called with now. When it is not what it was called with before the migration, the
    ///   user's word counts, and the migration is forgotten.
    /// - Returns: what is to be done.
    package func recovery(calledWith base: GenerationSource) -> Recovery {
        var recovery = Recovery(number: self.current.number, source: self.current.source, entries: [], messages: [])
        if let unfinished = self.unfinished {
            let began = unfinished.began
            let place = unfinished.step.map { "in its step \($0.rawValue)" } ?? "before its first step"
            let outcome: MigrationStep = unfinished.isCommitted ? .done : .rolledBack
            recovery.entries.append(
                .ended(outcome, reason: "the launcher ended \(place)", migration: began.migration)
            )
            recovery.messages.append(
                "migration \(began.migration) from \(began.from) to \(began.to) was interrupted \(place); "
                    + (unfinished.isCommitted
                        ? "the new generation had been proved by then: the migration is finished"
                        : "it is undone: the deployment starts as it was before")
            )
        }
        guard let before = self.current.base else { return recovery }
        let words = self.current.words ?? "generation \(self.current.number)"
        let changes = base.changes(since: before)
        if changes.isEmpty {
            recovery.messages.append("the deployment was migrated to \(words), and starts as that")
        } else {
            recovery.entries.append(.forgot(generation: self.current.number))
            recovery.messages.append(
                "\(changes.joined(separator: " and ")) changed since the migration to \(words): "
                    + "the deployment starts as `up` says now, and the migration is forgotten"
            )
            recovery.number = Current.first.number
            recovery.source = nil
        }
        return recovery
    }
}

extension GenerationSource {
    /// What is not as it was, in words that `changed` can follow.
    func changes(since before: GenerationSource) -> [String] {
        var changes: [String] = []
        if self.manifestPath != before.manifestPath {
            changes.append("the manifest's path")
        } else if self.manifestText != before.manifestText {
            changes.append("the manifest")
        }
        if self.overrides != before.overrides { changes.append("what is given with --set") }
        if self.requestPlane != before.requestPlane { changes.append("the request plane asked for") }
        if self.arguments != before.arguments { changes.append("the arguments after --") }
        return changes
    }
}
