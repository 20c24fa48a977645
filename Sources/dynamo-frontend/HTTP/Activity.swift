import Synchronization

/// Counts the generations that run, and knows whether new ones are still taken.
final class Activity: Sendable {
    private struct State {
        var running = 0
        var isDraining = false
        var idle: AsyncStream<Void>.Continuation?
    }

    private let state = Mutex(State())

    /// A generation wants to begin.
    ///
    /// - Returns: false when no new ones are taken.
    func begin() -> Bool {
        self.state.withLock { state in
            guard !state.isDraining else { return false }
            state.running += 1
            return true
        }
    }

    /// A generation has ended.
    func end() {
        let idle = self.state.withLock { state in
            state.running -= 1
            return state.running == 0 ? state.idle : nil
        }
        idle?.finish()
    }

    var isDraining: Bool { self.state.withLock { $0.isDraining } }

    /// Takes no new generations and returns when the running ones have ended, or after the time limit.
    func drain(within limit: Duration) async {
        let (idle, continuation) = AsyncStream.makeStream(of: Void.self)
        let isIdle = self.state.withLock { state in
            state.isDraining = true
            state.idle = continuation
            return state.running == 0
        }
        if isIdle { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in idle {} }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
    }
}
