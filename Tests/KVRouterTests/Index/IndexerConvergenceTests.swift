import FuzzSupport
import Testing

@testable import KVRouter

/// A worker that publishes over a bad wire and answers questions truly.
private struct SimulatedWorker {
    let rank: WorkerRank
    private(set) var log: [RouterEvent] = []
    /// What it really has.
    private(set) var truth = RadixTree()
    /// How much of the log is still kept for answers by id.
    private let kept = 20

    var newest: UInt64 { UInt64(self.log.count) }

    init(rank: WorkerRank) { self.rank = rank }

    mutating func act(_ random: inout FuzzRandom) -> RouterEvent {
        let held = self.truth.dump(self.rank).flatMap { event in
            if case .stored(_, let blocks) = event.event.change { blocks.map(\.block) } else { [] as [BlockHash] }
        }.sorted { $0.rawValue < $1.rawValue }
        let change: KVEvent.Change
        switch random.below(40) {
        case 0: change = .cleared
        case 1..<15 where !held.isEmpty: change = .removed([held[random.below(held.count)]])
        default:
            let parent = random.oneIn(3) || held.isEmpty ? nil : held[random.below(held.count)]
            let tokens = (0...random.below(3)).map { _ in TokensHash(rawValue: UInt64(random.below(3) + 1)) }
            let blocks = zip(BlockHashing.chained(tokens, after: parent), tokens).map {
                StoredBlock(block: $0, tokens: $1)
            }
            change = .stored(parent: parent, blocks: blocks)
        }
        let event = KVEvent(id: self.newest + 1, rank: self.rank.rank, change: change)
        self.log.append(RouterEvent(worker: self.rank.worker, event: event))
        self.truth.apply(self.log[self.log.count - 1])
        return self.log[self.log.count - 1]
    }

    func answer(_ query: IndexQuery) -> IndexAnswer {
        guard let from = query.from, from + UInt64(self.kept) > self.newest else {
            return .dump(events: self.truth.dump(self.rank), last: self.newest)
        }
        guard from <= self.newest else { return .tooNew(newest: self.newest) }
        return .events(Array(self.log[Int(from - 1)...]), last: self.newest)
    }
}

@Suite("Indexer against workers, over a wire that loses, repeats and reorders")
struct IndexerConvergenceTests {
    @Test("the index becomes the truth, block by block", arguments: 1...20 as ClosedRange<UInt64>)
    func converges(seed: UInt64) {
        var random = FuzzRandom(seed: seed)
        var indexer = Indexer()
        var workers = (0..<3).map { SimulatedWorker(rank: WorkerRank(worker: UInt64($0))) }
        var open: [IndexerAction] = workers.flatMap { indexer.found($0.rank) }
        var wire: [RouterEvent] = []
        for _ in 0..<1500 {
            let index = random.below(workers.count)
            let event = workers[index].act(&random)
            // Lost, twice, or in another order.
            if !random.oneIn(15) { wire.append(event) }
            if random.oneIn(20) { wire.append(event) }
            while wire.count > random.below(4) {
                let place = random.oneIn(8) ? random.below(wire.count) : 0
                open += indexer.apply(wire.remove(at: place))
            }
            // Answers come late, and some attempts fail.
            while !open.isEmpty, random.oneIn(2) {
                open += Self.perform(open.removeFirst(), &indexer, workers, fails: random.oneIn(10))
            }
        }
        // The wire becomes good, and each worker says one thing more.
        for event in wire { open += indexer.apply(event) }
        for index in workers.indices { open += indexer.apply(workers[index].act(&random)) }
        for _ in 0..<1000 where !open.isEmpty {
            open += Self.perform(open.removeFirst(), &indexer, workers, fails: false)
        }
        #expect(open.isEmpty)
        #expect(indexer.counters.gaps > 0)
        #expect(indexer.counters.duplicates > 0)
        for number in 0..<729 {
            let tokens = (0..<6).map { TokensHash(rawValue: UInt64((number / [1, 3, 9, 27, 81, 243][$0]) % 3 + 1)) }
            let truth = workers.compactMap { worker in
                worker.truth.matches(tokens)[worker.rank].map { (worker.rank, $0) }
            }
            #expect(indexer.tree.matches(tokens) == Dictionary(uniqueKeysWithValues: truth), "seed \(seed)")
        }
    }

    private static func perform(
        _ action: IndexerAction,
        _ indexer: inout Indexer,
        _ workers: [SimulatedWorker],
        fails: Bool
    ) -> [IndexerAction] {
        switch action {
        case .query(let query, _):
            fails
                ? indexer.failed(query, reason: "not reached")
                : indexer.answered(query, workers[Int(query.rank.worker)].answer(query))
        case .restore(let rank): indexer.restore(rank, blocks: 3)
        case .report: []
        }
    }
}
