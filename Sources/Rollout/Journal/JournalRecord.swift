package import Deployment
internal import FoundationEssentials
package import Supervisor

/// One line of the migration journal.
package struct JournalRecord: Sendable, Hashable {
    /// What a line says.
    package enum Entry: Sendable, Hashable {
        case began(Began)
        /// A step is about to be done; written and on the disk before anything of it is.
        case step(MigrationStep, stage: Int, migration: Int)
        /// A person has begun a pause, or it is over.
        case paused(Bool, migration: Int)
        /// Closes a migration; the step is one of the three ends.
        case ended(MigrationStep, reason: String?, migration: Int)
        /// The manifest of the current generation was changed while it ran: source and base are these from now on.
        case applied(Applied)
        /// The user's manifest has changed: the generation that was migrated to is not started any more.
        case forgot(generation: Int)
        /// Stands for all that was before; the first line of a file that was shortened.
        case summary(Summary)
    }

    /// A migration that begins.
    package struct Began: Sendable, Hashable, Codable {
        package var migration: Int
        package var fromNumber: Int
        package var toNumber: Int
        /// In words, such as `1 (tcp)`.
        package var from: String
        package var to: String
        package var strategy: MigrationSettings.Strategy
        /// What the new generation is planned from.
        package var source: GenerationSource
        /// What `up` was called with.
        package var base: GenerationSource
        /// What the old generation is planned from; like the next two nil in journals of earlier versions.
        package var fromSource: GenerationSource?
        /// How it is done.
        package var settings: MigrationSettings?
        /// Whether a person is asked before clients reach the new generation.
        package var asksPerson: Bool?

        package init(
            migration: Int,
            fromNumber: Int,
            toNumber: Int,
            from: String,
            to: String,
            strategy: MigrationSettings.Strategy,
            source: GenerationSource,
            base: GenerationSource,
            fromSource: GenerationSource? = nil,
            settings: MigrationSettings? = nil,
            asksPerson: Bool? = nil
        ) {
            self.migration = migration
            self.fromNumber = fromNumber
            self.toNumber = toNumber
            self.from = from
            self.to = to
            self.strategy = strategy
            self.source = source
            self.base = base
            self.fromSource = fromSource
            self.settings = settings
            self.asksPerson = asksPerson
        }
    }

    /// A generation that was changed to what its manifest says now.
    package struct Applied: Sendable, Hashable, Codable {
        package var generation: Int
        /// What it is planned from.
        package var source: GenerationSource
        /// What `up` would be called with.
        package var base: GenerationSource

        package init(generation: Int, source: GenerationSource, base: GenerationSource) {
            self.generation = generation
            self.source = source
            self.base = base
        }
    }

    /// What is left of records that were dropped.
    package struct Summary: Sendable, Hashable, Codable {
        package var current: MigrationHistory.Current
        package var nextMigration: Int
        package var nextGeneration: Int
    }

    /// When it was written.
    package var time: String
    package var entry: Entry

    /// A record.
    ///
    /// - Parameters:
    ///   - entry: what it says.
    ///   - time: when it is written.
    package init(_ entry: Entry, time: LogTime = .now) {
        self.entry = entry
        self.time = time.description
    }
}

extension JournalRecord: Codable {
    private enum Key: String, CodingKey {
        case kind, time, migration, step, stage, reason, generation, isPaused
    }

    private enum Kind: String, CaseIterable {
        case began, step, paused, ended, applied, forgot, summary
    }

    /// A record of a kind that is not known here.
    struct UnknownKind: Error {
        var kind: String
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        let name = try values.decode(String.self, forKey: .kind)
        guard let kind = Kind(rawValue: name) else { throw UnknownKind(kind: name) }
        self.time = try values.decode(String.self, forKey: .time)
        switch kind {
        case .began:
            self.entry = .began(try Began(from: decoder))
        case .step:
            self.entry = .step(
                try values.decode(MigrationStep.self, forKey: .step),
                stage: try values.decode(Int.self, forKey: .stage),
                migration: try values.decode(Int.self, forKey: .migration)
            )
        case .paused:
            self.entry = .paused(
                try values.decode(Bool.self, forKey: .isPaused),
                migration: try values.decode(Int.self, forKey: .migration)
            )
        case .ended:
            self.entry = .ended(
                try values.decode(MigrationStep.self, forKey: .step),
                reason: try values.decodeIfPresent(String.self, forKey: .reason),
                migration: try values.decode(Int.self, forKey: .migration)
            )
        case .applied:
            self.entry = .applied(try Applied(from: decoder))
        case .forgot:
            self.entry = .forgot(generation: try values.decode(Int.self, forKey: .generation))
        case .summary:
            self.entry = .summary(try Summary(from: decoder))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        try values.encode(self.time, forKey: .time)
        func encode(_ kind: Kind) throws { try values.encode(kind.rawValue, forKey: .kind) }
        switch self.entry {
        case .began(let began):
            try encode(.began)
            try began.encode(to: encoder)
        case .step(let step, let stage, let migration):
            try encode(.step)
            try values.encode(step, forKey: .step)
            try values.encode(stage, forKey: .stage)
            try values.encode(migration, forKey: .migration)
        case .paused(let isPaused, let migration):
            try encode(.paused)
            try values.encode(isPaused, forKey: .isPaused)
            try values.encode(migration, forKey: .migration)
        case .ended(let step, let reason, let migration):
            try encode(.ended)
            try values.encode(step, forKey: .step)
            try values.encodeIfPresent(reason, forKey: .reason)
            try values.encode(migration, forKey: .migration)
        case .applied(let applied):
            try encode(.applied)
            try applied.encode(to: encoder)
        case .forgot(let generation):
            try encode(.forgot)
            try values.encode(generation, forKey: .generation)
        case .summary(let summary):
            try encode(.summary)
            try summary.encode(to: encoder)
        }
    }
}

extension JournalRecord {
    /// Why a line is no record.
    enum LineError: Error, Hashable {
        /// Not even JSON: the line was written in part, or somebody else wrote it.
        case notJSON
        /// JSON that is no record of this version.
        case unreadable(String)
    }

    /// The record as a line, with the newline.
    var line: [UInt8] {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return Array(try encoder.encode(self)) + [UInt8(ascii: "\n")]
        }
    }

    /// Reads a line.
    ///
    /// - Parameter line: without its newline.
    /// - Throws: `LineError`.
    init(line: some Collection<UInt8>) throws(LineError) {
        let data = Data(line)
        do {
            self = try JSONDecoder().decode(JournalRecord.self, from: data)
        } catch let error as UnknownKind {
            throw .unreadable(
                "a record of the kind '\(error.kind)' is not known to this version of dynamo-launch; use the later version "
                    + "that wrote it"
            )
        } catch DecodingError.keyNotFound(let key, _) {
            throw .unreadable("it has no '\(key.stringValue)'")
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
            throw .unreadable("its \(Self.place(context)) has another type")
        } catch DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty {
            throw .unreadable("its \(Self.place(context)) is not known to this version of dynamo-launch")
        } catch {
            throw .notJSON
        }
    }

    private static func place(_ context: DecodingError.Context) -> String {
        context.codingPath.isEmpty ? "content" : "'\(context.codingPath.map(\.stringValue).joined(separator: "."))'"
    }
}
