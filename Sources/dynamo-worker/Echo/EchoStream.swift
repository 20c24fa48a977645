import RequestPlane

/// The answer as a sequence that is pulled: a token costs nothing before somebody asks for it.
struct EchoStream: AsyncSequence, Sendable {
    typealias Element = ResponseItem
    typealias Failure = any Error

    fileprivate enum Content: Sendable {
        case answer(EchoPlan, ChunkWriter, interval: Duration?)
        case failure(RemoteError)
    }

    private let content: Content

    init(plan: EchoPlan, writer: ChunkWriter, interval: Duration?) {
        self.content = .answer(plan, writer, interval: interval)
    }

    init(failure: RemoteError) { self.content = .failure(failure) }

    func makeAsyncIterator() -> Iterator { Iterator(self.content) }

    struct Iterator: AsyncIteratorProtocol {
        typealias Failure = any Error

        private let content: Content
        private var step = 0
        private var due: ContinuousClock.Instant?

        fileprivate init(_ content: Content) { self.content = content }

        mutating func next() async throws -> ResponseItem? {
            defer { self.step += 1 }
            switch self.content {
            case .failure(let error): return self.step == 0 ? .failure(error) : nil
            case .answer(let plan, let writer, let interval):
                if self.step < plan.steps {
                    try await self.pace(interval)
                    return .data(writer.tokens(of: plan.choices, at: self.step))
                }
                switch self.step - plan.steps {
                case 0: return .data(writer.finish(plan.choices.map(\.finishReason)))
                case 1 where plan.includesUsage:
                    return .data(writer.usage(prompt: plan.promptTokens, completion: plan.completionTokens))
                default: return nil
                }
            }
        }

        /// Waits until the next token is due.
        ///
        /// A reader that was slow gets no burst afterwards.
        private mutating func pace(_ interval: Duration?) async throws {
            guard let interval else {
                try Task.checkCancellation()
                return
            }
            let now = ContinuousClock.now
            if let due = self.due, due > now { try await Task.sleep(until: due, clock: .continuous) }
            self.due = Swift.max(self.due ?? now, now - interval) + interval
        }
    }
}
