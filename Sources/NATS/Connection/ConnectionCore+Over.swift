import Synchronization

extension ConnectionCore {
    /// Returns when the thread has ended.
    func waitUntilOver() async {
        await withCheckedContinuation { continuation in
            let isOver = self.state.withLock { state in
                if !state.isOver { state.closeWaiters.append(continuation) }
                return state.isOver
            }
            if isOver { continuation.resume() }
        }
    }
}
