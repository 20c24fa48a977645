import Synchronization

/// Ending what runs without losing it.
extension ConnectionLoop {
    func drainSubscription(
        _ number: UInt64,
        timeout: Duration,
        _ completion: @escaping @Sendable (NATSError?) -> Void
    ) {
        guard let native = self.subscriptions[number]?.native else {
            completion(nil)
            return
        }
        let core = self.core
        // Waits for the server and for us to take the rest: not on this thread.
        self.onHelperThread({ completion($0) }) {
            core.post(.drained(number, native.drain(timeout: timeout), completion))
        }
    }

    func drained(_ number: UInt64, _ status: NativeStatus, _ completion: @Sendable (NATSError?) -> Void) {
        if let entry = self.subscriptions.removeValue(forKey: number) {
            while !entry.subscription.isPaused, case .message(let message) = entry.native.next() {
                self.deliver(message, to: entry.subscription)
            }
            entry.native.unsubscribe()
            entry.subscription.end(nil)
        }
        switch status {
        case .ok, .closed, .invalidSubscription: completion(nil)
        case .timeout: completion(NATSError(.timedOut, "a NATS subscription could not be drained in time"))
        default:
            let text = "a NATS subscription could not be drained (\(status)); what had arrived was delivered"
            completion(NATSError(.disconnected, text))
        }
    }

    func drainAll(timeout: Duration, _ completion: @escaping @Sendable (NATSError?) -> Void) {
        guard self.drain == nil else {
            self.drain?.completions.append(completion)
            return
        }
        self.drain = Drain(deadline: .now + timeout, completions: [completion])
        for number in self.subscriptions.keys {
            self.drainSubscription(number, timeout: timeout) { _ in }
        }
    }

    /// Goes on with a drain: subscriptions end, then requests get their replies and messages leave, then the server confirms.
    func advanceDrain() {
        guard let drain = self.drain else { return }
        if drain.deadline <= .now {
            let text = "the connection to NATS was closed before everything was drained: the time was too short"
            self.end(.asked(NATSError(.timedOut, text)))
            return
        }
        guard !drain.isFlushing, self.subscriptions.isEmpty else { return }
        let isIdle = self.core.state.withLock { $0.replies.count == 0 && $0.outbound.isEmpty }
        guard isIdle else { return }
        self.drain?.isFlushing = true
        let core = self.core
        self.flush(timeout: drain.deadline - .now) { core.post(.drainFlushed($0)) }
    }
}
