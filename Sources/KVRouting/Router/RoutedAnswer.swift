package import KVRouter
package import RequestPlane
import Synchronization

/// A worker's answer on its way through a router, which learns from it when the prompt was processed and when all is over.
package struct RoutedAnswer: AsyncSequence, Sendable {
    package typealias Element = ResponseItem
    package typealias Failure = any Error

    private let stream: ResponseStream
    private let ticket: RoutedTicket

    init(_ stream: ResponseStream, ticket: RoutedTicket) {
        self.stream = stream
        self.ticket = ticket
    }

    package func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(base: self.stream.makeAsyncIterator(), ticket: self.ticket)
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate var base: ResponseStream.AsyncIterator
        fileprivate let ticket: RoutedTicket
        private var isFirst = true

        fileprivate init(base: ResponseStream.AsyncIterator, ticket: RoutedTicket) {
            self.base = base
            self.ticket = ticket
        }

        package mutating func next(isolation actor: isolated (any Actor)?) async throws -> ResponseItem? {
            do {
                guard let item = try await self.base.next(isolation: actor) else {
                    self.ticket.end()
                    return nil
                }
                guard case .data(let buffer) = item else { return item }
                let routed = RoutedItem(buffer, naming: self.isFirst ? self.ticket.worker : nil)
                self.isFirst = false
                self.ticket.produced(routed.tokens)
                return routed.item
            } catch {
                self.ticket.end()
                throw error
            }
        }

        package mutating func next() async throws -> ResponseItem? { try await self.next(isolation: #isolation) }
    }
}

/// A request that a router has sent, for a caller in the same process.
package struct RoutedCall: Sendable {
    /// The worker's own items.
    package let stream: ResponseStream
    /// To be told of tokens and of the end.
    package let ticket: RoutedTicket
    package let choice: Selection.Choice
    /// Full blocks of the prompt.
    package let blocks: Int
    /// Requests that waited for a worker when this one came.
    package let waiting: Int
}

/// A running request's place in the load of a router: gone with the last who holds it, so that no way out is forgotten.
package final class RoutedTicket: Sendable {
    package let worker: WorkerRank
    private let id: String
    private let router: WorkerRouter
    private let hasEnded = Atomic(false)

    init(_ id: String, on worker: WorkerRank, of router: WorkerRouter) {
        self.id = id
        self.worker = worker
        self.router = router
    }

    deinit { self.end() }

    /// Tokens have come; with the first item the prompt is processed.
    package func produced(_ tokens: Int) { self.router.produced(tokens, for: self.id) }

    /// The request has ended, in whatever way.
    package func end() {
        guard !self.hasEnded.exchange(true, ordering: .relaxed) else { return }
        self.router.ended(self.id)
    }
}
