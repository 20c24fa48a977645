import KVEvents
import KVRouter
import KVRouting
import TestSupport
import Testing

@Suite struct RouterMachineTests {
    let now = ContinuousClock.now
    let first = WorkerRank(worker: 1)
    let second = WorkerRank(worker: 2)
    var generator = SystemRandomNumberGenerator()

    private func configuration(_ change: (inout RouterConfiguration) -> Void = { _ in }) -> RouterConfiguration {
        var configuration = RouterConfiguration()
        configuration.mode = .kv
        configuration.syncsReplicas = true
        change(&configuration)
        return configuration
    }

    private func machine(_ configuration: RouterConfiguration, step: Int? = nil) -> RouterMachine {
        var generator = SystemRandomNumberGenerator()
        var machine = RouterMachine(configuration, routerID: 7)
        let candidates = [self.first, self.second].map { Candidate($0, maxBatchedTokens: step) }
        #expect(machine.update(candidates, now: self.now, using: &generator).isEmpty)
        return machine
    }

    /// A prompt of whole blocks that no other number has.
    private func prompt(_ number: UInt64, blocks: Int, overlaps: [WorkerRank: Overlap] = [:]) -> SelectionRequest {
        var request = SelectionRequest()
        request.promptTokens = blocks * 16
        request.blocks = (0..<UInt64(blocks)).map { BlockHash(rawValue: number << 20 | $0) }
        request.overlaps = overlaps
        return request
    }

    private func worker(_ actions: [RouterMachine.Action]) -> WorkerRank? {
        for case .send(_, let choice) in actions { return choice.worker }
        return nil
    }

    @Test mutating func `a request goes where its blocks are, and others hear of all its steps`() throws {
        var machine = self.machine(self.configuration())
        let request = self.prompt(1, blocks: 4, overlaps: [self.second: Overlap(device: 4)])
        let actions = machine.submit("r", request, now: self.now, using: &self.generator)
        #expect(self.worker(actions) == self.second)
        guard case .tell(let event) = try #require(actions.last) else { throw CancellationError() }
        #expect(event.router == 7)
        guard case .added(let added) = event.change else { throw CancellationError() }
        #expect(added.blocks == request.blocks)
        #expect(machine.blocks(of: self.second) == 4)

        let answered = machine.answered("r", now: self.now, using: &self.generator)
        #expect(
            answered == [
                .tell(
                    ActiveSequenceEvent(requestID: "r", worker: self.second, change: .prefillCompleted, router: 7)
                )
            ]
        )
        #expect(machine.answered("r", now: self.now, using: &self.generator).isEmpty, "only once")
        let ended = machine.ended("r", now: self.now, using: &self.generator)
        #expect(
            ended == [.tell(ActiveSequenceEvent(requestID: "r", worker: self.second, change: .freed, router: 7))]
        )
        #expect(machine.blocks(of: self.second) == 0)
        #expect(machine.ended("r", now: self.now, using: &self.generator).isEmpty)
        #expect(machine.counts.counted == 0)
    }

    @Test mutating func `output counts by blocks when it is tracked`() {
        var machine = self.machine(self.configuration { $0.tracksOutputBlocks = true })
        var request = self.prompt(1, blocks: 1)
        request.promptTokens = 20
        let worker = self.worker(machine.submit("r", request, now: self.now, using: &self.generator)) ?? self.first
        machine.produced(11, for: "r")
        #expect(machine.blocks(of: worker) == 1)
        machine.produced(1, for: "r")
        #expect(machine.blocks(of: worker) == 2)
        machine.produced(40, for: "r")
        #expect(machine.blocks(of: worker) == 4)
        _ = machine.ended("r", now: self.now, using: &self.generator)
        #expect(machine.blocks(of: worker) == 0)
    }

    @Test mutating func `requests wait in order while all workers are full, and go when one has room`() {
        var machine = self.machine(self.configuration { $0.queueThreshold = 1 }, step: 32)
        // Both workers get more than a step's tokens.
        let one = self.worker(machine.submit("a", self.prompt(1, blocks: 3), now: self.now, using: &self.generator))
        let two = self.worker(machine.submit("b", self.prompt(2, blocks: 3), now: self.now, using: &self.generator))
        #expect(Set([one, two]) == [self.first, self.second])
        for (number, id) in ["c", "d", "e"].enumerated() {
            let request = self.prompt(UInt64(10 + number), blocks: 3)
            #expect(machine.submit(id, request, now: self.now, using: &self.generator).isEmpty)
        }
        #expect(machine.counts.waiting == 3)
        // One gives up waiting.
        #expect(machine.ended("c", now: self.now, using: &self.generator).isEmpty)
        let actions = machine.answered("a", now: self.now, using: &self.generator)
        #expect(actions.contains { if case .send("d", _) = $0 { true } else { false } })
        #expect(self.worker(actions) == one)
        #expect(machine.counts.waiting == 1, "the worker is full again")
        #expect(self.worker(machine.ended("b", now: self.now, using: &self.generator)) == two)
        #expect(machine.counts.running == 3)
        #expect(machine.counts.waiting == 0)
        #expect(machine.counts.counted == 3)
    }

    @Test mutating func `what ran on a worker that left counts no more, and its end is harmless`() {
        var machine = self.machine(self.configuration())
        let held = [self.first: Overlap(device: 9)]
        let request = self.prompt(1, blocks: 9, overlaps: held)
        #expect(self.worker(machine.submit("r", request, now: self.now, using: &self.generator)) == self.first)
        _ = machine.update([Candidate(self.second)], now: self.now, using: &self.generator)
        #expect(machine.blocks(of: self.first) == 0)
        #expect(machine.ended("r", now: self.now, using: &self.generator).count == 1)
        _ = machine.update([], now: self.now, using: &self.generator)
        #expect(
            machine.submit("s", request, now: self.now, using: &self.generator) == [.refuse("s", .noWorker)]
        )
        #expect(!machine.knows("s"))
    }

    @Test mutating func `a worker that has refused is left out, and one that is named is taken`() {
        var machine = self.machine(self.configuration())
        var request = self.prompt(1, blocks: 4, overlaps: [self.first: Overlap(device: 4)])
        let actions = machine.submit("r", request, excluding: [1], now: self.now, using: &self.generator)
        #expect(self.worker(actions) == self.second)
        request.named = .init(worker: 1)
        #expect(self.worker(machine.submit("s", request, now: self.now, using: &self.generator)) == self.first)
        request.named = .init(worker: 5)
        #expect(
            machine.submit("t", request, now: self.now, using: &self.generator)
                == [.refuse("t", .unknownWorker(.init(worker: 5)))]
        )
    }

    @Test mutating func `without events the prompt is believed to be where it went, for a time`() {
        var machine = self.machine(self.configuration { $0.usesKVEvents = false })
        let request = self.prompt(1, blocks: 5)
        let worker = self.worker(machine.submit("r", request, now: self.now, using: &self.generator))
        _ = machine.ended("r", now: self.now, using: &self.generator)
        for _ in 0..<20 {
            guard case .chosen(let choice) = machine.best(request, now: self.now, using: &self.generator) else {
                Issue.record("nobody is chosen")
                return
            }
            #expect(choice.worker == worker)
            #expect(choice.overlap.device == 5)
        }
        let later = self.now + .seconds(121)
        guard case .chosen(let choice) = machine.best(request, now: later, using: &self.generator) else {
            Issue.record("nobody is chosen")
            return
        }
        #expect(choice.overlap.device == 0)
    }

    @Test mutating func `what another router tells steers away, until it says that it is over or is silent for long`() {
        var machine = self.machine(self.configuration())
        func event(_ id: String, _ change: ActiveSequenceEvent.Change, router: UInt64 = 8) -> ActiveSequenceEvent {
            ActiveSequenceEvent(requestID: id, worker: self.first, change: change, router: router)
        }
        let blocks = (0..<50).map { BlockHash(rawValue: 1000 + $0) }
        let added = ActiveSequenceEvent.Change.added(.init(blocks: blocks, prefillTokens: 800))
        _ = machine.apply(event("own", added, router: 7), now: self.now, using: &self.generator)
        #expect(machine.counts.counted == 0, "its own events come back")
        _ = machine.apply(event("x", added), now: self.now, using: &self.generator)
        for number in 0..<10 {
            let request = self.prompt(UInt64(number), blocks: 2)
            guard case .chosen(let choice) = machine.best(request, now: self.now, using: &self.generator) else {
                Issue.record("nobody is chosen")
                return
            }
            #expect(choice.worker == self.second)
        }
        _ = machine.apply(event("x", .prefillCompleted), now: self.now, using: &self.generator)
        #expect(machine.prefillTokens(of: self.first) == 0)
        #expect(machine.blocks(of: self.first) == 50)
        _ = machine.apply(event("x", .freed), now: self.now, using: &self.generator)
        #expect(machine.blocks(of: self.first) == 0)
        _ = machine.apply(event("y", added), now: self.now, using: &self.generator)
        _ = machine.expire(now: self.now + .seconds(301), using: &self.generator)
        #expect(machine.counts.counted == 0)
    }

    /// What workers hold, which a test changes.
    final class Holdings: OverlapSource {
        let held = Recorded<[WorkerRank: Overlap]>([:])
        let lookups = Recorded(0)

        func overlaps(_ hashes: [TokensHash]) -> [WorkerRank: Overlap] {
            self.lookups.value += 1
            return hashes.isEmpty ? [:] : self.held.value
        }
    }

    @Test mutating func `a request that has waited goes where its blocks are now, not where they were`() {
        let holdings = Holdings()
        let configuration = self.configuration { $0.queueThreshold = 1 }
        var machine = RouterMachine(configuration, routerID: 7, overlaps: holdings)
        let candidates = [self.first, self.second].map { Candidate($0, maxBatchedTokens: 32) }
        _ = machine.update(candidates, now: self.now, using: &self.generator)
        for number in UInt64(0)..<2 {
            _ = machine.submit("\(number)", self.prompt(number, blocks: 3), now: self.now, using: &self.generator)
        }
        let request = self.prompt(9, blocks: 3, overlaps: [self.first: Overlap(device: 3)])
        let hashes = [TokensHash(rawValue: 9)]
        #expect(machine.submit("r", request, hashes: hashes, now: self.now, using: &self.generator).isEmpty)
        holdings.held.value = [self.second: Overlap(device: 3)]
        // Nothing to be decided yet: nobody looks.
        _ = machine.update(candidates, now: self.now, using: &self.generator)
        #expect(holdings.lookups.value == 0)
        // Both workers have room at the same moment, and equally much to do.
        let wider = [self.first, self.second].map { Candidate($0, maxBatchedTokens: 64) }
        let actions = machine.update(wider, now: self.now, using: &self.generator)
        #expect(self.worker(actions) == self.second)
        #expect(holdings.lookups.value == 1)
        #expect(machine.counts.waiting == 0)
    }

    @Test mutating func `a request's own settings count for it alone`() {
        var machine = self.machine(self.configuration())
        var request = self.prompt(1, blocks: 4, overlaps: [self.second: Overlap(device: 4)])
        var busy = self.prompt(2, blocks: 3)
        busy.named = .init(worker: 2)
        _ = machine.submit("busy", busy, now: self.now, using: &self.generator)
        func choice() -> WorkerRank? {
            guard case .chosen(let choice) = machine.best(request, now: self.now, using: &self.generator) else {
                return nil
            }
            return choice.worker
        }
        // Six blocks more on the second worker, four blocks of the prompt there: at a credit of 1 the load decides.
        #expect(choice() == self.first)
        request.override = RouterOverride()
        request.override?.prefillLoadScale = 10
        #expect(choice() == self.second)
        request.override = RouterOverride()
        request.override?.temperature = 1e9
        var chosen: Set<WorkerRank> = []
        for _ in 0..<200 { if let worker = choice() { chosen.insert(worker) } }
        #expect(chosen == [self.first, self.second], "chance decides")
        request.override = nil
        #expect(choice() == self.first, "and not for others")
    }

    @Test mutating func `what runs on a worker is reported when it changes`() {
        var machine = RouterMachine(self.configuration(), routerID: 7, reportsLoad: true)
        _ = machine.update([Candidate(self.first)], now: self.now, using: &self.generator)
        func loads(_ actions: [RouterMachine.Action]) -> [[UInt64?]] {
            actions.compactMap { action in
                guard case .load(let load) = action else { return nil }
                #expect(load.worker == self.first)
                #expect(load.usedBlocks == nil)
                return [load.activeDecodeBlocks, load.activePrefillTokens]
            }
        }
        let request = self.prompt(1, blocks: 4)
        #expect(loads(machine.submit("r", request, now: self.now, using: &self.generator)) == [[4, 64]])
        #expect(loads(machine.answered("r", now: self.now, using: &self.generator)) == [[4, 0]])
        #expect(loads(machine.ended("r", now: self.now, using: &self.generator)) == [[0, 0]])
        #expect(loads(machine.ended("r", now: self.now, using: &self.generator)).isEmpty)
    }
}
