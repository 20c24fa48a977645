import Foundation
import Supervisor
import TestSupport
import Testing

@testable import Rollout

/// The file itself: what is in it after each way in which a launcher or a disk may fail.
@Suite(.serialized) struct MigrationJournalTests {
    private static let records = JournalSamples.walk(JournalSamples.began())

    private static func file(_ folder: URL) -> URL { folder.appending(path: MigrationJournal.fileName) }

    private static func fill(_ folder: URL, _ records: some Sequence<JournalRecord>) throws {
        try Data(records.flatMap { try $0.line }).write(to: Self.file(folder))
    }

    @Test func `what is appended is read again, and only its owner can`() async throws {
        try await withTemporaryDirectory { folder in
            let journal = try MigrationJournal(folder: folder.path)
            for record in Self.records { try journal.append(record.entry, time: JournalSamples.time) }
            let expected = try JournalSamples.history(Self.records)
            #expect(journal.history == expected)
            #expect(try MigrationJournal(folder: folder.path).history == expected)
            #expect(try MigrationJournal.history(folder: folder.path) == expected)
            let attributes = try FileManager.default.attributesOfItem(atPath: journal.path)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            let lines = try String(contentsOf: Self.file(folder), encoding: .utf8).split(separator: "\n")
            #expect(lines.count == Self.records.count)
            #expect(
                lines[1]
                    == #"{"kind":"step","migration":1,"stage":0,"step":"preparing","time":"2027-01-15T08:00:00.123Z"}"#
            )
        }
    }

    @Test func `every kind of record survives its line`() throws {
        let entries: [JournalRecord.Entry] = [
            .forgot(generation: 3), .paused(true, migration: 2), .ended(.failed, reason: "a\nb\u{0}\"ü", migration: 2),
            .summary(
                .init(
                    current: .init(migratedBy: JournalSamples.began()),
                    nextMigration: 8,
                    nextGeneration: 9
                )
            ),
        ]
        for record in Self.records + entries.map({ JournalRecord($0) }) {
            let line = try record.line
            #expect(line.count { $0 == UInt8(ascii: "\n") } == 1 && line.last == UInt8(ascii: "\n"))
            #expect(try JournalRecord(line: line.dropLast()) == record)
        }
    }

    @Test func `reading a journal that is not there makes none`() async throws {
        try await withTemporaryDirectory { folder in
            let history = try MigrationJournal.history(folder: folder.path)
            #expect(history == MigrationHistory())
            #expect(!FileManager.default.fileExists(atPath: Self.file(folder).path))
        }
    }

    @Test(arguments: [0, Self.records.count - 1])
    func `a last line that is torn anywhere is cut off`(last: Int) async throws {
        try await withTemporaryDirectory { folder in
            let whole = try Self.records.prefix(last).flatMap { try $0.line }
            let line = try Self.records[last].line
            let expected = try JournalSamples.history(Self.records.prefix(last))
            for length in 0..<line.count {
                try Data(whole + line.prefix(length)).write(to: Self.file(folder))
                #expect(try MigrationJournal.history(folder: folder.path) == expected)
                let journal = try MigrationJournal(folder: folder.path)
                #expect(journal.history == expected)
                #expect(try Data(contentsOf: Self.file(folder)) == Data(whole))
                try journal.append(Self.records[last].entry, time: JournalSamples.time)
                #expect(try Data(contentsOf: Self.file(folder)) == Data(whole + line))
            }
        }
    }

    @Test func `a last line whose content never reached the disk is cut off`() async throws {
        try await withTemporaryDirectory { folder in
            let whole = try Self.records.prefix(3).flatMap { try $0.line }
            try Data(whole + [UInt8](repeating: 0, count: 40) + [UInt8(ascii: "\n")]).write(to: Self.file(folder))
            _ = try MigrationJournal(folder: folder.path)
            #expect(try Data(contentsOf: Self.file(folder)) == Data(whole))
        }
    }

    @Test(arguments: [
        ("no json", "it is not JSON"),
        (
            #"{"kind":"merged","time":"x"}"#,
            "a record of the kind 'merged' is not known to this version of dynamo-launch"
        ),
        (#"{"time":"x"}"#, "it has no 'kind'"),
        (#"{"kind":"step","time":"x","migration":"1","stage":0,"step":"canary"}"#, "its 'migration' has another type"),
        (#"{"kind":"step","time":"x","migration":1,"stage":0,"step":"dancing"}"#, "its 'step' is not known"),
        (
            #"{"kind":"step","time":"x","migration":4,"stage":0,"step":"canary"}"#,
            "a step of migration 4, which is not under way"
        ),
        ("[1]", "its content has another type"),
    ])
    func `a line that cannot be used is named`(line: String, reason: String) async throws {
        try await withTemporaryDirectory { folder in
            let content =
                try Self.records.prefix(2).flatMap { try $0.line } + Array("\(line)\n".utf8) + Self.records[2].line
            try Data(content).write(to: Self.file(folder))
            let error = #expect(throws: MigrationJournalError.self) { try MigrationJournal(folder: folder.path) }
            #expect(error?.path == Self.file(folder).path)
            #expect(error?.reason.hasPrefix("line 3 cannot be used: \(reason)") == true, "\(String(describing: error))")
            #expect(try Data(contentsOf: Self.file(folder)) == Data(content), "nothing is changed")
        }
    }

    @Test func `a record of a later version is not taken for a torn one`() async throws {
        try await withTemporaryDirectory { folder in
            try Data("{\"kind\":\"merged\",\"time\":\"x\"}\n".utf8).write(to: Self.file(folder))
            #expect(throws: MigrationJournalError.self) { try MigrationJournal(folder: folder.path) }
        }
    }

    @Test func `a record that cannot follow is not written`() async throws {
        try await withTemporaryDirectory { folder in
            let journal = try MigrationJournal(folder: folder.path)
            let error = #expect(throws: MigrationJournalError.self) {
                try journal.append(.step(.rollingBack, stage: 0, migration: 1))
            }
            #expect(error?.reason == "a step of migration 1, which is not under way")
            #expect(try Data(contentsOf: Self.file(folder)).isEmpty)
        }
    }

    @Test func `a full disk leaves the journal as it was, and later records go on`() async throws {
        try await withTemporaryDirectory { folder in
            try Self.fill(folder, Self.records.prefix(2))
            let before = try Data(contentsOf: Self.file(folder))
            let journal = try MigrationJournal(folder: folder.path)
            let history = journal.history
            for room in [0, 1, 20] {
                let error = try #require(
                    Self.withFilesLimited(to: before.count + room) { () -> MigrationJournalError? in
                        do throws(MigrationJournalError) {
                            try journal.append(Self.records[2].entry, time: JournalSamples.time)
                            return nil
                        } catch {
                            return error
                        }
                    }
                )
                #expect(error.path == Self.file(folder).path)
                #expect(error.reason == "cannot be written: File too large; make room on its file system")
                #expect(try Data(contentsOf: Self.file(folder)) == before)
                #expect(journal.history == history)
            }
            try journal.append(Self.records[2].entry, time: JournalSamples.time)
            #expect(try MigrationJournal(folder: folder.path).history == JournalSamples.history(Self.records.prefix(3)))
        }
    }

    @Test(arguments: [false, true])
    func `a journal that is deleted is made anew with its whole history, and says so once`(
        withFolder: Bool
    ) async throws {
        try await withTemporaryDirectory { directory in
            let folder = directory.appending(path: "state")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let journal = try MigrationJournal(folder: folder.path)
            for record in Self.records.prefix(3) { try journal.append(record.entry, time: JournalSamples.time) }
            #expect(journal.takeNotice() == nil)
            try FileManager.default.removeItem(at: withFolder ? folder : Self.file(folder))
            for record in Self.records[3...4] { try journal.append(record.entry, time: JournalSamples.time) }
            #expect(
                try Data(contentsOf: Self.file(folder)) == Data(try Self.records.prefix(5).flatMap { try $0.line })
            )
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [MigrationJournal.fileName])
            #expect(try MigrationJournal.history(folder: folder.path) == journal.history)
            #expect(
                journal.takeNotice()
                    == "the migration journal \(journal.path) had been deleted; it was made anew, with its whole history"
            )
            #expect(journal.takeNotice() == nil)
        }
    }

    @Test func `a deleted journal that cannot be made anew takes no record, and goes on when it can`() async throws {
        try await withTemporaryDirectory { directory in
            let folder = directory.appending(path: "state")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let journal = try MigrationJournal(folder: folder.path)
            for record in Self.records.prefix(2) { try journal.append(record.entry, time: JournalSamples.time) }
            let history = journal.history
            try FileManager.default.removeItem(at: folder)
            try Data().write(to: folder)
            let error = #expect(throws: MigrationJournalError.self) { try journal.append(Self.records[2].entry) }
            #expect(
                error?.reason.contains("cannot create the folder \(folder.path)") == true,
                "\(String(describing: error))"
            )
            #expect(journal.history == history && journal.takeNotice() == nil)
            try FileManager.default.removeItem(at: folder)
            try journal.append(Self.records[2].entry, time: JournalSamples.time)
            #expect(try MigrationJournal.history(folder: folder.path) == JournalSamples.history(Self.records.prefix(3)))
        }
    }

    /// Runs a body while no file of this process may grow beyond a size: what a full disk does, without one.
    private static func withFilesLimited<Value>(to bytes: Int, _ body: () -> Value) -> Value {
        var before = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before)
        let handler = signal(SIGXFSZ, SIG_IGN)
        var limited = before
        limited.rlim_cur = rlim_t(bytes)
        setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limited)
        defer {
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before)
            signal(SIGXFSZ, handler)
        }
        return body()
    }

    @Test func `what is no file, or has no folder, is said`() async throws {
        try await withTemporaryDirectory { folder in
            let missing = #expect(throws: MigrationJournalError.self) {
                try MigrationJournal(folder: folder.path + "/none")
            }
            #expect(
                missing?.description
                    == "the migration journal \(folder.path)/none/migrations.journal: cannot be opened: "
                    + "No such file or directory"
            )
            try FileManager.default.createSymbolicLink(
                at: Self.file(folder),
                withDestinationURL: URL(filePath: "/dev/full")
            )
            let full = #expect(throws: MigrationJournalError.self) { try MigrationJournal(folder: folder.path) }
            #expect(full?.reason == "it is not a regular file")
        }
    }

    @Test(arguments: [100, 101, 113])
    func `a long journal is shortened when it is opened, and means the same`(count: Int) async throws {
        try await withTemporaryDirectory { folder in
            var records: [JournalRecord] = []
            var current = 1
            for migration in 1...count {
                let began = JournalSamples.began(migration, from: current, to: migration + 1)
                // Every third is taken back, and the end of every seventh could not be written, nor that it goes back. With 113
                // the last one that is left out is such a one.
                var walk =
                    migration.isMultiple(of: 3)
                    ? JournalSamples.walkBack(began, from: .warm) : JournalSamples.walk(began)
                if migration.isMultiple(of: 7) { walk.removeLast(migration.isMultiple(of: 3) ? 2 : 1) }
                records += walk
                if !migration.isMultiple(of: 3) { current = migration + 1 }
            }
            try Self.fill(folder, records)
            let whole = try JournalSamples.history(records)
            #expect(whole.records.count == count)
            let short = try MigrationJournal(folder: folder.path)
            let kept = count > 100 ? 50 : count
            for history in [short.history, try MigrationJournal.history(folder: folder.path)] {
                #expect(history.current == whole.current && history.unfinished == whole.unfinished)
                #expect(history.nextMigration == whole.nextMigration && history.nextGeneration == whole.nextGeneration)
                #expect(history.records.suffix(kept) == whole.records.suffix(kept))
            }
            #expect(try MigrationJournal(folder: folder.path).history.records.count == kept)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [MigrationJournal.fileName])
            // It goes on in the new file.
            let next = JournalSamples.began(count + 1, from: current, to: count + 2)
            for record in JournalSamples.walk(next) { try short.append(record.entry) }
            #expect(try MigrationJournal(folder: folder.path).history.current.number == count + 2)
        }
    }
}
