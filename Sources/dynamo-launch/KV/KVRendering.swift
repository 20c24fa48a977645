/// `kv` for people: two lines about the plane and a table of the workers' ranks.
enum KVRendering {
    static func text(_ report: KVReport) -> String {
        let workers = Set(report.ranks.map { [$0.component, $0.worker] }).count
        var lines = [
            "\(report.deployment): KV events on \(report.plane), \(self.count(workers, "worker")), "
                + "\(self.count(report.ranks.count, "rank")), \(report.isCaughtUp ? "caught up" : "catching up")",
            "index: \(self.count(report.index.blocks, "block")), \(self.count(report.index.nodes, "node")), "
                + "\(self.memory(report.index.bytes)); \(self.rate(report.eventsPerSecond)) events/s, "
                + "\(self.count(report.gaps, "gap")), "
                + (report.recoveries == 1 ? "1 recovery" : "\(report.recoveries) recoveries"),
            "",
        ]
        let head = [
            "COMPONENT", "WORKER", "PROCESS", "RANK", "EVENTS/S", "EVENTS", "BLOCKS", "GAPS", "RECOVERIES", "NOTE",
        ]
        lines += StatusRendering.table([head] + report.ranks.map(self.row))
        return lines.joined(separator: "\n")
    }

    private static func row(_ rank: KVReport.Rank) -> [String] {
        [
            rank.component, rank.worker, rank.process ?? "-", "\(rank.rank)", self.rate(rank.eventsPerSecond),
            "\(rank.events)", "\(rank.blocks)", "\(rank.gaps)", "\(rank.recoveries)", self.note(rank),
        ]
    }

    private static func note(_ rank: KVReport.Rank) -> String {
        if !rank.isRegistered { return "not in discovery: routers do not count it" }
        if rank.isRecovering { return "is being asked what it holds" }
        return rank.failures > 0 ? "gave no answer \(rank.failures == 1 ? "once" : "\(rank.failures) times")" : ""
    }

    private static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

    /// One digit after the point, none from 100 on.
    static func rate(_ number: Double) -> String {
        guard number < 100 else { return "\(Int(number.rounded()))" }
        let tenths = Int((number * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// `812 B`, `4.2 kB`, `120 MB`.
    static func memory(_ bytes: Int) -> String {
        switch bytes {
        case ..<1000: "\(bytes) B"
        case ..<1_000_000: "\(self.rate(Double(bytes) / 1e3)) kB"
        case ..<1_000_000_000: "\(self.rate(Double(bytes) / 1e6)) MB"
        default: "\(self.rate(Double(bytes) / 1e9)) GB"
        }
    }
}
