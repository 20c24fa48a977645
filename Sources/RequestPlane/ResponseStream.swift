/// The answer to a request: items in order, pulled by the reader.
///
/// One reader only. A normal end of the sequence means success (the final frame has arrived); anything else is thrown as
/// `RequestPlaneError`. Dropping the stream or cancelling the reading task cancels the generation in the worker.
public struct ResponseStream: AsyncSequence, Sendable {
    public typealias Element = ResponseItem
    public typealias Failure = any Error

    private let makeNext: @Sendable () -> AsyncIterator
    private let requestStop: @Sendable () -> Void

    /// Wraps a transport's sequence.
    ///
    /// - Parameters:
    ///   - base: the items; its iterator's deinitialization must cancel the request.
    ///   - stop: asks the worker to end the generation gracefully.
    public init<Base: AsyncSequence & Sendable>(
        _ base: Base,
        stop: @escaping @Sendable () -> Void = {}
    ) where Base.Element == ResponseItem {
        self.makeNext = { AsyncIterator(base.makeAsyncIterator()) }
        self.requestStop = stop
    }

    /// Asks the worker to end the generation; the sequence then ends normally.
    public func stop() { self.requestStop() }

    public func makeAsyncIterator() -> AsyncIterator { self.makeNext() }

    /// Pulls the items.
    public struct AsyncIterator: AsyncIteratorProtocol {
        private var base: any AsyncIteratorProtocol<ResponseItem, any Error>

        init<Base: AsyncIteratorProtocol>(_ base: Base) where Base.Element == ResponseItem {
            self.base = Erased(base: base)
        }

        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws -> ResponseItem? {
            try await self.base.next(isolation: actor)
        }

        public mutating func next() async throws -> ResponseItem? {
            try await self.base.next(isolation: nil)
        }

        private struct Erased<Base: AsyncIteratorProtocol>: AsyncIteratorProtocol where Base.Element == ResponseItem {
            typealias Failure = any Error
            var base: Base
            mutating func next(isolation actor: isolated (any Actor)?) async throws -> ResponseItem? {
                do { return try await self.base.next(isolation: actor) } catch { throw error }
            }
            mutating func next() async throws -> ResponseItem? { try await self.next(isolation: nil) }
        }
    }
}
