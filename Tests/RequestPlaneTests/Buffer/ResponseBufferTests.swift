import NIOCore
import RequestPlane
import Synchronization
import TestSupport
import Testing

@Suite struct ResponseBufferTests {
    private final class Producer: ResponseProducer {
        let calls = Mutex<[String]>([])
        func produceMore() { self.calls.withLock { $0.append("more") } }
        func cancelGeneration() { self.calls.withLock { $0.append("cancel") } }
        func stopGeneration() { self.calls.withLock { $0.append("stop") } }
        var all: [String] { self.calls.withLock { $0 } }
    }

    private func data(_ size: Int) -> ResponseItem { .data(ByteBuffer(repeating: 0x31, count: size)) }

    @Test func itemsInOrderThenTheEnd() async throws {
        let buffer = ResponseBuffer()
        buffer.accept()
        #expect(buffer.yield([self.data(1), self.data(2)]) == .more)
        #expect(buffer.yield([self.data(3)]) == .more)
        buffer.finish(nil)
        try await buffer.waitUntilAccepted()
        #expect(try await buffer.next() == self.data(1))
        #expect(try await buffer.next() == self.data(2))
        #expect(try await buffer.next() == self.data(3))
        #expect(try await buffer.next() == nil)
        #expect(try await buffer.next() == nil)
    }

    @Test func queuedItemsAreTakenWithoutWaiting() async throws {
        let buffer = ResponseBuffer(highMark: 300, lowMark: 80)
        let producer = Producer()
        _ = buffer.attach(producer)
        buffer.accept()
        #expect(buffer.nextQueued() == nil)
        #expect(buffer.yield([self.data(100), self.data(101), self.data(1)]) == .wait)
        #expect(buffer.nextQueued() == self.data(100))
        #expect(producer.all == [])
        #expect(try await buffer.next() == self.data(101))
        #expect(producer.all == ["more"])
        buffer.finish(PlaneFailure(.streamEndedEarly, "gone"))
        #expect(buffer.nextQueued() == self.data(1))
        // The end is for those who wait.
        #expect(buffer.nextQueued() == nil)
        await #expect(throws: RequestPlaneError.self) { try await buffer.next() }
        #expect(buffer.nextQueued() == nil)
    }

    @Test func failureComesAfterTheItems() async throws {
        let buffer = ResponseBuffer()
        buffer.accept()
        _ = buffer.yield([self.data(1)])
        buffer.finish(PlaneFailure(.streamEndedEarly, "gone"))
        #expect(try await buffer.next() == self.data(1))
        await #expect(throws: RequestPlaneError.self) { try await buffer.next() }
    }

    @Test func slowReaderHoldsTheProducer() async throws {
        let buffer = ResponseBuffer(highMark: 1000, lowMark: 300)
        let producer = Producer()
        #expect(buffer.attach(producer) == .read)
        #expect(buffer.yield([self.data(500)]) == .more)
        #expect(buffer.yield([self.data(500)]) == .wait)
        _ = try await buffer.next()
        #expect(producer.all == [], "above the low mark")
        _ = try await buffer.next()
        #expect(producer.all == ["more"])
    }

    /// What a producer had in hand when it was told to wait must not make the buffer forget to wake it.
    @Test func producerThatYieldsWhileItWaitsIsStillWoken() async throws {
        let buffer = ResponseBuffer(highMark: 1000, lowMark: 300)
        let producer = Producer()
        _ = buffer.attach(producer)
        #expect(buffer.yield([self.data(500), self.data(500)]) == .wait)
        _ = try await buffer.next()
        #expect(buffer.yield([self.data(10)]) == .wait, "below the high mark, but above the low one")
        _ = try await buffer.next()
        #expect(producer.all == ["more"])
        #expect(buffer.yield([self.data(10)]) == .more)
    }

    @Test func waitingReaderIsWoken() async throws {
        let buffer = ResponseBuffer()
        try await withThrowingTaskGroup(of: Int.self) { group in
            group.addTask {
                var count = 0
                while try await buffer.next() != nil { count += 1 }
                return count
            }
            for _ in 0..<1000 { _ = buffer.yield([self.data(1)]) }
            buffer.finish(nil)
            let count = try await group.next()
            #expect(count == 1000)
        }
    }

    @Test func cancelledReaderTellsTheProducer() async throws {
        let buffer = ResponseBuffer()
        let producer = Producer()
        _ = buffer.attach(producer)
        let reader = Task { _ = try await buffer.next() }
        reader.cancel()
        await #expect(throws: RequestPlaneError.self) { try await reader.value }
        #expect(producer.all == ["cancel"])
        #expect(buffer.yield([self.data(1)]) == .gone)
    }

    @Test func droppedStreamTellsTheProducer() async throws {
        let producer = Producer()
        do {
            let buffer = ResponseBuffer()
            _ = buffer.attach(producer)
            _ = buffer.yield([self.data(1), self.data(1)])
            for try await _ in ResponseStream(buffer) { break }
        }
        #expect(producer.all == ["cancel"])
        let unread = Producer()
        do {
            let buffer = ResponseBuffer()
            _ = buffer.attach(unread)
            _ = ResponseStream(buffer)
        }
        #expect(unread.all == ["cancel"])
    }

    @Test func completeStreamIsNotCancelledWhenDropped() async throws {
        let producer = Producer()
        let ends = Atomic(0)
        do {
            let buffer = ResponseBuffer(onEnd: { ends.add(1, ordering: .relaxed) })
            _ = buffer.attach(producer)
            buffer.accept()
            buffer.finish(nil)
            for try await _ in ResponseStream(buffer) {}
        }
        #expect(producer.all == [])
        #expect(ends.load(ordering: .relaxed) == 1)
    }

    @Test func wishesBeforeTheProducerIsThereAreKept() {
        let cancelled = ResponseBuffer()
        cancelled.cancel()
        #expect(cancelled.attach(Producer()) == .cancel)
        let stopped = ResponseBuffer()
        stopped.stop()
        #expect(stopped.attach(Producer()) == .stop)
    }

    @Test func refusalBeforeAcceptance() async throws {
        let buffer = ResponseBuffer()
        let caller = Task { try await buffer.waitUntilAccepted() }
        buffer.finish(PlaneFailure(.remote, "no"))
        let error = await #expect(throws: RequestPlaneError.self) { try await caller.value }
        #expect(error?.code == .remote)
    }

    @Test func secondReaderIsRefused() async throws {
        let buffer = ResponseBuffer()
        await withTaskGroup(of: RequestPlaneError.Code?.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    do throws(RequestPlaneError) { _ = try await buffer.next() } catch { return error.code }
                    return nil
                }
            }
            let first = await group.next()
            #expect(first == .protocolViolation)
            buffer.finish(nil)
            let second = await group.next()
            #expect(second == .some(nil))
        }
    }
}
