/// What `kv` shows of the KV event plane at one moment; also its JSON.
struct KVReport: Encodable, Hashable {
    /// One data-parallel rank of a worker.
    struct Rank: Encodable, Hashable {
        var component: String
        /// The instance id in discovery, hexadecimal.
        var worker: String
        /// The replica of the deployment; nil when it does not say.
        var process: String?
        var rank: UInt32
        var eventsPerSecond: Double
        /// Live events since this command listens.
        var events: Int
        /// Blocks that the rank holds.
        var blocks: Int
        var gaps: Int
        /// Answers that brought the rank up to date, the first one included.
        var recoveries: Int
        /// Questions that were given up after all attempts.
        var failures: Int
        /// Whether discovery has the rank's query endpoint; routers drop events of a rank that they do not know.
        var isRegistered: Bool
        var isRecovering: Bool
    }

    /// Of this command: what a router that follows the same workers needs.
    struct Index: Encodable, Hashable {
        /// Blocks of all ranks together.
        var blocks: Int
        /// Blocks in their prefixes; those that several ranks share count once, or a few times.
        var nodes: Int
        /// Memory of the index, about.
        var bytes: Int
    }

    /// Unix seconds.
    var time: Double
    var deployment: String
    var plane: String
    /// Whether every worker that was found has told what it holds, or was given up.
    var isCaughtUp: Bool
    var eventsPerSecond: Double
    var index: Index
    var ranks: [Rank]

    var gaps: Int { self.ranks.reduce(0) { $0 + $1.gaps } }
    var recoveries: Int { self.ranks.reduce(0) { $0 + $1.recoveries } }

    /// Fills in the rates: events since an earlier report, by the time between.
    mutating func rate(since earlier: KVReport) {
        let seconds = self.time - earlier.time
        guard seconds > 0 else { return }
        let before = Dictionary(earlier.ranks.map { ($0.name, $0.events) }) { first, _ in first }
        for index in self.ranks.indices {
            let events = self.ranks[index].events
            let old = before[self.ranks[index].name] ?? 0
            // A worker that was registered anew is counted anew.
            self.ranks[index].eventsPerSecond = Double(events < old ? events : events - old) / seconds
        }
        self.eventsPerSecond = self.ranks.reduce(0) { $0 + $1.eventsPerSecond }
    }
}

extension KVReport.Rank {
    /// Tells it from all others.
    var name: [String] { [self.component, self.worker, "\(self.rank)"] }
}

extension KVReport {
    private enum CodingKeys: String, CodingKey {
        case time, deployment, plane, isCaughtUp, eventsPerSecond, index, gaps, recoveries, ranks
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(self.time, forKey: .time)
        try container.encode(self.deployment, forKey: .deployment)
        try container.encode(self.plane, forKey: .plane)
        try container.encode(self.isCaughtUp, forKey: .isCaughtUp)
        try container.encode(self.eventsPerSecond, forKey: .eventsPerSecond)
        try container.encode(self.index, forKey: .index)
        try container.encode(self.gaps, forKey: .gaps)
        try container.encode(self.recoveries, forKey: .recoveries)
        try container.encode(self.ranks, forKey: .ranks)
    }
}
