import NIOCore
import Testing

@testable import NATS

@Suite struct SubscriptionBufferTests {
    private var buffer = SubscriptionBuffer(limits: .init(messages: 2, bytes: 10))

    private mutating func keep(_ count: Int) -> Bool {
        self.buffer.keep(NATSMessage(subject: "a", payload: ByteBuffer(repeating: 1, count: count)))
    }

    private mutating func take() -> Int? { self.buffer.takeForDelivery()?.payload.readableBytes }

    @Test mutating func `messages wait up to the limits`() {
        let byCount = [self.keep(1), self.keep(2), self.keep(3)]
        #expect(byCount == [true, true, false])
        #expect(self.buffer.dropped == 1)
        let first = self.take()
        self.buffer.isPaused = false
        let second = self.take()
        #expect(first == 1 && second == 2)
        let bySize = [self.keep(100), self.keep(1)]
        #expect(bySize == [true, false], "the first fits, however large it is")
        #expect(self.buffer.dropped == 2)
    }

    @Test mutating func `one message at a time, until the receiver wants more`() {
        _ = (self.keep(1), self.keep(2))
        let taken = [self.take(), self.take()]
        #expect(taken == [1, nil])
        self.buffer.isPaused = false
        let next = self.take()
        #expect(next == 2)
    }

    @Test mutating func `nothing after the end`() {
        _ = self.keep(1)
        let ends = [self.buffer.end(), self.buffer.end()]
        #expect(ends == [true, false])
        let kept = self.keep(1)
        #expect(kept, "it is not a loss")
        #expect(self.buffer.isEmpty && self.buffer.dropped == 0)
    }
}
