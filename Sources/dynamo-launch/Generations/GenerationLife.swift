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
        /// Those who wait until it is ready, by the number that they were given.
        var waitingForChange: [Int: AsyncStream<Void>.Continuation] = [:]
        var nextWaiting = 0
    }

    private let state = Mutex(State())

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
        self.tellChange()
    }

    private func tellChange() {
        for continuation in self.state.withLock({ Array($0.waitingForChange.values) }) { continuation.yield() }
    }

    func ended() {
        let waiting = self.state.withLock { state in
            state.hasEnded = true
            defer { state.waitingForEnd = [] }
            return state.waitingForEnd
        }
        for continuation in waiting { continuation.resume() }
        self.tellChange()
    }

    /// Waits until every layer of every process is reached.
    ///
    /// - Throws: `MigrationFailure` when it never will be, `CancellationError`.
    func waitUntilReady() async throws {
        let (changes, change) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        // It may be already.
        change.yield()
        let number = self.state.withLock { state in
            state.nextWaiting += 1
            state.waitingForChange[state.nextWaiting] = change
            return state.nextWaiting
        }
        defer { self.state.withLock { $0.waitingForChange[number] = nil } }
        for await _ in changes {
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
