import Synchronization

/// Brings a reply and a cancellation together: whichever comes first ends the wait.
final class ReplyWait: Sendable {
    typealias Body = @Sendable (Result<NATSMessage, NATSError>) -> Void

    private enum State {
        case idle
        case waiting(Body, NATSRequest?)
        case over(Result<NATSMessage, NATSError>)
    }

    private let state = Mutex(State.idle)

    /// Begins the wait.
    ///
    /// - Returns: false when it has ended before; the body was called then.
    func begin(_ body: @escaping Body) -> Bool {
        let early = self.state.withLock { state -> Result<NATSMessage, NATSError>? in
            if case .over(let result) = state { return result }
            state = .waiting(body, nil)
            return nil
        }
        guard let early else { return true }
        body(early)
        return false
    }

    /// Notes what to cancel.
    func sent(_ request: NATSRequest) {
        let isOver = self.state.withLock { state in
            guard case .waiting(let body, _) = state else { return true }
            state = .waiting(body, request)
            return false
        }
        if isOver { request.cancel() }
    }

    func end(_ result: Result<NATSMessage, NATSError>) {
        let former = self.state.withLock { state in
            let former = state
            if case .over = former { return former }
            state = .over(result)
            return former
        }
        guard case .waiting(let body, let request) = former else { return }
        request?.cancel()
        body(result)
    }
}
