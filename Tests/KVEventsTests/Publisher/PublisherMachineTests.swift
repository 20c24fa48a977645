import KVEvents
import KVRouter
import RequestPlane
import Testing

@Suite struct PublisherMachineTests {
    let worker: UInt64 = 77

    func configuration(_ change: (inout PublisherConfiguration) -> Void = { _ in }) -> PublisherConfiguration {
        let endpoint = EndpointID(namespace: "dynamo", component: "backend", name: "generate")
        var configuration = PublisherConfiguration(form: .release12, endpoint: endpoint, worker: self.worker)
        change(&configuration)
        return configuration
    }

    func block(_ number: UInt64) -> StoredBlock {
        StoredBlock(block: BlockHash(rawValue: number), tokens: TokensHash(rawValue: number * 10))
    }

    func drain(_ machine: inout PublisherMachine) -> [KVEvent] {
        var events: [KVEvent] = []
        while case let batch = machine.takeBatch(), !batch.isEmpty { events += batch.map(\.event) }
        return events
    }

    @Test func `Ids count from 1, and the loop is woken once`() {
        var machine = PublisherMachine(self.configuration())
        let first = machine.publish(.stored(parent: nil, blocks: [self.block(1)]))
        #expect(first.wakesLoop)
        #expect(!first.isCongested)
        let second = machine.publish(.removed([BlockHash(rawValue: 1)]))
        #expect(!second.wakesLoop)
        #expect(self.drain(&machine).map(\.id) == [1, 2])
        let third = machine.publish(.cleared)
        #expect(third.wakesLoop)
    }

    @Test func `Large changes become several events`() {
        var machine = PublisherMachine(self.configuration { $0.blocksPerEvent = 2 })
        _ = machine.publish(.stored(parent: BlockHash(rawValue: 9), blocks: [1, 2, 3].map(self.block)))
        #expect(
            self.drain(&machine).map(\.change) == [
                .stored(parent: BlockHash(rawValue: 9), blocks: [self.block(1), self.block(2)]),
                .stored(parent: BlockHash(rawValue: 2), blocks: [self.block(3)]),
            ]
        )
    }

    @Test func `Events are kept while the connection is away`() {
        var machine = PublisherMachine(self.configuration())
        _ = machine.linkChanged(isUp: false)
        let stored = machine.publish(.stored(parent: nil, blocks: [self.block(1)]))
        #expect(!stored.wakesLoop)
        let batch = machine.takeBatch()
        #expect(batch.isEmpty)
        let wakes = machine.linkChanged(isUp: true)
        #expect(wakes)
        #expect(self.drain(&machine).map(\.id) == [1])
        #expect(machine.statistics.resyncs == 0)
    }

    @Test func `Beyond the bound a resync replaces them`() {
        var machine = PublisherMachine(self.configuration { $0.maximumQueuedEvents = 3 })
        _ = machine.linkChanged(isUp: false)
        for number in 1...10 {
            let taken = machine.publish(.stored(parent: nil, blocks: [self.block(UInt64(number))]))
            #expect(!taken.isCongested)
        }
        _ = machine.publish(.removed([BlockHash(rawValue: 4)]))
        let wakes = machine.linkChanged(isUp: true)
        #expect(wakes)
        let events = self.drain(&machine)
        #expect(events.first?.change == .cleared)
        // Four had their ids when they were given up.
        #expect(events.map(\.id) == Array(5...14))
        var model = BlockModel()
        for event in events { model.apply(event) }
        #expect(model.missing == nil)
        #expect(Set(model.blocks.keys.map(\.rawValue)) == Set([1, 2, 3, 5, 6, 7, 8, 9, 10]))
        #expect(machine.statistics.resyncs == 1)
        #expect(machine.statistics.givenUp == 4)
    }

    @Test func `What a sink has lost is replaced by a resync`() {
        var machine = PublisherMachine(self.configuration { $0.mode = .durable })
        for number in 1...3 { _ = machine.publish(.stored(parent: nil, blocks: [self.block(UInt64(number))])) }
        let batch = machine.takeBatch()
        #expect(batch.count == 3)
        _ = machine.publish(.removed([BlockHash(rawValue: 2)]))
        machine.lose(batch)
        let events = self.drain(&machine)
        #expect(events.first?.change == .cleared)
        var model = BlockModel()
        for event in events { model.apply(event) }
        #expect(Set(model.blocks.keys.map(\.rawValue)) == [1, 3])
        // The ids of what was lost are not used again.
        #expect(events.map(\.id) == Array(5...7))
        #expect(machine.statistics.givenUp == 4)
        #expect(machine.statistics.sent == 3)
    }

    @Test(arguments: [PublisherConfiguration.Mode.localIndex, .durable])
    func `The newest event is repeated only for routers that check ids`(mode: PublisherConfiguration.Mode) {
        var machine = PublisherMachine(self.configuration { $0.mode = mode })
        _ = machine.publish(.stored(parent: nil, blocks: [self.block(1)]))
        #expect(self.drain(&machine).count == 1)
        let wakes = machine.repeatNewest()
        #expect(wakes == (mode == .localIndex))
        #expect(self.drain(&machine).map(\.id) == (mode == .localIndex ? [1] : []))
    }

    @Test func `The bound counts bytes too`() {
        var machine = PublisherMachine(self.configuration { $0.maximumQueuedBytes = 1000 })
        _ = machine.linkChanged(isUp: false)
        _ = machine.publish(.stored(parent: nil, blocks: (1...100).map { self.block($0) }))
        _ = machine.linkChanged(isUp: true)
        #expect(self.drain(&machine).first?.change == .cleared)
    }

    @Test func `An engine that is too fast is told, unless routers are away`() {
        var machine = PublisherMachine(self.configuration { $0.maximumQueuedEvents = 4 })
        for number in 1...2 {
            let taken = machine.publish(.stored(parent: nil, blocks: [self.block(UInt64(number))]))
            #expect(!taken.isCongested)
        }
        let taken = machine.publish(.stored(parent: nil, blocks: [self.block(3)]))
        #expect(taken.isCongested)
        _ = machine.linkChanged(isUp: false)
        #expect(!machine.isCongested)
    }

    @Test func `What could not be sent comes again, in order`() {
        var machine = PublisherMachine(self.configuration { $0.eventsPerMessage = 2 })
        for number in 1...3 { _ = machine.publish(.stored(parent: nil, blocks: [self.block(UInt64(number))])) }
        let batch = machine.takeBatch()
        #expect(batch.map(\.event.id) == [1, 2])
        machine.giveBack(batch[...])
        #expect(self.drain(&machine).map(\.id) == [1, 2, 3])
        #expect(machine.statistics.sent == 3)
    }

    @Test func `The newest event is repeated only when nothing waits`() {
        var machine = PublisherMachine(self.configuration())
        let beforeAll = machine.repeatNewest()
        #expect(!beforeAll)
        _ = machine.publish(.stored(parent: nil, blocks: [self.block(1)]))
        let whileWaiting = machine.repeatNewest()
        #expect(!whileWaiting)
        _ = self.drain(&machine)
        let afterwards = machine.repeatNewest()
        #expect(afterwards)
        #expect(self.drain(&machine).map(\.id) == [1])
    }

    @Test func `Nothing waits when nothing is published`() {
        var machine = PublisherMachine(self.configuration { $0.mode = .none })
        let taken = machine.publish(.stored(parent: nil, blocks: [self.block(1)]))
        #expect(!taken.wakesLoop)
        let batch = machine.takeBatch()
        #expect(batch.isEmpty)
        #expect(machine.present.count == 1)
    }

    // MARK: Queries

    @Test func `Queries are answered as a real worker does`() {
        var machine = PublisherMachine(self.configuration { $0.recentEvents = 3 })
        #expect(machine.answer(KVQuery(worker: self.worker)) == .answer(.state([], last: 0)))
        for number in 1...3 { _ = machine.publish(.stored(parent: nil, blocks: [self.block(UInt64(number))])) }
        let events = self.drain(&machine).map { RouterEvent(worker: self.worker, event: $0) }
        #expect(machine.answer(KVQuery(worker: self.worker)) == .answer(.state(events, last: 3)))
        #expect(
            machine.answer(KVQuery(worker: self.worker, start: 2)) == .answer(.tail(Array(events[1...]), last: 3))
        )
        #expect(
            machine.answer(KVQuery(worker: self.worker, start: 1000))
                == .answer(.tooNew(start: 1000, end: 3, newest: 3))
        )
        #expect(
            machine.answer(KVQuery(worker: self.worker, start: 3, end: 1)) == .answer(.invalidRange(start: 3, end: 1))
        )
        for query in [KVQuery(worker: 5), KVQuery(worker: self.worker, rank: 1)] {
            guard case .answer(.error) = machine.answer(query) else { Issue.record("no error"); continue }
        }
        // Older events are forgotten, so only the whole state helps.
        _ = machine.publish(.removed([BlockHash(rawValue: 1)]))
        #expect(machine.answer(KVQuery(worker: self.worker)) == .dump(machine.present, last: 4))
        #expect(machine.answer(KVQuery(worker: self.worker, start: 1)) == .dump(machine.present, last: 4))
    }

    @Test(arguments: 1...20)
    func `Whatever is lost, a router ends with the truth`(seed: UInt64) throws {
        var work = CacheWork(seed: seed)
        var random = SystemRandomNumberGenerator()
        var machine = PublisherMachine(
            self.configuration {
                $0.maximumQueuedEvents = 20
                $0.recentEvents = 30
                $0.blocksPerEvent = 3
                $0.eventsPerMessage = 4
            }
        )
        var model = BlockModel()
        func ask() {
            guard let missing = model.missing else { return }
            switch machine.answer(KVQuery(worker: self.worker, start: missing)) {
            case .answer(let answer): model.apply(answer)
            case .dump(let blocks, let last):
                let events = blocks.stores(upTo: 3).map {
                    RouterEvent(worker: self.worker, event: KVEvent(id: 0, change: $0))
                }
                model.apply(.state(events, last: last))
            }
        }
        for _ in 0..<600 {
            switch Int.random(in: 0..<40, using: &random) {
            case 0: _ = machine.linkChanged(isUp: false)
            case 1...6: _ = machine.linkChanged(isUp: true)
            case 7...20:
                for event in machine.takeBatch() where Int.random(in: 0..<10, using: &random) > 0 {
                    model.apply(event.event)
                }
                ask()
            default: _ = machine.publish(work.step())
            }
        }
        _ = machine.linkChanged(isUp: true)
        for event in self.drain(&machine) { model.apply(event) }
        ask()
        _ = machine.repeatNewest()
        for event in self.drain(&machine) { model.apply(event) }
        ask()
        #expect(model.blocks == work.blocks)
    }
}
