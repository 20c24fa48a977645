import Testing

@testable import KVRouter

@Suite("Index of a router")
struct KVIndexerTests {
    @Test("events of many workers are applied from a sequence, lookups see all shards")
    func sequence() async {
        let index = KVIndexer(numbering: .ignored, shards: 4)
        let events = AsyncStream<RouterEvent> { continuation in
            for worker in 0..<10 as Range<UInt64> { continuation.yield(.stored(1, worker: worker, blocks(1, 2))) }
            continuation.yield(.removed(2, worker: 3, 99))
            continuation.finish()
        }
        var reports: [IndexerAction] = []
        await index.apply(events) { reports.append($0) }
        #expect(index.matches(prompt(1, 2, 3)).count == 10)
        #expect(index.matches(prompt(1, 2, 3))[WorkerRank(worker: 7)] == Overlap(device: 2))
        #expect(reports.count == 1)
        #expect(index.counters.applied == 11)
        #expect(index.counters.unknownRemovals == 1)
        #expect(index.blockCounts.values.reduce(0, +) == 20)
    }

    @Test("a whole state is restored in slices, and dumped for another index")
    func restore() async throws {
        let index = KVIndexer()
        let rank = WorkerRank(worker: 5)
        guard case .query(let query, _)? = index.found(rank).first else {
            Issue.record("the endpoint was not asked")
            return
        }
        #expect(index.awaited == [rank])
        let events = (0..<3000).map { RouterEvent.stored($0, worker: 5, blocks($0)) }
        let actions = await index.answered(query, .dump(events: events, last: 3000))
        #expect(actions == [.report(.recovered(rank, last: 3000))])
        #expect(index.awaited.isEmpty)
        #expect(index.blockCounts == [rank: 3000])

        let copy = KVIndexer(shards: 1)
        #expect(copy.restore(try RadixSnapshot.decode(RadixSnapshot.encode(index.dump()))).isEmpty)
        #expect(copy.blockCounts == [rank: 3000])
        copy.gone(5)
        #expect(copy.blockCounts.isEmpty)
    }

    @Test("lookups go on while events are applied")
    func concurrent() async {
        let index = KVIndexer(numbering: .ignored, shards: 2)
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<4 as Range<UInt64> {
                group.addTask {
                    for id in 1...500 as ClosedRange<UInt64> {
                        _ = index.apply(.stored(id, worker: worker, blocks(id)))
                        _ = index.apply(.removed(id, worker: worker, id - 1))
                    }
                }
            }
            group.addTask { for id in 1...500 as ClosedRange<UInt64> { #expect(index.matches(prompt(id)).count <= 4) } }
        }
        #expect(index.matches(prompt(500)).count == 4)
        #expect(index.blockCounts.values.allSatisfy { $0 == 1 })
    }
}
