import Deployment
import Foundation
import Supervisor

@testable import Rollout

/// Journals as migrations write them.
enum JournalSamples {
    static let base = GenerationSource(manifestPath: "/etc/chat.yaml", manifestText: "name: chat\n# ☃\n")
    static let time = LogTime(milliseconds: 1_800_000_000_123)

    static func source(_ plane: String) -> GenerationSource {
        var source = Self.base
        source.requestPlane = plane
        source.overrides = ["processes.worker.replicas=2"]
        source.arguments = ["--flag", "a \"b\"\n"]
        return source
    }

    static func began(
        _ migration: Int = 1,
        from: Int = 1,
        to: Int = 2,
        strategy: MigrationSettings.Strategy = .blueGreen
    ) -> JournalRecord.Began {
        JournalRecord.Began(
            migration: migration,
            fromNumber: from,
            toNumber: to,
            from: "\(from) (tcp)",
            to: "\(to) (nats)",
            strategy: strategy,
            source: Self.source("nats"),
            base: Self.base
        )
    }

    /// The records of a migration that goes well, by the machine's own walk.
    static func walk(_ began: JournalRecord.Began, stages: Int = 2) -> [JournalRecord] {
        let machine = MigrationMachine(strategy: began.strategy, stages: stages, asksPerson: true, keepsWarm: true)
        return [JournalRecord(.began(began), time: Self.time)]
            + machine.remaining.map { position in
                JournalRecord(
                    position.step.isEnd
                        ? .ended(position.step, reason: nil, migration: began.migration)
                        : .step(position.step, stage: position.stage, migration: began.migration),
                    time: Self.time
                )
            }
    }

    /// The records of one that is taken back from a step.
    static func walkBack(_ began: JournalRecord.Began, from step: MigrationStep) -> [JournalRecord] {
        var records: [JournalRecord] = []
        for record in Self.walk(began) {
            records.append(record)
            if case .step(step, _, _) = record.entry { break }
        }
        records.append(JournalRecord(.step(.rollingBack, stage: 0, migration: began.migration), time: Self.time))
        let end = JournalRecord.Entry.ended(.rolledBack, reason: "broken", migration: began.migration)
        return records + [JournalRecord(end, time: Self.time)]
    }

    static func history(_ records: some Sequence<JournalRecord>) throws -> MigrationHistory {
        var history = MigrationHistory()
        for record in records { try history.add(record) }
        return history
    }
}
