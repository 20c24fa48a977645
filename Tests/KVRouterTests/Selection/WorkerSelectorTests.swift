import Testing

@testable import KVRouter

@Suite("Who gets a request")
struct WorkerSelectorTests {
    private let workers = (1...3).map { Candidate(WorkerRank(worker: $0), totalBlocks: 10, maxBatchedTokens: 100) }
    private let start = ContinuousClock.now

    private func configuration(
        _ mode: RouterMode,
        _ change: (inout RouterConfiguration) -> Void = { _ in }
    ) -> RouterConfiguration {
        var configuration = RouterConfiguration()
        configuration.mode = mode
        change(&configuration)
        return configuration
    }

    /// How often each worker was chosen.
    private func counts(
        _ configuration: RouterConfiguration,
        _ request: SelectionRequest = SelectionRequest(),
        _ load: ActiveLoad = ActiveLoad(),
        times: Int = 300
    ) -> [UInt64: Int] {
        var selector = WorkerSelector(configuration: configuration)
        var generator = SeededGenerator()
        return (0..<times).reduce(into: [:]) { counts, _ in
            if case .chosen(let choice) = selector.select(request, among: self.workers, load: load, using: &generator) {
                counts[choice.worker.worker, default: 0] += 1
            }
        }
    }

    private func load(_ requests: [UInt64: Int], tokens: Int = 0, blocks: Int = 0) -> ActiveLoad {
        var load = ActiveLoad()
        for (worker, count) in requests {
            for index in 0..<count {
                load.add(
                    "\(worker)-\(index)",
                    to: WorkerRank(worker: worker),
                    blocks: load.makeBlocks(blocks),
                    prefillTokens: tokens,
                    now: self.start
                )
            }
        }
        return load
    }

    @Test("round-robin takes turns, random does not")
    func simple() {
        #expect(self.counts(self.configuration(.roundRobin)) == [1: 100, 2: 100, 3: 100])
        let random = self.counts(self.configuration(.random))
        #expect(random.count == 3 && random.values.allSatisfy { (60...140).contains($0) })
    }

    @Test("least-loaded takes who has the fewest requests, chance between equals")
    func leastLoaded() {
        let counts = self.counts(self.configuration(.leastLoaded), .init(), self.load([1: 2, 2: 1, 3: 1]))
        #expect(counts[1] == nil)
        #expect(counts[2, default: 0] > 100 && counts[3, default: 0] > 100)
    }

    @Test("power-of-two never takes the one with the most requests")
    func powerOfTwo() {
        let counts = self.counts(self.configuration(.powerOfTwo), .init(), self.load([1: 0, 2: 1, 3: 2]))
        #expect(counts[3] == nil)
        // The idle one wins two of the three pairs.
        #expect((160...240).contains(counts[1, default: 0]))
        #expect(counts[2, default: 0] > 50)
    }

    @Test("direct takes who is named, and says when nobody is or is not there")
    func direct() {
        var selector = WorkerSelector(configuration: self.configuration(.direct))
        var generator = SeededGenerator()
        var request = SelectionRequest()
        #expect(selector.select(request, among: self.workers, load: .init(), using: &generator) == .unnamed)
        request.named = .init(worker: 2)
        guard case .chosen(let choice) = selector.select(request, among: self.workers, load: .init(), using: &generator)
        else {
            Issue.record("nobody was chosen")
            return
        }
        #expect(choice.worker == WorkerRank(worker: 2))
        for named in [SelectionRequest.NamedWorker(worker: 4), .init(worker: 2, rank: 1)] {
            request.named = named
            #expect(
                selector.select(request, among: self.workers, load: .init(), using: &generator) == .unknownWorker(named)
            )
        }
    }

    private var prompt: SelectionRequest {
        var request = SelectionRequest()
        request.promptTokens = 92
        request.blocks = BlockHashing.chained((1...5).map(TokensHash.init(rawValue:)))
        return request
    }

    @Test("kv takes who holds the prompt; idle equals by chance")
    func kv() {
        let configuration = self.configuration(.kv)
        let idle = self.counts(configuration, self.prompt)
        #expect(idle.count == 3 && idle.values.allSatisfy { (60...140).contains($0) })
        var request = self.prompt
        request.overlaps = [WorkerRank(worker: 3): Overlap(device: 5)]
        #expect(self.counts(configuration, request) == [3: 300])
        let selector = WorkerSelector(configuration: configuration)
        #expect(selector.costs(request, self.workers, ActiveLoad()) == [10.75, 10.75, 5.75])
    }

    @Test("a prompt that runs already adds no blocks; another one does, and its tokens while it is processed")
    func running() {
        let selector = WorkerSelector(configuration: self.configuration(.kv))
        var load = ActiveLoad()
        let choice = Selection.Choice(worker: WorkerRank(worker: 1), overlap: Overlap(), prefillTokens: 92)
        selector.commit("x", self.prompt, choice, to: &load, now: self.start)
        #expect(selector.costs(self.prompt, self.workers, load) == [16.5, 10.75, 10.75])
        load.markPrefillCompleted("x")
        #expect(selector.costs(self.prompt, self.workers, load) == [10.75, 10.75, 10.75])
        var other = SelectionRequest()
        other.promptTokens = 59
        other.blocks = BlockHashing.chained((6...8).map(TokensHash.init(rawValue:)))
        #expect(selector.costs(other, self.workers, load) == [11.6875, 6.6875, 6.6875])
    }

    @Test("what is not tracked does not count, and without reuse nothing is shared")
    func tracking() {
        let choice = Selection.Choice(worker: WorkerRank(worker: 1), overlap: Overlap(), prefillTokens: 92)
        func costs(_ change: (inout RouterConfiguration) -> Void) -> [Double] {
            let selector = WorkerSelector(configuration: self.configuration(.kv, change))
            var load = ActiveLoad()
            selector.commit("x", self.prompt, choice, to: &load, now: self.start)
            return selector.costs(self.prompt, self.workers, load)
        }
        #expect(costs { $0.tracksActiveBlocks = false } == [11.5, 5.75, 5.75])
        #expect(costs { $0.tracksPrefillTokens = false } == [5, 5, 5])
        #expect(costs { $0.assumesKVReuse = false } == [21.5, 10.75, 10.75])
    }

    @Test("what the other routers are told")
    func told() {
        let selector = WorkerSelector(configuration: self.configuration(.kv))
        var load = ActiveLoad(routerID: 7)
        let choice = Selection.Choice(worker: WorkerRank(worker: 1), overlap: Overlap(device: 2), prefillTokens: 60)
        let event = selector.commit("x", self.prompt, choice, to: &load, now: self.start)
        let added = ActiveSequenceEvent.Added(
            blocks: self.prompt.blocks,
            prefillTokens: 60
        )
        let expected = ActiveSequenceEvent(
            requestID: "x",
            worker: WorkerRank(worker: 1),
            change: .added(added),
            router: 7
        )
        #expect(event == expected)
    }

    @Test("a temperature gives the dearer ones a chance, the more the higher")
    func temperature() {
        var request = self.prompt
        request.overlaps = [WorkerRank(worker: 3): Overlap(device: 5)]
        let cold = self.counts(self.configuration(.kv) { $0.temperature = 0.2 }, request, times: 3000)[3, default: 0]
        let hot = self.counts(self.configuration(.kv) { $0.temperature = 5 }, request, times: 3000)[3, default: 0]
        // 1 / (1 + 2 e^-5) and 1 / (1 + 2 e^-0.2)
        #expect((2920...2995).contains(cold), "\(cold)")
        #expect((1050...1230).contains(hot), "\(hot)")
    }

    @Test("workers above a busy threshold are left out; all above it is an answer of its own")
    func busy() {
        let configuration = self.configuration(.roundRobin) { $0.busy.prefillTokens = 50 }
        #expect(self.counts(configuration, .init(), self.load([1: 1], tokens: 51)) == [2: 150, 3: 150])
        let blocks = self.load([2: 1], blocks: 11)
        #expect(self.counts(self.configuration(.roundRobin), .init(), blocks) == [1: 150, 3: 150])
        let steps = self.load([3: 1], tokens: 1001)
        #expect(self.counts(self.configuration(.roundRobin), .init(), steps) == [1: 150, 2: 150])
        var selector = WorkerSelector(configuration: configuration)
        var generator = SeededGenerator()
        let all = self.load([1: 1, 2: 1, 3: 1], tokens: 51)
        #expect(selector.select(.init(), among: self.workers, load: all, using: &generator) == .allBusy)
        #expect(selector.select(.init(), among: [], load: all, using: &generator) == .noWorker)
    }

    @Test("requests wait when all workers are above the queue threshold")
    func waits() {
        var selector = WorkerSelector(configuration: self.configuration(.kv))
        var generator = SeededGenerator()
        let all = self.load([1: 1, 2: 1, 3: 1], tokens: 401)
        #expect(selector.select(self.prompt, among: self.workers, load: all, using: &generator) == .wait)
        let two = self.load([1: 1, 2: 1], tokens: 401)
        guard case .chosen(let choice) = selector.select(self.prompt, among: self.workers, load: two, using: &generator)
        else {
            Issue.record("nobody was chosen")
            return
        }
        #expect(choice.worker.worker == 3)
        selector = WorkerSelector(configuration: self.configuration(.kv) { $0.queueThreshold = nil })
        #expect(selector.select(self.prompt, among: self.workers, load: all, using: &generator) != .wait)
    }

    @Test("prefill looks at what is held, decode at the load alone")
    func pools() {
        var configuration = self.configuration(.kv)
        configuration.temperature = 0
        var request = self.prompt
        request.overlaps = [WorkerRank(worker: 1): Overlap(device: 5)]
        var generator = SeededGenerator()
        for (role, expected) in [(PoolRole.prefill, 1), (.aggregated, 1), (.decode, 2)] as [(PoolRole, UInt64)] {
            var pool = WorkerPool(role: role, candidates: Array(self.workers.prefix(2)), configuration: configuration)
            // Four blocks run on the worker that holds the prompt.
            pool.load.add(
                "x",
                to: WorkerRank(worker: 1),
                blocks: pool.load.makeBlocks(4),
                prefillTokens: 0,
                now: self.start
            )
            guard case .chosen(let choice) = pool.select(request, using: &generator) else {
                Issue.record("nobody was chosen")
                continue
            }
            #expect(choice.worker.worker == expected, "\(role)")
            pool.update([self.workers[1]])
            #expect(pool.load.requestCount == 0)
        }
    }
}
