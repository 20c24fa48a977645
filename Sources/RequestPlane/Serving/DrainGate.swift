internal import Synchronization

/// Counts what is in flight, refuses more once it is closed, and tells when the last one has left.
package final class DrainGate: Sendable {
    private let state: Mutex<State>

    fileprivate struct State {
        var limit: Int
        var count = 0
        var isClosed = false
        var nextWaiter = 0
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
    }

    /// What a newcomer is told.
    package enum Admission: Hashable, Sendable {
        case admitted
        case full
        case closed
    }

    package init(limit: Int = .max) { self.state = Mutex(State(limit: limit)) }

    package var count: Int { self.state.withLock { $0.count } }

    package var isClosed: Bool { self.state.withLock { $0.isClosed } }

    /// Comes in, if there is a place; call `leave()` once for each admission.
    package func enter() -> Admission {
        self.state.withLock { state in
            if state.isClosed { return .closed }
            if state.count >= state.limit { return .full }
            state.count += 1
            return .admitted
        }
    }

    package func leave() {
        let waiters = self.state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.count -= 1
            return state.count == 0 ? state.takeWaiters() : []
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Admits nobody from now on.
    package func close() { self.state.withLock { $0.isClosed = true } }

    /// Returns when nothing is in flight, or when the waiting task is cancelled.
    package func waitUntilEmpty() async {
        let id = self.state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = self.state.withLock { state in
                    if state.count == 0 || Task.isCancelled { return true }
                    state.waiters[id] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            self.state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
        }
    }

    /// Waits until nothing is in flight, but not for longer than the limit.
    ///
    /// Returns whether nothing is.
    package func waitUntilEmpty(atMost limit: Duration) async -> Bool {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.waitUntilEmpty() }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
        return self.count == 0
    }
}

extension DrainGate.State {
    fileprivate mutating func takeWaiters() -> [CheckedContinuation<Void, Never>] {
        defer { self.waiters.removeAll() }
        return Array(self.waiters.values)
    }
}
