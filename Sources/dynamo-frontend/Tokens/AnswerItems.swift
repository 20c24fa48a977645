import Discovery
import KVRouting
import NIOCore
import RequestPlane

/// The items of an answer as the client is to get them, whatever the worker says them in.
struct AnswerItems {
    private enum Source {
        /// The worker speaks OpenAI's language.
        case text(ResponseStream.AsyncIterator)
        case tokens(TokenItems)
    }

    private var source: Source

    init(_ stream: ResponseStream) { self.source = .text(stream.makeAsyncIterator()) }

    init(_ items: TokenItems) { self.source = .tokens(items) }

    /// The next item; nil after the last one of a complete answer.
    mutating func next() async throws -> ResponseItem? {
        switch self.source {
        case .text(var items):
            defer { self.source = .text(items) }
            return try await items.next()
        case .tokens(var items):
            defer { self.source = .tokens(items) }
            return try await items.next()
        }
    }

    /// The next item if it is there already; nil says nothing about the end.
    mutating func nextQueued() -> ResponseItem? {
        switch self.source {
        case .text(var items):
            defer { self.source = .text(items) }
            return items.nextQueued()
        case .tokens(var items):
            defer { self.source = .tokens(items) }
            return items.nextQueued()
        }
    }
}

/// The chunks that are made of a worker's items.
struct TokenItems {
    /// Gone when all has come, which cancels what the worker still does.
    private var worker: ResponseStream.AsyncIterator?
    private var answer: TokenAnswer
    private let ticket: RoutedTicket?
    /// What has been made and not been taken, the next one last.
    private var ready: [ResponseItem] = []
    /// What comes before the first chunk.
    private var before: [ResponseItem]
    private var hasEnded = false

    /// Reads a worker's answer.
    ///
    /// - Parameters:
    ///   - stream: the worker's.
    ///   - answer: makes the chunks.
    ///   - ticket: of the router that chose the worker.
    ///   - annotations: for the client, sent before the first chunk.
    init(_ stream: ResponseStream, _ answer: TokenAnswer, ticket: RoutedTicket? = nil, annotations: [ResponseItem] = [])
    {
        self.worker = stream.makeAsyncIterator()
        self.answer = answer
        self.ticket = ticket
        self.before = annotations
    }

    mutating func next() async throws -> ResponseItem? {
        while true {
            if let item = self.ready.popLast() { return item }
            if self.hasEnded { return nil }
            guard !self.answer.isFinished, let item = try await self.worker?.next() else {
                self.end()
                continue
            }
            self.take(item)
        }
    }

    mutating func nextQueued() -> ResponseItem? {
        while true {
            if let item = self.ready.popLast() { return item }
            if self.hasEnded || self.answer.isFinished { return nil }
            guard let item = self.worker?.nextQueued() else { return nil }
            self.take(item)
        }
    }

    private mutating func take(_ item: ResponseItem) {
        var made: [ResponseItem] = []
        switch item {
        case .data(let payload):
            do throws(RemoteError) {
                let item = try Self.json(payload)
                // A worker that yields nothing sends it.
                if item.isNull { return }
                let (chunks, tokens) = try self.answer.take(item, now: .now)
                self.ticket?.produced(tokens)
                made = chunks.map { .data($0.buffer) }
            } catch {
                made = [.failure(error)]
            }
        case .bare: break
        case .annotation, .failure: made = [item]
        }
        if case .failure? = made.first {
            self.hasEnded = true
            self.worker = nil
            self.ticket?.end()
            self.ready = made
            return
        }
        self.ready = (self.before + made).reversed()
        self.before = []
    }

    private static func json(_ payload: ByteBuffer) throws(RemoteError) -> JSONValue {
        do { return try JSONValue(parsing: payload) } catch {
            throw RemoteError(kind: .unknown, message: "the worker sent an item that is not JSON: \(error)")
        }
    }

    private mutating func end() {
        self.hasEnded = true
        self.worker = nil
        self.ticket?.end()
        guard self.answer.hasBegun else {
            self.ready = [.failure(RemoteError(kind: .unavailable, message: "the worker answered nothing"))]
            return
        }
        self.ready = (self.before + self.answer.end(now: .now).map { .data($0.buffer) }).reversed()
        self.before = []
    }
}
