import Testing

@testable import NATS

@Suite struct OutboundQueueTests {
    private var queue = OutboundQueue<Int>(maximumBytes: 100)

    private mutating func append(_ item: Int, size: Int) -> Bool { self.queue.append(item, size: size) }

    private mutating func take(upTo size: Int) -> [Int] { self.queue.take(upTo: size).map(\.item) }

    @Test mutating func `keeps the order and the limit`() {
        let accepted = [
            self.append(1, size: 60), self.append(2, size: 40), self.append(3, size: 1), self.append(4, size: 0),
        ]
        #expect(accepted == [true, true, false, true], "what has no size is not counted")
        #expect(self.queue.bytes == 100)
        let first = self.take(upTo: 50)
        #expect(first == [1])
        #expect(self.queue.bytes == 40)
        let rest = self.queue.take(upTo: .max)
        #expect(rest.map(\.item) == [2, 4])
        #expect(self.queue.isEmpty && self.queue.bytes == 0)
        _ = self.append(5, size: 1)
        self.queue.putBack(rest)
        #expect(self.queue.bytes == 41)
        let all = self.take(upTo: .max)
        #expect(all == [2, 4, 5])
    }

    @Test mutating func `one item of any size fits into an empty queue`() {
        let accepted = [self.append(1, size: 1000), self.append(2, size: 1), self.append(3, size: 0)]
        #expect(accepted == [true, false, true], "a flush behind it is still taken")
    }
}
