import Testing

@testable import KVRouter

@Suite("What runs where")
struct ActiveLoadTests {
    private let start = ContinuousClock.now
    private let a = WorkerRank(worker: 1)
    private let b = WorkerRank(worker: 2, rank: 3)

    private func blocks(_ numbers: [UInt64]) -> [BlockHash] {
        BlockHashing.chained(numbers.map(TokensHash.init(rawValue:)))
    }

    @Test("shared blocks count once, until the last request that holds them ends")
    func shared() {
        var load = ActiveLoad()
        load.add("x", to: self.a, blocks: self.blocks([1, 2, 3]), prefillTokens: 50, now: self.start)
        load.add("y", to: self.a, blocks: self.blocks([1, 2, 4, 5]), prefillTokens: 20, now: self.start)
        load.add("z", to: self.b, blocks: self.blocks([1]), prefillTokens: 7, now: self.start)
        #expect(load.blocks(of: self.a) == 5)
        #expect(load.blocks(of: self.a, adding: self.blocks([1, 2, 4, 9])) == 6)
        #expect(load.blocks(of: self.a, adding: self.blocks([2, 1])) == 7)
        #expect(load.blocks(of: self.b, adding: self.blocks([1, 2])) == 2)
        #expect((load.prefillTokens(of: self.a), load.requests(of: self.a)) == (70, 2))
        load.markPrefillCompleted("x")
        load.markPrefillCompleted("x")
        #expect(load.prefillTokens(of: self.a) == 20)
        load.free("x")
        #expect((load.blocks(of: self.a), load.prefillTokens(of: self.a)) == (4, 20))
        load.free("y")
        load.free("y")
        #expect((load.blocks(of: self.a), load.requests(of: self.a), load.requestCount) == (0, 0, 1))
    }

    @Test("the same id again replaces what was there")
    func again() {
        var load = ActiveLoad()
        load.add("x", to: self.a, blocks: self.blocks([1, 2]), prefillTokens: 5, now: self.start)
        load.add("x", to: self.b, blocks: self.blocks([3]), prefillTokens: 6, now: self.start)
        #expect((load.requests(of: self.a), load.blocks(of: self.a), load.prefillTokens(of: self.a)) == (0, 0, 0))
        #expect((load.requests(of: self.b), load.blocks(of: self.b), load.prefillTokens(of: self.b)) == (1, 1, 6))
    }

    @Test("generated blocks count, less when the end is near, and never those that others hold too")
    func output() {
        var load = ActiveLoad()
        load.add("x", to: self.a, blocks: self.blocks([1, 2]), prefillTokens: 0, now: self.start)
        load.addOutputBlock("x")
        #expect(load.blocks(of: self.a) == 3)
        load.add("y", to: self.a, blocks: self.blocks([1]), prefillTokens: 0, now: self.start)
        load.addOutputBlock("x", progress: 0.5)
        // One shared, three halves.
        #expect(load.blocks(of: self.a) == 2.5)
        load.add("z", to: self.a, blocks: self.blocks([1, 2]), prefillTokens: 0, now: self.start)
        #expect(load.blocks(of: self.a) == 3)
        load.free("x")
        #expect(load.blocks(of: self.a) == 2)
        load.addOutputBlock("nobody")
        load.free("y")
        load.free("z")
        #expect(load.blocks(of: self.a) == 0)
    }

    private func event(
        _ change: ActiveSequenceEvent.Change,
        id: String = "r",
        router: UInt64 = 9
    ) -> ActiveSequenceEvent {
        ActiveSequenceEvent(requestID: id, worker: self.a, change: change, router: router)
    }

    private func added(_ blocks: [BlockHash], tokens: Int, tracks: Bool = true) -> ActiveSequenceEvent.Change {
        .added(
            .init(
                blocks: blocks,
                tracksPrefill: tracks,
                prefillTokens: UInt64(tokens)
            )
        )
    }

    @Test("what other routers tell counts; what we told ourselves does not count twice")
    func remote() {
        var load = ActiveLoad(routerID: 7)
        let added = self.added(self.blocks([1, 2]), tokens: 800)
        load.apply(self.event(added, router: 7), now: self.start)
        #expect(load.requests(of: self.a) == 0)
        load.apply(self.event(added), now: self.start)
        #expect((load.blocks(of: self.a), load.prefillTokens(of: self.a)) == (2, 800))
        load.apply(self.event(.prefillCompleted), now: self.start)
        #expect((load.blocks(of: self.a), load.prefillTokens(of: self.a)) == (2, 0))
        load.apply(self.event(.freed), now: self.start)
        #expect(load.blocks(of: self.a) == 0)
        load.apply(self.event(self.added([], tokens: 800, tracks: false)), now: self.start)
        #expect((load.prefillTokens(of: self.a), load.requests(of: self.a)) == (0, 1))
        load.apply(self.event(self.added([], tokens: .max), id: "s"), now: self.start)
        load.apply(self.event(self.added([], tokens: .max), id: "t"), now: self.start)
        #expect(load.prefillTokens(of: self.a) > 0)
    }

    @Test("a request of ours is nobody else's, but a worker may say that its prompt is processed")
    func ours() {
        var load = ActiveLoad(routerID: 7)
        load.add("r", to: self.b, blocks: self.blocks([1]), prefillTokens: 10, now: self.start)
        load.apply(self.event(self.added(self.blocks([5, 6]), tokens: 3)), now: self.start)
        load.apply(self.event(.freed), now: self.start)
        #expect((load.blocks(of: self.b), load.blocks(of: self.a), load.prefillTokens(of: self.b)) == (1, 0, 10))
        load.apply(self.event(.prefillCompleted, router: self.b.worker), now: self.start)
        #expect(load.prefillTokens(of: self.b) == 0)
    }

    @Test("requests of a router that has vanished end after a while; ours do not")
    func stale() {
        var load = ActiveLoad(routerID: 7, staleAfter: .seconds(10))
        load.add("ours", to: self.a, blocks: [], prefillTokens: 0, now: self.start)
        load.apply(self.event(self.added([], tokens: 0), id: "old"), now: self.start)
        load.apply(self.event(self.added([], tokens: 0), id: "anew"), now: self.start)
        load.apply(self.event(.freed, id: "anew"), now: self.start)
        load.apply(self.event(self.added([], tokens: 0), id: "anew"), now: self.start + .seconds(5))
        #expect(load.expire(now: self.start + .seconds(9)).isEmpty)
        #expect(load.expire(now: self.start + .seconds(10)) == ["old"])
        #expect(load.requests(of: self.a) == 2)
        #expect(load.expire(now: self.start + .seconds(20)) == ["anew"])
        #expect(load.requests(of: self.a) == 1)
    }

    @Test("a worker that leaves takes everything with it, on all ranks")
    func leaves() {
        var load = ActiveLoad()
        load.add("x", to: self.b, blocks: self.blocks([1]), prefillTokens: 1, now: self.start)
        load.add("y", to: WorkerRank(worker: 2), blocks: [], prefillTokens: 1, now: self.start)
        load.add("z", to: self.a, blocks: [], prefillTokens: 1, now: self.start)
        load.remove(worker: 2)
        #expect((load.requestCount, load.blocks(of: self.b), load.requests(of: self.a)) == (1, 0, 1))
        load.free("x")
        #expect(load.requestCount == 1)
    }

    @Test("made-up blocks differ, also between routers")
    func madeUp() {
        var (one, two) = (ActiveLoad(routerID: 1), ActiveLoad(routerID: 2))
        #expect(Set(one.makeBlocks(500) + two.makeBlocks(500)).count == 1000)
    }
}
