internal import Synchronization

/// The answer to a request: items in order, pulled by the reader.
///
/// One reader only. A normal end of the sequence means success (the final frame has arrived); anything else is thrown as
/// `RequestPlaneError`. Dropping the stream or cancelling the reading task cancels the generation in the worker.
public struct ResponseStream: AsyncSequence, Sendable {
    /// What an answer is made of.
    public typealias Element = ResponseItem
    /// In practice a `RequestPlaneError`.
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

    /// Wraps a transport's buffer.
    package init(_ buffer: ResponseBuffer) {
        let owner = ResponseReader.Owner(buffer)
        self.makeNext = { AsyncIterator(owner.makeReader()) }
        self.requestStop = { owner.buffer.stop() }
    }

    /// Asks the worker to end the generation; the sequence then ends normally.
    public func stop() { self.requestStop() }

    /// Starts to read; call once.
    public func makeAsyncIterator() -> AsyncIterator { self.makeNext() }

    /// Pulls the items.
    public struct AsyncIterator: AsyncIteratorProtocol {
        private var source: Source

        private enum Source {
            case reader(ResponseReader)
            case other(any AsyncIteratorProtocol<ResponseItem, any Error>)
        }

        init(_ reader: ResponseReader) { self.source = .reader(reader) }

        init<Base: AsyncIteratorProtocol>(_ base: Base) where Base.Element == ResponseItem {
            self.source = .other(Erased(base: base))
        }

        /// The next item; nil after the last one of a complete answer.
        ///
        /// - Parameter actor: where the reader runs.
        /// - Returns: an item, or nil.
        /// - Throws: `RequestPlaneError` when the answer is not complete.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws -> ResponseItem? {
            switch self.source {
            case .reader(let reader):
                return try await reader.buffer.next()
            case .other(var base):
                defer { self.source = .other(base) }
                return try await base.next(isolation: actor)
            }
        }

        /// The next item; nil after the last one of a complete answer.
        ///
        /// - Returns: an item, or nil.
        /// - Throws: `RequestPlaneError` when the answer is not complete.
        public mutating func next() async throws -> ResponseItem? {
            try await self.next(isolation: #isolation)
        }

        /// The next item if it is there already, so that a reader can pass on in one piece what has come in one piece.
        ///
        /// Nil says nothing about the end.
        package mutating func nextQueued() -> ResponseItem? {
            guard case .reader(let reader) = self.source else { return nil }
            return reader.buffer.nextQueued()
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

/// The iterator's hold on the answer: when it goes, the request is cancelled.
final class ResponseReader: Sendable {
    let buffer: ResponseBuffer

    init(_ buffer: ResponseBuffer) { self.buffer = buffer }

    deinit { self.buffer.cancel() }

    /// The stream's hold on the answer: when the stream goes before it was read, the request is cancelled.
    final class Owner: Sendable {
        let buffer: ResponseBuffer
        private let wasRead = Atomic(false)

        init(_ buffer: ResponseBuffer) { self.buffer = buffer }

        func makeReader() -> ResponseReader {
            self.wasRead.store(true, ordering: .relaxed)
            return ResponseReader(self.buffer)
        }

        deinit { if !self.wasRead.load(ordering: .relaxed) { self.buffer.cancel() } }
    }
}
