import KVRouter
import RequestPlane

/// Runs the simulated engine in one task and answers requests with it.
final class MockService: Sendable {
    private let configuration: MockEngine.Configuration
    private let limits: MockRequest.Limits
    private let role: PoolRole
    private let sink: any KVChangeSink
    private let report: @Sendable (MockEngine.Load) -> Void
    private let inbox = MockInbox()

    /// - Parameters:
    ///   - configuration: of the engine.
    ///   - limits: of requests.
    ///   - role: what of the work this worker does.
    ///   - sink: hears of every change of the cache.
    ///   - report: hears of the load when it may have changed.
    init(
        configuration: MockEngine.Configuration,
        limits: MockRequest.Limits,
        role: PoolRole = .aggregated,
        sink: any KVChangeSink = NoKVChanges(),
        report: @escaping @Sendable (MockEngine.Load) -> Void = { _ in }
    ) {
        self.configuration = configuration
        self.limits = limits
        self.role = role
        self.sink = sink
        self.report = report
    }

    /// Answers a request; a reader that goes away frees its blocks.
    ///
    /// As with the echo a request that cannot be served becomes an error inside the stream.
    func answer(_ incoming: IncomingRequest) -> MockAnswer.Stream {
        var request: MockRequest
        do throws(RemoteError) {
            request = try MockRequest(parsing: incoming.payload, limits: self.limits)
        } catch {
            return MockAnswer.failure(error)
        }
        if self.role == .prefill {
            // The prompt, and the one token that comes of it.
            (request.maxTokens, request.endReason, request.stopTokens) = (1, .length, [])
        }
        let key = self.inbox.nextKey()
        let (stream, continuation) = MockAnswer.Stream.makeStream()
        continuation.onTermination = { [inbox = self.inbox] reason in
            if case .cancelled = reason { inbox.put(.cancel(key)) }
        }
        self.inbox.put(.submit(request, key, continuation))
        return stream
    }

    /// Runs the engine until the task is cancelled; call once.
    ///
    /// - Throws: `CancellationError`.
    func run() async throws {
        var state = State(engine: MockEngine(self.configuration), role: self.role, sink: self.sink)
        var arrivals = self.inbox.arrivals.makeAsyncIterator()
        var due = ContinuousClock.now
        self.report(state.engine.load)
        while true {
            guard let step = state.step else {
                guard await arrivals.next() != nil else { throw CancellationError() }
                state.take(self.inbox.takeAll())
                self.report(state.engine.load)
                continue
            }
            // From when the step before was due, so that steps do not drift; an engine that was held up makes no burst.
            let now = ContinuousClock.now
            due = max(due, now - step) + step
            if due > now { try await Task.sleep(until: due, clock: .continuous) } else { await Task.yield() }
            try Task.checkCancellation()
            state.take(self.inbox.takeAll())
            state.endStep()
            self.report(state.engine.load)
        }
    }

    /// What only the engine's task sees.
    private struct State {
        var engine: MockEngine
        let role: PoolRole
        let sink: any KVChangeSink
        /// How long the running step takes.
        var step: Duration?
        private var answers: [BlockCache.Key: MockAnswer.Continuation] = [:]

        init(engine: MockEngine, role: PoolRole, sink: any KVChangeSink) {
            self.engine = engine
            self.role = role
            self.sink = sink
        }

        mutating func take(_ inputs: [MockInbox.Input]) {
            for input in inputs {
                switch input {
                case .submit(let request, let key, let answer):
                    self.answers[key] = answer
                    self.perform(self.engine.submit(request, as: key))
                case .cancel(let key):
                    guard self.answers.removeValue(forKey: key) != nil else { continue }
                    self.engine.cancel(key)
                }
            }
        }

        mutating func endStep() {
            self.step = nil
            self.perform(self.engine.stepEnded())
        }

        private mutating func perform(_ actions: [MockEngine.Action]) {
            for action in actions {
                switch action {
                case .changes(let changes): self.sink.record(changes, rank: 0)
                case .token(let token, let key):
                    let isPrefill = self.role == .prefill
                    self.answers[key]?.yield(isPrefill ? MockAnswer.prefilled(token) : MockAnswer.token(token))
                case .finish(let reason, let key):
                    let answer = self.answers.removeValue(forKey: key)
                    answer?.yield(MockAnswer.finish(reason))
                    answer?.finish()
                case .step(let duration): self.step = duration
                }
            }
        }
    }
}
