import Logging
import Synchronization

/// Leaving nothing behind.
extension ConnectionLoop {
    func finish() {
        let replies = self.core.state.withLock { state in
            state.phase = .closed
            return state.replies.takeAll()
        }
        let reason = NATSError(.closed, "the connection to NATS was closed")
        for entry in replies { entry.handler(.failure(reason)) }
        // A drain that went well has had its confirmation.
        if self.drain?.isFlushing != true || self.drainResult != nil { self.writeRest() }
        self.dropLink()
        for entry in self.subscriptions.values {
            entry.subscription.end(nil)
            entry.drain?.completion(reason)
        }
        self.subscriptions = [:]

        let (commands, outbound, observers, waiters) = self.core.state.withLock { state in
            state.isOver = true
            state.emit(.closed)
            defer {
                state.commands = []
                state.observers = []
                state.closeWaiters = []
            }
            return (state.commands, state.outbound.take(upTo: .max), state.observers, state.closeWaiters)
        }
        for command in commands { command.refuse() }
        self.count(unsent: outbound.map(\.item))
        for observer in observers { observer.finish() }
        for completion in self.drain?.completions ?? [] { completion(self.drainResult) }
        for waiter in waiters { waiter.resume() }
    }

    /// Requests and those who wait for a confirmation have failed already, and know.
    private func count(unsent outbound: [ConnectionState.Outgoing]) {
        let unsent = outbound.count { if case .message(_, nil) = $0 { true } else { false } }
        guard unsent > 0 else { return }
        self.core.state.withLock { $0.statistics.publishFailures += unsent }
        self.core.logger.warning("\(unsent) messages to NATS were not sent before the connection was closed")
    }

    /// Sends what was accepted before the end and waits until the server confirms, for a second at most.
    ///
    /// Closing without that could lose it even after it was written: the system discards what the server has not yet read when
    /// something from the server is unread on this side.
    private func writeRest() {
        let deadline = ContinuousClock.now + .seconds(1)
        let confirmation = Confirmation()
        var hasAsked = false
        while let established = self.current, !established.link.isLost, !confirmation.isThere, .now < deadline {
            self.write()
            let interest = established.link.interest
            if !hasAsked, !interest.wantsWrite, self.core.state.withLock({ $0.outbound.isEmpty }) {
                hasAsked = true
                let wakeUp = self.core.wakeUp
                self.flush(timeout: deadline - .now) { _ in
                    confirmation.arrive()
                    wakeUp.signal()
                }
            }
            let events = SocketPoll(
                wakeUp: self.core.wakeUp,
                socket: interest.socket,
                wantsWrite: established.link.wantsWrite,
                until: min(deadline, .now + .milliseconds(50))
            )
            if events.wasWoken { self.core.wakeUp.clear() }
            if events.isReadable { self.read(hasHungUp: events.hasHungUp) }
        }
    }

    /// Whether the server has answered, or never will.
    private final class Confirmation: Sendable {
        private let state = Mutex(false)

        var isThere: Bool { self.state.withLock { $0 } }

        func arrive() { self.state.withLock { $0 = true } }
    }
}
