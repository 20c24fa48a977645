internal import Glibc
package import Supervisor
internal import Synchronization

/// The journal could not be read or written.
package struct MigrationJournalError: Error, Sendable, Hashable, CustomStringConvertible {
    package var path: String
    package var reason: String

    package var description: String { "the migration journal \(self.path): \(self.reason)" }
}

/// What migrations are about to do, on the disk before they do it: lines of JSON, which only the deployment's owner may read.
///
/// `append` returns when the record is on the disk. It blocks for as long as the disk needs, so it must not be called on an
/// event loop. The deployment's lock keeps two launchers from writing to the same file.
package final class MigrationJournal: Sendable {
    /// In the deployment's state folder.
    package static let fileName = "migrations.journal"
    /// With more migrations than this the file is shortened when it is opened.
    package static let mostMigrations = 100
    /// So many are left then.
    package static let migrationsKept = 50

    package let path: String
    private let file: Mutex<JournalFile>
    private let folded: Mutex<MigrationHistory>

    /// Opens the journal of a deployment, or makes an empty one.
    ///
    /// A last line that was not written completely is cut off: nothing of what it says was done.
    ///
    /// - Parameter folder: the deployment's state folder, which must exist.
    /// - Throws: `MigrationJournalError` when it cannot be opened or read, or a line of it cannot be understood.
    package init(folder: String) throws(MigrationJournalError) {
        let path = "\(folder)/\(Self.fileName)"
        var file = try JournalFile.open(folder: folder, name: Self.fileName)
        let content = try JournalContent(bytes: try file.read(), path: path)
        try file.cut(to: content.length)
        if content.migrations > Self.mostMigrations, let short = content.shortened(to: Self.migrationsKept) {
            // A full disk is no reason not to go on with the long file.
            try? file.replace(by: short)
        }
        self.path = path
        self.file = Mutex(file)
        self.folded = Mutex(content.history)
    }

    /// What a deployment's journal comes to; nothing is opened for writing, made or cut off.
    ///
    /// - Parameter folder: the deployment's state folder. Without a journal the history is empty.
    /// - Returns: the history.
    /// - Throws: `MigrationJournalError` when it cannot be read or a line of it cannot be understood.
    package static func history(folder: String) throws(MigrationJournalError) -> MigrationHistory {
        let path = "\(folder)/\(Self.fileName)"
        guard access(path, F_OK) == 0 || errno != ENOENT else { return MigrationHistory() }
        let file = try JournalFile.openForReading(path: path)
        return try JournalContent(bytes: try file.read(), path: path).history
    }

    /// What all records come to.
    package var history: MigrationHistory { self.folded.withLock { $0 } }

    /// Writes a record and waits until it is on the disk.
    ///
    /// It blocks meanwhile.
    ///
    /// - Parameters:
    ///   - entry: what it says.
    ///   - time: when it happens.
    /// - Throws: `MigrationJournalError` when it could not be written, or cannot follow what is there. The file is then as
    ///   it was.
    package func append(_ entry: JournalRecord.Entry, time: LogTime = .now) throws(MigrationJournalError) {
        let record = JournalRecord(entry, time: time)
        let result = self.file.withLock { file -> Result<Void, MigrationJournalError> in
            var history = self.history
            do {
                try history.add(record)
                try file.append(try record.line)
            } catch let error as MigrationJournalError {
                return .failure(error)
            } catch {
                return .failure(MigrationJournalError(path: self.path, reason: "\(error)"))
            }
            self.folded.withLock { $0 = history }
            return .success(())
        }
        try result.get()
    }

    /// What people should know of the file since the last call: that somebody had deleted it.
    ///
    /// - Returns: a sentence without a full stop.
    package func takeNotice() -> String? {
        guard self.file.withLock({ $0.takeWasMadeAnew() }) else { return nil }
        return "the migration journal \(self.path) had been deleted; it was made anew, with its whole history"
    }
}

/// The records of a journal's bytes.
struct JournalContent {
    private(set) var history = MigrationHistory()
    /// So many bytes are complete records.
    private(set) var length = 0
    private var records: [JournalRecord] = []

    var migrations: Int {
        self.records.count { if case .began = $0.entry { true } else { false } }
    }

    init(bytes: [UInt8], path: String) throws(MigrationJournalError) {
        var number = 0
        while let end = bytes[self.length...].firstIndex(of: UInt8(ascii: "\n")) {
            number += 1
            do {
                let record = try JournalRecord(line: bytes[self.length..<end])
                try self.history.add(record)
                self.records.append(record)
            } catch JournalRecord.LineError.notJSON where end + 1 == bytes.count {
                // A machine that lost its power may leave a line of the right length without its content.
                return
            } catch {
                let reason =
                    switch error {
                    case JournalRecord.LineError.notJSON: "it is not JSON"
                    case JournalRecord.LineError.unreadable(let reason): reason
                    default: "\(error)"
                    }
                throw MigrationJournalError(
                    path: path,
                    reason:
                        "line \(number) cannot be used: \(reason); move the file away to start the deployment as its manifest says "
                        + "(what it was migrated to is forgotten then), or put a whole copy of it in place"
                )
            }
            self.length = end + 1
        }
    }

    /// The same without all but the last migrations, as bytes; nil when there is nothing to leave out.
    func shortened(to kept: Int) -> [UInt8]? {
        let begins = self.records.indices.filter { if case .began = self.records[$0].entry { true } else { false } }
        guard begins.count > kept, case .began(let began) = self.records[begins[begins.count - kept]].entry else {
            return nil
        }
        let first = begins[begins.count - kept]
        do {
            var before = MigrationHistory()
            for record in self.records[..<first] { try before.add(record) }
            before.closeBefore(began, time: self.records[first].time)
            let summary = JournalRecord.Summary(
                current: before.current,
                nextMigration: before.nextMigration,
                nextGeneration: before.nextGeneration
            )
            var record = self.records[first]
            record.entry = .summary(summary)
            return try ([record] + self.records[first...]).flatMap { try $0.line }
        } catch {
            return nil
        }
    }
}
