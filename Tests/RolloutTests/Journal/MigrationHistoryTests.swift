import Deployment
import Supervisor
import Testing

@testable import Rollout

/// What records come to, and what the next start does with it.
struct MigrationHistoryTests {
    private static let began = JournalSamples.began()
    private static let moved = MigrationHistory.Current(migratedBy: Self.began)

    @Test func `without a journal the deployment starts as up says`() {
        let recovery = MigrationHistory().recovery(calledWith: JournalSamples.base)
        #expect(recovery == .init(number: 1, source: nil, entries: [], messages: []))
    }

    @Test(arguments: MigrationSettings.Strategy.allCases)
    func `after every record the next start is with one generation, and draining decides which`(
        strategy: MigrationSettings.Strategy
    ) throws {
        let records = JournalSamples.walk(JournalSamples.began(strategy: strategy))
        #expect(records.count > 8)
        var isCommitted = false
        for count in 1...records.count {
            if case .step(.draining, _, _) = records[count - 1].entry { isCommitted = true }
            let history = try JournalSamples.history(records.prefix(count))
            let recovery = history.recovery(calledWith: JournalSamples.base)
            #expect(recovery.number == (isCommitted ? 2 : 1))
            #expect(recovery.source == (isCommitted ? JournalSamples.source("nats") : nil))
            // What the recovery writes closes the migration and changes nothing else.
            var closed = history
            for entry in recovery.entries { try closed.add(JournalRecord(entry, time: JournalSamples.time)) }
            #expect(closed.unfinished == nil && closed.current == history.current)
            #expect(closed.records.last?.step == (isCommitted ? .done : .rolledBack))
            #expect(closed.recovery(calledWith: JournalSamples.base).entries == [])
            #expect(recovery.entries.count == (count == records.count ? 0 : 1))
            #expect(recovery.messages.count == (count == records.count ? 0 : 1) + (isCommitted ? 1 : 0))
        }
        #expect(isCommitted)
    }

    @Test(arguments: [MigrationStep.preparing, .canary, .observing, .draining, .warm])
    func `a rollback brings the old generation back, whether it is finished or not`(step: MigrationStep) throws {
        let records = JournalSamples.walkBack(Self.began, from: step)
        for count in (records.count - 1)...records.count {
            let recovery = try JournalSamples.history(records.prefix(count)).recovery(calledWith: JournalSamples.base)
            #expect(recovery.number == 1 && recovery.source == nil)
            let isFinished = count == records.count
            #expect(
                recovery.entries
                    == (isFinished
                        ? []
                        : [.ended(.rolledBack, reason: "the launcher ended in its step rolling-back", migration: 1)])
            )
        }
        let record = try #require(try JournalSamples.history(records).records.last)
        #expect(record.step == .rolledBack && record.reason == "broken" && record.ended == "2027-01-15T08:00:00.123Z")
    }

    @Test func `the user is told what became of an interrupted migration`() throws {
        let records = JournalSamples.walk(Self.began)
        let draining = try #require(
            records.firstIndex { if case .step(.draining, _, _) = $0.entry { true } else { false } }
        )
        #expect(
            try JournalSamples.history(records[..<1]).recovery(calledWith: JournalSamples.base).messages == [
                "migration 1 from 1 (tcp) to 2 (nats) was interrupted before its first step; it is undone: the deployment "
                    + "starts as it was before"
            ]
        )
        #expect(
            try JournalSamples.history(records[...draining]).recovery(calledWith: JournalSamples.base).messages == [
                "migration 1 from 1 (tcp) to 2 (nats) was interrupted in its step draining; the new generation had been proved "
                    + "by then: the migration is finished",
                "the deployment was migrated to 2 (nats), and starts as that",
            ]
        )
    }

    @Test func `a user who asks for another manifest or plane is obeyed`() throws {
        var base = JournalSamples.base
        base.manifestPath = nil
        try Self.expectForgotten(with: base, words: "the manifest's path")
        base = JournalSamples.base
        base.requestPlane = "http"
        try Self.expectForgotten(with: base, words: "the request plane asked for")
    }

    @Test func `a user who changes the manifest, keys of it or arguments is obeyed`() throws {
        var base = JournalSamples.base
        base.manifestText += "model: other\n"
        try Self.expectForgotten(with: base, words: "the manifest")
        base.overrides = ["a=b"]
        base.arguments = ["c"]
        try Self.expectForgotten(
            with: base,
            words: "the manifest and what is given with --set and the arguments after --"
        )
    }

    private static func expectForgotten(with base: GenerationSource, words: String) throws {
        var history = try JournalSamples.history(JournalSamples.walk(Self.began))
        let recovery = history.recovery(calledWith: base)
        #expect(recovery.number == 1 && recovery.source == nil)
        #expect(recovery.entries == [.forgot(generation: 2)])
        #expect(recovery.messages.count == 1)
        #expect(recovery.messages.first?.hasPrefix("\(words) changed since the migration to 2 (nats): ") == true)
        for entry in recovery.entries { try history.add(JournalRecord(entry)) }
        #expect(history.recovery(calledWith: base) == .init(number: 1, source: nil, entries: [], messages: []))
        #expect(history.current == .first && history.nextGeneration == 3 && history.nextMigration == 2)
    }

    @Test func `a changed manifest counts also when the migration was interrupted`() throws {
        let records = JournalSamples.walk(Self.began)
        for count in 1..<records.count {
            var history = try JournalSamples.history(records.prefix(count))
            var base = JournalSamples.base
            base.manifestText = "name: other\n"
            let recovery = history.recovery(calledWith: base)
            #expect(recovery.number == 1 && recovery.source == nil)
            for entry in recovery.entries { try history.add(JournalRecord(entry)) }
            #expect(history.current == .first && history.unfinished == nil)
        }
    }

    @Test func `migrations follow each other`() throws {
        var history = try JournalSamples.history(JournalSamples.walk(Self.began))
        for record in JournalSamples.walkBack(JournalSamples.began(2, from: 2, to: 3), from: .warm) {
            try history.add(record)
        }
        #expect(history.current == Self.moved)
        for record in JournalSamples.walk(JournalSamples.began(3, from: 2, to: 4)) { try history.add(record) }
        #expect(history.current.number == 4)
        #expect(history.records.map(\.id) == [1, 2, 3])
        #expect(history.records.map(\.step) == [.done, .rolledBack, .done])
        #expect(history.nextMigration == 4 && history.nextGeneration == 5)
    }

    @Test func `a migration whose end could not be written is closed by the next one`() throws {
        for (from, end) in [(1, MigrationStep.rolledBack), (2, .done)] {
            var history = try JournalSamples.history(JournalSamples.walk(Self.began).dropLast())
            try history.add(JournalRecord(.began(JournalSamples.began(2, from: from, to: 3))))
            #expect(history.current.number == from)
            #expect(history.records.map(\.step) == [end, .preparing])
        }
    }

    @Test func `a failed migration leaves what the commit point says`() throws {
        var history = try JournalSamples.history(JournalSamples.walk(Self.began).prefix(4))
        try history.add(JournalRecord(.ended(.failed, reason: "both", migration: 1)))
        #expect(history.current == .first && history.unfinished == nil)
    }

    @Test(
        arguments: [
            .step(.canary, stage: 0, migration: 7), .step(.done, stage: 0, migration: 1),
            .ended(.canary, reason: nil, migration: 1), .ended(.done, reason: nil, migration: 2),
            .forgot(generation: 1),
            .forgot(generation: 2), .began(JournalSamples.began(1, from: 1, to: 3)),
            .began(JournalSamples.began(2, from: 1, to: 2)), .began(JournalSamples.began(2, from: 9, to: 10)),
            .summary(.init(current: .first, nextMigration: 1, nextGeneration: 2)),
        ] as [JournalRecord.Entry]
    )
    func `a record that cannot follow changes nothing`(entry: JournalRecord.Entry) throws {
        var history = try JournalSamples.history(JournalSamples.walk(Self.began).prefix(3))
        let before = history
        #expect(throws: MigrationHistory.Contradiction.self) { try history.add(JournalRecord(entry)) }
        #expect(history == before)
    }
}
