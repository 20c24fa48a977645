import NIOCore
package import RequestPlane
internal import Synchronization

/// A handler whose every state a check can hold and see.
///
/// It waits for `acceptance` before it accepts the request, yields a number of items, and waits for `end` before the sequence ends.
package final class HeldHandler: Sendable {
    package let acceptance = Latch()
    package let end = Latch()
    private let count: Int
    private let startedCount = Atomic(0)
    private let producedCount = Atomic(0)
    private let cancelledCount = Atomic(0)
    private let waitingCount = Atomic(0)

    /// Creates a handler.
    ///
    /// - Parameters:
    ///   - accepts: whether it accepts at once.
    ///   - items: how many items it yields before it waits for `end`.
    package init(accepts: Bool = true, items: Int) {
        self.count = items
        if accepts { self.acceptance.open() }
    }

    /// Requests that have reached the handler.
    package var started: Int { self.startedCount.load(ordering: .relaxed) }
    /// Items that were pulled.
    package var produced: Int { self.producedCount.load(ordering: .relaxed) }
    /// Requests that wait for `end`.
    package var waiting: Int { self.waitingCount.load(ordering: .relaxed) }
    /// Requests whose cancellation the handler has seen.
    package var cancelled: Int { self.cancelledCount.load(ordering: .relaxed) }

    package var handler: RequestHandler {
        { _ in
            self.startedCount.add(1, ordering: .relaxed)
            try await self.wait(self.acceptance)
            return Script { index in
                if index == self.count {
                    self.waitingCount.add(1, ordering: .relaxed)
                    try await self.wait(self.end)
                    return nil
                }
                self.producedCount.add(1, ordering: .relaxed)
                return .number(index)
            }
        }
    }

    private func wait(_ latch: Latch) async throws {
        do { try await latch.wait() } catch {
            self.cancelledCount.add(1, ordering: .relaxed)
            throw error
        }
    }
}

/// Items made by a function of their position; nil ends the sequence.
struct Script: AsyncSequence, Sendable {
    let item: @Sendable (Int) async throws -> ResponseItem?

    func makeAsyncIterator() -> Iterator { Iterator(item: self.item) }

    struct Iterator: AsyncIteratorProtocol {
        let item: @Sendable (Int) async throws -> ResponseItem?
        var position = 0

        mutating func next() async throws -> ResponseItem? {
            defer { self.position += 1 }
            return try await self.item(self.position)
        }
    }
}

extension ResponseItem {
    static func number(_ number: Int) -> ResponseItem { .data(ByteBuffer(string: String(number))) }

    static func text(_ text: String) -> ResponseItem { .data(ByteBuffer(string: text)) }
}

/// A handler that yields what the closure makes of the request.
func answering(_ items: @escaping @Sendable (IncomingRequest) throws -> [ResponseItem]) -> RequestHandler {
    { request in
        let all = try items(request)
        return Script { $0 < all.count ? all[$0] : nil }
    }
}

extension ConformancePair {
    /// Sends a request with a text.
    func send(
        _ text: String = "{}",
        to instance: Instance,
        id: String = "r-1"
    ) async throws(RequestPlaneError) -> ResponseStream {
        try await self.client.send(OutgoingRequest(id: id, payload: ByteBuffer(string: text)), to: instance)
    }

    /// Sends a request with a text and reads the whole answer.
    func call(_ text: String = "{}", to instance: Instance, id: String = "r-1") async throws -> [ResponseItem] {
        try await self.send(text, to: instance, id: id).all()
    }

    /// Waits until the server has nothing to do.
    func serverIsIdle() async throws {
        try await eventually("nothing is in flight at the server") {
            self.server.inFlight == 0 && self.statistics.allSatisfy { $0.inFlight == 0 }
        }
    }
}

extension ResponseStream {
    func all() async throws -> [ResponseItem] {
        var items: [ResponseItem] = []
        for try await item in self { items.append(item) }
        return items
    }
}
