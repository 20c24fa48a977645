import KVEvents
import KVRouter
import Logging
import RequestPlane
import Testing

/// What relays hand on, before and after the worker is known.
@Suite struct RelayPublicationTests {
    private static let endpoint = EndpointID(namespace: "dynamo", component: "backend", name: "generate")

    private func publisher(rank: UInt32 = 0, worker: UInt64 = 7) -> KVEventPublisher {
        let configuration = PublisherConfiguration(
            form: .release12,
            endpoint: Self.endpoint,
            worker: worker,
            rank: rank
        )
        return KVEventPublisher(configuration, sink: NoSink(), logger: Logger(label: "test"))
    }

    private func stored(
        _ numbers: [UInt64],
        after parent: UInt64? = nil,
        rank: UInt32 = 0,
        size: Int? = nil
    )
        -> RelayedChange
    {
        let blocks = numbers.map {
            StoredBlock(block: BlockHash(rawValue: $0), tokens: TokensHash(rawValue: $0 + 1000))
        }
        return RelayedChange(
            .stored(parent: parent.map { BlockHash(rawValue: $0) }, blocks: blocks),
            rank: rank,
            blockSize: size
        )
    }

    private func removed(_ numbers: [UInt64], rank: UInt32 = 0) -> RelayedChange {
        RelayedChange(.removed(numbers.map { BlockHash(rawValue: $0) }), rank: rank)
    }

    private func held(_ publisher: KVEventPublisher) -> Set<UInt64> {
        Set(publisher.present.blocks.map(\.rawValue))
    }

    /// The events that a publisher has numbered, as a router is told them.
    private func events(_ publisher: KVEventPublisher) -> [KVEvent.Change] {
        let answer = publisher.answer(KVQuery(worker: publisher.configuration.worker, start: 1, rank: nil))
        guard case .tail(let events, _) = answer else { return [] }
        return events.map(\.event.change)
    }

    private func publication(ranks: Int = 1) -> RelayPublication {
        RelayPublication(ranks: ranks, logger: Logger(label: "test"))
    }

    @Test func `what the engine held before the worker was known is published first, parents before children`() {
        let (publication, publisher) = (self.publication(), self.publisher())
        publication.take([self.stored([1, 2], size: 16), self.stored([3], after: 2, size: 16)])
        publication.take([self.removed([3]), self.stored([4], after: 2, size: 16)])
        #expect(publication.blockCount == 3)
        publication.attach([publisher], blockSize: 16)
        publication.take([self.stored([5], after: 4)])
        #expect(self.held(publisher) == [1, 2, 4, 5])
        #expect(
            self.events(publisher) == [self.stored([1, 2, 4]).change, self.stored([5], after: 4).change]
        )
        #expect(publication.blockCount == 4)
    }

    @Test func `a reset before the worker is known leaves nothing`() {
        let (publication, publisher) = (self.publication(), self.publisher())
        publication.take([self.stored([1, 2], size: 16), RelayedChange(.cleared), self.stored([9], size: 16)])
        publication.attach([publisher], blockSize: 16)
        #expect(self.held(publisher) == [9])
    }

    @Test func `blocks of another size than the card's are left out, before and after`() {
        let (publication, publisher) = (self.publication(), self.publisher())
        publication.take([self.stored([1], size: 16), self.stored([2], size: 32)])
        publication.attach([publisher], blockSize: 16)
        publication.take([self.stored([3], size: 32), self.stored([4], size: 16), self.stored([5])])
        #expect(self.held(publisher) == [1, 4, 5])
    }

    @Test func `blocks of a relay that knows the size are published with whatever the worker says`() {
        let (publication, publisher) = (self.publication(), self.publisher())
        publication.take([self.stored([1])])
        publication.attach([publisher], blockSize: 16)
        #expect(self.held(publisher) == [1])
    }

    @Test func `each rank has a publisher, and a reset of one leaves the other alone`() {
        let publication = self.publication(ranks: 2)
        let publishers = [self.publisher(rank: 0), self.publisher(rank: 1)]
        publication.take([self.stored([1], rank: 0, size: 16), self.stored([2], rank: 1, size: 16)])
        publication.attach(publishers, blockSize: 16)
        publication.take([self.stored([3], rank: 1)])
        publication.take([RelayedChange(.cleared, rank: 1)])
        #expect(publishers.map(self.held) == [[1], []])
        // Routers would empty both ranks of a worker that says `cleared`.
        #expect(!self.events(publishers[1]).contains(.cleared))
        let count = self.events(publishers[1]).count
        publication.take([RelayedChange(.cleared, rank: 1)])
        #expect(self.events(publishers[1]).count == count, "there is nothing to take back")
    }

    @Test func `events of ranks that the worker does not have are left out and counted`() {
        let (publication, publisher) = (self.publication(), self.publisher())
        publication.take([self.stored([1], rank: 3, size: 16)])
        publication.attach([publisher], blockSize: 16)
        publication.take([self.stored([2], rank: 1), self.stored([3])])
        #expect(self.held(publisher) == [3])
        #expect(publication.otherRanks == 2)
    }

    @Test func `a worker that registers anew gets what the engine still holds`() {
        let (publication, first, second) = (self.publication(), self.publisher(), self.publisher(worker: 8))
        publication.attach([first], blockSize: 16)
        publication.take([self.stored([1, 2])])
        publication.detach()
        publication.take([self.stored([3], after: 2), self.removed([3]), self.stored([4], after: 2)])
        #expect(self.held(first) == [1, 2])
        publication.attach([second], blockSize: 16)
        #expect(self.held(second) == [1, 2, 4])
        publication.detach()
        #expect(publication.blockCount == 3)
    }

    @Test func `an engine with ever other block sizes does not fill memory`() {
        let publication = self.publication()
        for size in 1...1000 { publication.take([self.stored([UInt64(size)], size: size)]) }
        #expect(publication.blockCount == 8)
    }
}
