/// How a stream is kept; of JetStream's settings those that Dynamo and its object store use.
package struct StreamConfiguration: Sendable, Hashable, Codable {
    package var name: String
    package var subjects: [String]
    package var storage: Storage
    package var retention: Retention
    /// What happens at a limit.
    package var discard: Discard
    /// How old messages get, in nanoseconds; 0 is without limit.
    private var maximumAge: Int64
    /// Messages that are kept; 0 or less is without limit.
    package var maximumMessages: Int64
    /// Bytes that are kept; 0 or less is without limit.
    package var maximumBytes: Int64
    /// Messages that are kept of one subject; 0 or less is without limit.
    package var maximumMessagesPerSubject: Int64
    /// Copies in a cluster; 0 counts as 1.
    package var replicas: Int
    /// Whether a message may replace all older ones of its subject.
    package var allowsRollup: Bool
    /// Whether messages can be read without the stream's leader.
    package var allowsDirect: Bool

    package enum Storage: String, Sendable, Hashable, Codable { case file, memory }
    package enum Retention: String, Sendable, Hashable, Codable { case limits, interest, workqueue }
    package enum Discard: String, Sendable, Hashable, Codable { case old, new }

    /// How old messages get; zero is without limit.
    package var age: Duration {
        get { .nanoseconds(self.maximumAge) }
        set { self.maximumAge = newValue.nanoseconds }
    }

    package init(
        name: String,
        subjects: [String],
        storage: Storage = .file,
        retention: Retention = .limits,
        discard: Discard = .old,
        age: Duration = .zero
    ) {
        self.name = name
        self.subjects = subjects
        self.storage = storage
        self.retention = retention
        self.discard = discard
        self.maximumAge = age.nanoseconds
        self.maximumMessages = 0
        self.maximumBytes = 0
        self.maximumMessagesPerSubject = 0
        self.replicas = 0
        self.allowsRollup = false
        self.allowsDirect = false
    }

    private enum CodingKeys: String, CodingKey {
        case name, subjects, storage, retention, discard
        case maximumAge = "max_age"
        case maximumMessages = "max_msgs"
        case maximumBytes = "max_bytes"
        case maximumMessagesPerSubject = "max_msgs_per_subject"
        case replicas = "num_replicas"
        case allowsRollup = "allow_rollup_hdrs"
        case allowsDirect = "allow_direct"
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.name = try values.decode(String.self, forKey: .name)
        self.subjects = try values.decodeIfPresent([String].self, forKey: .subjects) ?? []
        self.storage = try values.decode(Storage.self, forKey: .storage)
        self.retention = try values.decode(Retention.self, forKey: .retention)
        self.discard = try values.decodeIfPresent(Discard.self, forKey: .discard) ?? .old
        self.maximumAge = try values.decodeIfPresent(Int64.self, forKey: .maximumAge) ?? 0
        self.maximumMessages = try values.decodeIfPresent(Int64.self, forKey: .maximumMessages) ?? 0
        self.maximumBytes = try values.decodeIfPresent(Int64.self, forKey: .maximumBytes) ?? 0
        self.maximumMessagesPerSubject =
            try values.decodeIfPresent(Int64.self, forKey: .maximumMessagesPerSubject) ?? 0
        self.replicas = try values.decodeIfPresent(Int.self, forKey: .replicas) ?? 0
        self.allowsRollup = try values.decodeIfPresent(Bool.self, forKey: .allowsRollup) ?? false
        self.allowsDirect = try values.decodeIfPresent(Bool.self, forKey: .allowsDirect) ?? false
    }

    /// What another configuration has differently, in the server's words; empty when it means the same.
    package func differences(from other: StreamConfiguration) -> [String] {
        func limit(_ value: Int64) -> Int64 { max(value, 0) }
        func line<Value: Equatable>(_ name: CodingKeys, _ mine: Value, _ theirs: Value) -> String? {
            mine == theirs ? nil : "\(name.rawValue) is \(theirs), not \(mine)"
        }
        return [
            line(.subjects, self.subjects.sorted(), other.subjects.sorted()),
            line(.storage, self.storage, other.storage),
            line(.retention, self.retention, other.retention),
            line(.discard, self.discard, other.discard),
            line(.maximumAge, self.maximumAge, other.maximumAge),
            line(.maximumMessages, limit(self.maximumMessages), limit(other.maximumMessages)),
            line(.maximumBytes, limit(self.maximumBytes), limit(other.maximumBytes)),
            line(
                .maximumMessagesPerSubject,
                limit(self.maximumMessagesPerSubject),
                limit(other.maximumMessagesPerSubject)
            ),
            line(.replicas, max(self.replicas, 1), max(other.replicas, 1)),
            line(.allowsRollup, self.allowsRollup, other.allowsRollup),
            line(.allowsDirect, self.allowsDirect, other.allowsDirect),
        ].compactMap { $0 }
    }
}
