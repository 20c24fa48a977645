import Synchronization

/// What the outside wants of the engine, until the engine's task takes it.
///
/// Only that task touches the engine, so what it publishes is in the order in which it happened.
final class MockInbox: Sendable {
    enum Input: Sendable {
        case submit(MockRequest, BlockCache.Key, MockAnswer.Continuation)
        case cancel(BlockCache.Key)
    }

    private let inputs: Mutex<[Input]> = Mutex([])
    private let keys = Atomic<UInt64>(0)
    private let wake: AsyncStream<Void>.Continuation
    /// Has an element when there is something to take; one reader only.
    let arrivals: AsyncStream<Void>

    init() { (self.arrivals, self.wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    /// A name that no other request has.
    func nextKey() -> BlockCache.Key {
        BlockCache.Key(number: self.keys.add(1, ordering: .relaxed).newValue)
    }

    func put(_ input: Input) {
        self.inputs.withLock { $0.append(input) }
        // Outside the lock: waking a reader may run code that wants it.
        self.wake.yield()
    }

    func takeAll() -> [Input] {
        self.inputs.withLock { inputs in
            defer { inputs = [] }
            return inputs
        }
    }
}
