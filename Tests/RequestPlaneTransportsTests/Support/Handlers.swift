import NIOCore
import RequestPlane
import Synchronization

/// Yields items for ever, as fast as they are pulled, and counts them.
final class EndlessHandler: Sendable {
    let produced = Counter(0)
    let size: Int
    let pause: Duration

    init(size: Int = 16, pause: Duration = .zero) {
        self.size = size
        self.pause = pause
    }

    var handler: RequestHandler { { _ in Items(owner: self) } }

    struct Items: AsyncSequence, Sendable {
        let owner: EndlessHandler

        func makeAsyncIterator() -> Iterator { Iterator(owner: self.owner) }

        struct Iterator: AsyncIteratorProtocol {
            let owner: EndlessHandler
            var payload: ByteBuffer

            init(owner: EndlessHandler) {
                self.owner = owner
                self.payload = ByteBuffer(string: "\"" + String(repeating: "x", count: owner.size) + "\"")
            }

            mutating func next() async throws -> ResponseItem? {
                if self.owner.pause > .zero { try await Task.sleep(for: self.owner.pause) }
                _ = self.owner.produced.increment()
                return .data(self.payload)
            }
        }
    }
}

/// Yields the numbers below a count, as fast as they are pulled.
func counting(to count: Int) -> RequestHandler {
    { _ in
        let next = Counter(0)
        return AsyncThrowingStream<ResponseItem, any Error> {
            let number = next.increment()
            return number < count ? .data(ByteBuffer(string: String(number))) : nil
        }
    }
}

/// A shared counter.
final class Counter: Sendable {
    private let value: Atomic<Int>
    init(_ value: Int) { self.value = Atomic(value) }
    func increment() -> Int { self.value.add(1, ordering: .relaxed).oldValue }
    var current: Int { self.value.load(ordering: .relaxed) }
}
