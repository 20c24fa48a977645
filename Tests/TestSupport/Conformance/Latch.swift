internal import Synchronization

/// Holds tasks until it is opened.
package final class Latch: Sendable {
    private let state = Mutex(State())

    private struct State {
        var isOpen = false
        var next = 0
        var waiting: [Int: CheckedContinuation<Void, any Error>] = [:]
    }

    package init() {}

    package var isOpen: Bool { self.state.withLock { $0.isOpen } }

    /// How many tasks are held.
    package var waiting: Int { self.state.withLock { $0.waiting.count } }

    /// Lets every task go, now and later.
    package func open() {
        let waiting = self.state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [:] }
            return state.waiting.values
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Returns when the latch is open.
    ///
    /// - Throws: `CancellationError` when the task is cancelled before.
    package func wait() async throws {
        let id = self.state.withLock { state in
            state.next += 1
            return state.next
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let result = self.state.withLock { state -> Result<Void, any Error>? in
                    if state.isOpen { return .success(()) }
                    if Task.isCancelled { return .failure(CancellationError()) }
                    state.waiting[id] = continuation
                    return nil
                }
                if let result { continuation.resume(with: result) }
            }
        } onCancel: {
            self.state.withLock { $0.waiting.removeValue(forKey: id) }?.resume(throwing: CancellationError())
        }
    }
}
