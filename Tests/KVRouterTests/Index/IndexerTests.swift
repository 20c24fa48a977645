import Testing

@testable import KVRouter

@Suite("Indexer")
struct IndexerTests {
    private let rank = WorkerRank(worker: 1)
    private var indexer = Indexer()

    private func query(_ number: UInt64, from: UInt64? = nil, rank: UInt32 = 0) -> IndexQuery {
        IndexQuery(rank: WorkerRank(worker: 1, rank: rank), from: from, number: number)
    }

    /// Live at event 1, with blocks 1 and 2.
    private mutating func goLive() {
        _ = self.indexer.found(self.rank)
        let dump = IndexAnswer.dump(events: [.stored(0, blocks(1, 2))], last: 1)
        #expect(self.indexer.answered(self.query(1), dump) == [.restore(self.rank)])
        #expect(self.indexer.restore(self.rank) == [.report(.recovered(self.rank, last: 1))])
    }

    @Test("a new endpoint is asked for everything, once")
    mutating func endpoint() {
        #expect(self.indexer.found(self.rank) == [.query(self.query(1), after: .zero)])
        #expect(self.indexer.found(self.rank).isEmpty)
        #expect(self.indexer.awaited == [self.rank])
        #expect(
            self.indexer.answered(self.query(1), .dump(events: [], last: 0)) == [
                .report(.recovered(self.rank, last: 0))
            ]
        )
        #expect(self.indexer.awaited.isEmpty)
        #expect(self.indexer.apply(.stored(1, blocks(1))).isEmpty)
        #expect(self.indexer.tree.blockCount == 1)
    }

    @Test("the first event without a restore is not applied but asks for everything")
    mutating func firstEvent() {
        #expect(self.indexer.apply(.stored(5, blocks(1))) == [.query(self.query(1), after: .zero)])
        #expect(self.indexer.tree.blockCount == 0)
        #expect(self.indexer.recovering == [self.rank])
    }

    @Test("the next id is applied, one not above the last is dropped")
    mutating func order() {
        self.goLive()
        #expect(self.indexer.apply(.stored(2, after: 2, blocks(3))).isEmpty)
        #expect(self.indexer.apply(.removed(2, 3)).isEmpty)
        #expect(self.indexer.apply(.removed(1, 3)).isEmpty)
        #expect(self.indexer.tree.matches(prompt(1, 2, 3)) == [self.rank: Overlap(device: 3)])
        #expect(self.indexer.counters.duplicates == 2)
    }

    @Test("a gap asks from the first missing id; its event comes with the answer")
    mutating func gap() {
        self.goLive()
        #expect(
            self.indexer.apply(.removed(4, 2)) == [
                .report(.gap(self.rank, missing: 2...3)), .query(self.query(2, from: 2), after: .zero),
            ]
        )
        #expect(self.indexer.tree.blockCount == 2)
        let tail = [RouterEvent.stored(2, after: 2, blocks(3)), .removed(3, 3), .removed(4, 2)]
        #expect(self.indexer.answered(self.query(2, from: 2), .events(tail, last: 4)) == [.restore(self.rank)])
        #expect(self.indexer.restore(self.rank) == [.report(.recovered(self.rank, last: 4))])
        #expect(self.indexer.tree.matches(prompt(1, 2, 3)) == [self.rank: Overlap(device: 1)])
        #expect(self.indexer.apply(.stored(5, after: 1, blocks(2))).isEmpty)
        #expect(self.indexer.counters.gaps == 1)
        #expect(self.indexer.counters.recoveries == 2)
    }

    @Test("while an answer is awaited events are held, and the missing tail is asked for afterwards")
    mutating func held() {
        _ = self.indexer.found(self.rank)
        #expect(self.indexer.apply(.stored(7, blocks(9))).isEmpty)
        #expect(self.indexer.apply(.stored(6, blocks(8))).isEmpty)
        let tail = self.indexer.answered(self.query(1), .dump(events: [], last: 5))
        #expect(tail == [.query(self.query(2, from: 6), after: .zero)])
        let events = [RouterEvent.stored(6, blocks(8)), .stored(7, blocks(9))]
        #expect(self.indexer.answered(self.query(2, from: 6), .events(events, last: 7)) == [.restore(self.rank)])
        #expect(self.indexer.restore(self.rank, blocks: 1) == [.restore(self.rank)])
        #expect(self.indexer.tree.blockCount == 1)
        #expect(self.indexer.restore(self.rank, blocks: 1) == [.report(.recovered(self.rank, last: 7))])
        #expect(self.indexer.tree.blockCount == 2)
        #expect(self.indexer.counters.held == 2)
    }

    @Test("a dump replaces what was there; a worker that never reaches an id is not asked for ever")
    mutating func replaced() {
        self.goLive()
        _ = self.indexer.apply(.stored(900, blocks(5)))
        let dump = IndexAnswer.dump(events: [.stored(0, blocks(3))], last: 1)
        #expect(self.indexer.answered(self.query(2, from: 2), dump) == [.restore(self.rank)])
        #expect(self.indexer.restore(self.rank) == [.report(.recovered(self.rank, last: 1))])
        #expect(self.indexer.tree.matches(prompt(1)).isEmpty)
        #expect(self.indexer.tree.matches(prompt(3)) == [self.rank: Overlap(device: 1)])
    }

    @Test("without ids in the answer, as 1.0.2 gives it, the next event is taken as it comes")
    mutating func unnumbered() {
        _ = self.indexer.found(self.rank)
        _ = self.indexer.answered(self.query(1), .dump(events: [.stored(0, blocks(1))], last: nil))
        #expect(self.indexer.restore(self.rank) == [.report(.recovered(self.rank, last: nil))])
        #expect(self.indexer.apply(.stored(41, after: 1, blocks(2))).isEmpty)
        #expect(self.indexer.apply(.stored(42, after: 2, blocks(3))).isEmpty)
        #expect(self.indexer.tree.blockCount == 3)
        #expect(self.indexer.apply(.stored(44, blocks(9))).count == 2)
    }

    @Test("cleared is always applied, empties all ranks, and makes the next event acceptable")
    mutating func cleared() {
        self.goLive()
        #expect(self.indexer.apply(.cleared(1)).isEmpty)
        #expect(self.indexer.tree.blockCount == 0)
        #expect(self.indexer.apply(.stored(2, blocks(1))).isEmpty)
        #expect(self.indexer.tree.blockCount == 1)
        // Of a worker without any endpoint, as its first event.
        #expect(self.indexer.apply(.cleared(1, worker: 2)).isEmpty)
        #expect(self.indexer.apply(.stored(2, worker: 2, blocks(1))).isEmpty)
        #expect(self.indexer.tree.blockCount == 2)
    }

    @Test("cleared of one rank empties the others too, which are asked what they really hold")
    mutating func clearedOfAnotherRank() {
        let other = WorkerRank(worker: 1, rank: 1)
        self.goLive()
        _ = self.indexer.found(other)
        let dump = IndexAnswer.dump(events: [.stored(0, rank: 1, blocks(7, 8))], last: 4)
        _ = self.indexer.answered(self.query(2, rank: 1), dump)
        _ = self.indexer.restore(other)
        #expect(self.indexer.tree.blockCounts == [self.rank: 2, other: 2])

        let again = self.query(3, rank: 1)
        #expect(self.indexer.apply(.cleared(2)) == [.query(again, after: .zero)])
        #expect(self.indexer.tree.blockCount == 0)
        // What it publishes meanwhile comes with the tail, though the answer is older.
        #expect(self.indexer.apply(.stored(5, rank: 1, after: 8, blocks(9))).isEmpty)
        _ = self.indexer.answered(again, dump)
        let tail = self.query(4, from: 5, rank: 1)
        #expect(self.indexer.restore(other).contains(.query(tail, after: .zero)))
        let events = IndexAnswer.events([.stored(5, rank: 1, after: 8, blocks(9))], last: 5)
        _ = self.indexer.answered(tail, events)
        _ = self.indexer.restore(other)
        #expect(self.indexer.tree.blockCounts == [other: 3])
        #expect(self.indexer.recovering.isEmpty)
    }

    @Test("cleared of one rank while another one's tail is awaited asks that one for everything")
    mutating func clearedWhileAnotherAsks() {
        let other = WorkerRank(worker: 1, rank: 1)
        self.goLive()
        _ = self.indexer.found(other)
        let dump = IndexAnswer.dump(events: [.stored(0, rank: 1, blocks(7))], last: 1)
        _ = self.indexer.answered(self.query(2, rank: 1), dump)
        _ = self.indexer.restore(other)
        _ = self.indexer.apply(.stored(4, rank: 1, after: 7, blocks(8)))
        #expect(self.indexer.apply(.cleared(2)) == [.query(self.query(4, rank: 1), after: .zero)])
        // One that is asked for everything already is not asked twice.
        #expect(self.indexer.apply(.cleared(3)).isEmpty)
    }

    @Test("a rank that is checked is asked for everything anew, and events meanwhile are not lost")
    mutating func check() {
        #expect(self.indexer.check(self.rank).isEmpty, "nobody to ask")
        self.goLive()
        #expect(self.indexer.check(self.rank) == [.query(self.query(2), after: .zero)])
        #expect(self.indexer.tree.blockCount == 2, "what is known stays until the answer")
        #expect(self.indexer.apply(.stored(2, after: 2, blocks(3))).isEmpty)
        // The answer is older than the event.
        let dump = IndexAnswer.dump(events: [.stored(0, blocks(1, 2))], last: 1)
        _ = self.indexer.answered(self.query(2), dump)
        let tail = self.query(3, from: 2)
        #expect(self.indexer.restore(self.rank).contains(.query(tail, after: .zero)))
        // Checked while that is awaited: the older answer does not count any more.
        #expect(self.indexer.check(self.rank) == [.query(self.query(4), after: .zero)])
        #expect(self.indexer.answered(tail, .tooNew(newest: 1)) == [.report(.late(tail))])
    }

    @Test("cleared ends an open question; what was held back above it is asked for")
    mutating func clearedWhileAsking() {
        _ = self.indexer.found(self.rank)
        #expect(self.indexer.apply(.cleared(3)).isEmpty)
        let late = IndexAnswer.dump(events: [.stored(0, blocks(1))], last: 2)
        #expect(self.indexer.answered(self.query(1), late) == [.report(.late(self.query(1)))])
        #expect(self.indexer.tree.blockCount == 0)
        _ = self.indexer.apply(.stored(9, blocks(1)))
        #expect(self.indexer.apply(.cleared(6)) == [.query(self.query(3, from: 7), after: .zero)])
    }

    @Test("a worker that counts anew is asked for everything")
    mutating func restarted() {
        self.goLive()
        _ = self.indexer.apply(.stored(5, blocks(1)))
        let actions = self.indexer.answered(self.query(2, from: 2), .tooNew(newest: 0))
        #expect(actions == [.report(.restarted(self.rank, newest: 0)), .query(self.query(3), after: .zero)])
    }

    @Test("an id that the worker does not have is asked for again, then left alone")
    mutating func bogus() {
        self.goLive()
        _ = self.indexer.apply(.stored(5, blocks(1)))
        let query = self.query(2, from: 2)
        for attempt in 1..<Indexer.attemptsAboutMissing {
            #expect(self.indexer.answered(query, .tooNew(newest: 1)).count == 2, "\(attempt)")
        }
        #expect(self.indexer.answered(query, .tooNew(newest: 1)) == [.report(.recovered(self.rank, last: 1))])
        #expect(self.indexer.tree.blockCount == 2)
        #expect(self.indexer.apply(.stored(2, after: 2, blocks(3))).isEmpty)
    }

    @Test("an invalid range, or a tail with a hole, is replaced by everything")
    mutating func holes() {
        self.goLive()
        _ = self.indexer.apply(.stored(5, blocks(1)))
        #expect(
            self.indexer.answered(self.query(2, from: 2), .invalidRange) == [.query(self.query(3), after: .zero)]
        )
        _ = self.indexer.answered(self.query(3), .dump(events: [], last: 5))
        _ = self.indexer.apply(.stored(9, blocks(1)))
        let tail = IndexAnswer.events([.stored(6, blocks(1)), .stored(9, blocks(1))], last: 9)
        #expect(self.indexer.answered(self.query(4, from: 6), tail) == [.query(self.query(5), after: .zero)])
    }

    @Test("8 attempts with 200 ms doubling; then the blocks are forgotten until the next event")
    mutating func retries() {
        self.goLive()
        _ = self.indexer.apply(.stored(3, blocks(9)))
        let query = self.query(2, from: 2)
        var pauses: [Duration] = []
        for _ in 1..<Indexer.attempts {
            for case .query(query, let pause) in self.indexer.answered(query, .error("no")) { pauses.append(pause) }
        }
        #expect(pauses == [200, 400, 800, 1600, 3200, 6400, 12800].map { .milliseconds($0) })
        #expect(self.indexer.failed(query, reason: "gone") == [.report(.gaveUp(query, reason: "gone"))])
        #expect(self.indexer.tree.blockCount == 0)
        #expect(self.indexer.counters.failures == 1)
        #expect(self.indexer.apply(.stored(4, blocks(9))) == [.query(self.query(3), after: .zero)])
    }

    @Test("with the last endpoint of a worker its blocks go")
    mutating func lost() {
        self.goLive()
        _ = self.indexer.found(WorkerRank(worker: 1, rank: 1))
        self.indexer.lost(self.rank)
        #expect(self.indexer.tree.blockCount == 2)
        self.indexer.lost(WorkerRank(worker: 1, rank: 1))
        #expect(self.indexer.tree.blockCount == 0)
        #expect(self.indexer.recovering.isEmpty)
        #expect(self.indexer.found(self.rank) == [.query(self.query(3), after: .zero)])
    }

    @Test("from JetStream ids are not looked at")
    func durable() {
        var indexer = Indexer(numbering: .ignored)
        #expect(indexer.found(self.rank).isEmpty)
        #expect(indexer.apply(.stored(100, blocks(1))).isEmpty)
        #expect(indexer.apply(.stored(7, after: 1, blocks(2))).isEmpty)
        #expect(indexer.tree.blockCount == 2)
        let unknown = indexer.apply(.stored(8, after: 77, blocks(3)))
        #expect(unknown == [.report(.unknown(self.rank, event: 8, .parent(BlockHash(rawValue: 77))))])
        #expect(indexer.counters.unknownParents == 1)
    }
}
