import Rollout
import Supervisor
import Synchronization

/// How far a generation has come, for those who wait for it.
final class GenerationLife: Sendable {
    private struct State: Sendable {
        var isReady = false
        /// The replicas that are.
        var ready: Set<String> = []
        var failure: String?
        var hasEnded = false
        var isRetiring = false
        var waitingForEnd: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let changes: AsyncStream<Void>
    private let change: AsyncStream<Void>.Continuation

    init() { (self.changes, self.change) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1)) }

    /// It ends because a migration is done with it.
    var isRetiring: Bool { self.state.withLock { $0.isRetiring } }

    func retire() { self.state.withLock { $0.isRetiring = true } }

    /// How many replicas are ready at the moment.
    var readyReplicas: Int { self.state.withLock { $0.ready.count } }

    func observe(_ notice: SupervisorNotice) {
        switch notice {
        case .replicaState(let replica, .ready, _):
            self.state.withLock { _ = $0.ready.insert(replica) }
            return
        case .replicaState(let replica, _, _), .exited(let replica, _, _):
            self.state.withLock { _ = $0.ready.remove(replica) }
            return
        case .ready: self.state.withLock { $0.isReady = true }
        case .failed(let reason): self.state.withLock { $0.failure = $0.failure ?? reason }
        default: return
        }
        self.change.yield()
    }

    func ended() {
        let waiting = self.state.withLock { state in
            state.hasEnded = true
            defer { state.waitingForEnd = [] }
            return state.waitingForEnd
        }
        for continuation in waiting { continuation.resume() }
        self.change.yield()
    }

    /// Waits until every layer of every process is reached; only one may wait.
    ///
    /// - Throws: `MigrationFailure` when it never will be, `CancellationError`.
    func waitUntilReady() async throws {
        for await _ in self.changes {
            let (isReady, failure, hasEnded) = self.state.withLock { ($0.isReady, $0.failure, $0.hasEnded) }
            if let failure { throw MigrationFailure(failure) }
            if hasEnded { throw MigrationFailure("its processes ended before they were ready") }
            if isReady { return }
        }
        throw CancellationError()
    }

    /// Waits until nothing of it is left, also when the task is cancelled: what is half ended must not meet what comes after it.
    func waitUntilEnded() async {
        await withCheckedContinuation { continuation in
            let hasEnded = self.state.withLock { state in
                if !state.hasEnded { state.waitingForEnd.append(continuation) }
                return state.hasEnded
            }
            if hasEnded { continuation.resume() }
        }
    }
}
