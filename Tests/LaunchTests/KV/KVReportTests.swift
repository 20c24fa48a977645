import Foundation
import Testing

@testable import dynamo_launch

/// What `kv` prints, from reports that were made by hand.
@Suite struct KVReportTests {
    static func rank(_ worker: String, _ rank: UInt32, events: Int, blocks: Int) -> KVReport.Rank {
        KVReport.Rank(
            component: "backend",
            worker: worker,
            process: "worker-1",
            rank: rank,
            eventsPerSecond: 0,
            events: events,
            blocks: blocks,
            gaps: 0,
            recoveries: 1,
            failures: 0,
            isRegistered: true,
            isRecovering: false
        )
    }

    static func report(_ time: Double, _ ranks: [KVReport.Rank]) -> KVReport {
        KVReport(
            time: time,
            deployment: "chat",
            plane: "nats-core",
            isCaughtUp: true,
            eventsPerSecond: 0,
            index: KVReport.Index(blocks: ranks.reduce(0) { $0 + $1.blocks }, nodes: 9, bytes: 4321),
            ranks: ranks
        )
    }

    @Test func `rates are events by time, for each rank and together, also of one that counts anew`() {
        let earlier = Self.report(
            10,
            [Self.rank("a", 0, events: 100, blocks: 0), Self.rank("a", 1, events: 7, blocks: 0)]
        )
        var later = Self.report(
            12,
            [
                Self.rank("a", 0, events: 150, blocks: 0), Self.rank("a", 1, events: 3, blocks: 0),
                Self.rank("b", 0, events: 8, blocks: 0),
            ]
        )
        later.rate(since: earlier)
        #expect(later.ranks.map(\.eventsPerSecond) == [25, 1.5, 4])
        #expect(later.eventsPerSecond == 30.5)
    }

    @Test func `no time between two reports gives no rate`() {
        var report = Self.report(10, [Self.rank("a", 0, events: 5, blocks: 0)])
        report.rate(since: Self.report(10, []))
        #expect(report.eventsPerSecond == 0)
    }

    @Test func `the table is aligned and has a line for each rank`() {
        var ranks = [Self.rank("1a", 0, events: 1200, blocks: 7), Self.rank("1a", 1, events: 3, blocks: 12)]
        ranks[1].process = nil
        ranks[1].isRegistered = false
        #expect(
            KVRendering.text(Self.report(1, ranks)) == """
                chat: KV events on nats-core, 1 worker, 2 ranks, caught up
                index: 19 blocks, 9 nodes, 4.3 kB; 0.0 events/s, 0 gaps, 2 recoveries

                COMPONENT  WORKER  PROCESS   RANK  EVENTS/S  EVENTS  BLOCKS  GAPS  RECOVERIES  NOTE
                backend    1a      worker-1  0     0.0       1200    7       0     1
                backend    1a      -         1     0.0       3       12      0     1           not in discovery: routers do not count it
                """
        )
    }

    @Test(arguments: [(812, "812 B"), (4321, "4.3 kB"), (120_400_000, "120 MB"), (1_500_000_000, "1.5 GB")])
    func `memory is rounded`(bytes: Int, text: String) {
        #expect(KVRendering.memory(bytes) == text)
    }

    @Test func `JSON is one line with the documented fields`() throws {
        let line = try JSONText.line(Self.report(1, [Self.rank("1a", 0, events: 1, blocks: 7)]))
        #expect(!line.contains("\n"))
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        #expect(
            Set(object.keys) == [
                "time", "deployment", "plane", "isCaughtUp", "eventsPerSecond", "index", "gaps", "recoveries", "ranks",
            ]
        )
        let rank = try #require((object["ranks"] as? [[String: Any]])?.first)
        #expect(rank["worker"] as? String == "1a")
        #expect(rank["blocks"] as? Int == 7)
        #expect((object["index"] as? [String: Int]) == ["blocks": 7, "nodes": 9, "bytes": 4321])
    }
}
