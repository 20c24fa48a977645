import Foundation
import Supervisor
import TestSupport
import Testing

@testable import Rollout

/// A manifest that was changed and applied after a migration: what the records of it come to.
@Suite(.serialized) struct JournalAppliedTests {
    /// The manifest as it was applied.
    private static let base = GenerationSource(manifestPath: "/etc/chat.yaml", manifestText: "name: chat\nmodel: b\n")

    private static func applied(_ generation: Int) -> JournalRecord {
        var source = JournalSamples.source("nats")
        source.manifestText = Self.base.manifestText
        return JournalRecord(
            .applied(.init(generation: generation, source: source, base: Self.base)),
            time: JournalSamples.time
        )
    }

    private static var migrated: [JournalRecord] { JournalSamples.walk(JournalSamples.began()) }

    private static func expectApplied(_ history: MigrationHistory) {
        #expect(history.current.number == 2 && history.current.words == "2 (nats)")
        #expect(history.current.source?.manifestText == Self.base.manifestText)
        #expect(history.current.source?.requestPlane == "nats")
        let recovery = history.recovery(calledWith: Self.base)
        #expect(recovery.number == 2 && recovery.source == history.current.source && recovery.entries == [])
        #expect(recovery.messages == ["the deployment was migrated to 2 (nats), and starts as that"])
        // What `up` was called with before is not what it means now.
        let before = history.recovery(calledWith: JournalSamples.base)
        #expect(before.number == 1 && before.source == nil && before.entries == [.forgot(generation: 2)])
    }

    @Test func `the next start is with what was applied last`() throws {
        Self.expectApplied(try JournalSamples.history(Self.migrated + [Self.applied(2)]))
        // Twice is as good as once.
        Self.expectApplied(try JournalSamples.history(Self.migrated + [Self.applied(2), Self.applied(2)]))
    }

    @Test func `a record of it survives its line, and the file`() async throws {
        let record = Self.applied(2)
        #expect(try JournalRecord(line: try record.line.dropLast()) == record)
        try await withTemporaryDirectory { folder in
            let journal = try MigrationJournal(folder: folder.path)
            for record in Self.migrated + [record] { try journal.append(record.entry, time: JournalSamples.time) }
            Self.expectApplied(journal.history)
            Self.expectApplied(try MigrationJournal(folder: folder.path).history)
        }
    }

    @Test(arguments: [MigrationStep.canary, .draining, .warm])
    func `a later migration that is taken back, or interrupted, leaves it`(step: MigrationStep) throws {
        let next = JournalSamples.walkBack(JournalSamples.began(2, from: 2, to: 3), from: step)
        Self.expectApplied(try JournalSamples.history(Self.migrated + [Self.applied(2)] + next))
        let interrupted = try JournalSamples.history(Self.migrated + [Self.applied(2)] + next.dropLast())
        let recovery = interrupted.recovery(calledWith: Self.base)
        #expect(recovery.number == 2 && recovery.source?.manifestText == Self.base.manifestText)
        #expect(recovery.entries.count == 1)
    }

    @Test func `a later migration that is done replaces it`() throws {
        let next = JournalSamples.walk(JournalSamples.began(2, from: 2, to: 3))
        let history = try JournalSamples.history(Self.migrated + [Self.applied(2)] + next)
        #expect(history.current.number == 3 && history.current.source == JournalSamples.source("nats"))
    }

    @Test func `it fits only to the current generation, once that was migrated to`() throws {
        for (records, generation) in [
            ([], 1), (Self.migrated, 1), (Self.migrated, 3), (Array(Self.migrated.dropLast()), 2),
            (Self.migrated + [JournalRecord(.forgot(generation: 2))], 2),
            (Self.migrated + [JournalRecord(.forgot(generation: 2))], 1),
        ] {
            var history = try JournalSamples.history(records)
            let before = history
            #expect(throws: MigrationHistory.Contradiction.self) { try history.add(Self.applied(generation)) }
            #expect(history == before)
        }
    }

    @Test(arguments: [true, false])
    func `a journal that is shortened keeps it`(isEarly: Bool) async throws {
        try await withTemporaryDirectory { folder in
            var records = Self.migrated
            if isEarly { records.append(Self.applied(2)) }
            for migration in 2...(MigrationJournal.mostMigrations + 1) {
                let began = JournalSamples.began(migration, from: 2, to: migration + 1)
                records += JournalSamples.walkBack(began, from: .canary)
            }
            if !isEarly { records.append(Self.applied(2)) }
            let file = folder.appending(path: MigrationJournal.fileName)
            try Data(records.flatMap { try $0.line }).write(to: file)
            Self.expectApplied(try MigrationJournal(folder: folder.path).history)
            let short = try MigrationJournal.history(folder: folder.path)
            #expect(short.records.count == MigrationJournal.migrationsKept)
            Self.expectApplied(short)
            #expect(short.nextGeneration == MigrationJournal.mostMigrations + 3)
        }
    }
}
