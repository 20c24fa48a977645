import Synchronization

/// Beginning and ending subscriptions, and ending everything without losing it.
extension ConnectionLoop {
    func subscribe(_ subscription: NATSSubscription, _ completion: @Sendable (NATSError?) -> Void) {
        self.subscriptions[subscription.number] = SubscriptionEntry(subscription: subscription)
        guard self.current != nil else {
            // The server hears of it with the next connection.
            completion(nil)
            return
        }
        completion(self.open(subscription.number, subscription))
    }

    /// Subscribes at the present server.
    ///
    /// - Returns: why it could not; nil also when the connection was just lost, because the next one has it.
    @discardableResult
    func open(_ number: UInt64, _ subscription: NATSSubscription) -> NATSError? {
        guard let native = self.current?.native else { return nil }
        let (opened, status) = native.subscribe(subscription.subject, queueGroup: subscription.queueGroup)
        if let opened, status == .ok {
            // Messages are taken out at once, into a buffer with the limits of the subscription.
            _ = opened.setLimits(messages: 1_000_000, bytes: 1 << 30)
            self.subscriptions[number]?.native = opened
            return nil
        }
        guard status != .closed, status != .disconnected else { return nil }
        let text = "cannot subscribe to '\(subscription.subject)' on NATS: \(status) \(NativeStatus.lastErrorText)"
        let error = NATSError(.internalFailure, text)
        self.subscriptions[number] = nil
        subscription.end(error)
        self.core.report(error)
        return error
    }

    func unsubscribe(_ number: UInt64) {
        guard let entry = self.subscriptions.removeValue(forKey: number) else { return }
        entry.native?.unsubscribe()
        entry.subscription.end(nil)
        entry.drain?.completion(nil)
    }

    /// Nothing will come for the subscriptions to this subject.
    func denied(_ subject: String) {
        for (number, entry) in self.subscriptions where entry.subscription.subject == subject {
            self.subscriptions[number] = nil
            entry.native?.unsubscribe()
            let text =
                "the NATS server does not let this user subscribe to '\(Printable.text(subject))'; allow it in the user's permissions"
            entry.subscription.end(NATSError(.notPermitted, text))
            entry.drain?.completion(nil)
        }
    }

    // MARK: Draining

    var isDraining: Bool { self.drain != nil || self.subscriptions.values.contains { $0.drain != nil } }

    func drainSubscription(
        _ number: UInt64,
        timeout: Duration,
        _ completion: @escaping @Sendable (NATSError?) -> Void
    ) {
        guard let entry = self.subscriptions[number], entry.drain == nil else {
            // Gone, or on its way.
            completion(nil)
            return
        }
        self.subscriptions[number]?.drain = (.now + timeout, completion)
        guard let native = entry.native else { return }
        let core = self.core
        // Waits for the server and for us to take the rest: not on this thread.
        self.onHelperThread({ _ in self.drained(number) }) {
            native.drain(timeout: timeout)
            core.post(.drained(number))
        }
    }

    func drained(_ number: UInt64) {
        guard let entry = self.subscriptions[number], let native = entry.native else { return }
        while case .message(let message) = native.next() { _ = entry.subscription.keep(message) }
        // Also when the time was too short: nothing more comes.
        native.unsubscribe()
        self.subscriptions[number]?.native = nil
    }

    func drainAll(timeout: Duration, _ completion: @escaping @Sendable (NATSError?) -> Void) {
        guard self.drain == nil else {
            self.drain?.completions.append(completion)
            return
        }
        self.drain = Drain(deadline: .now + timeout, completions: [completion])
        for number in self.subscriptions.keys { self.drainSubscription(number, timeout: timeout) { _ in } }
    }

    /// Goes on with what drains: subscriptions end, then requests get their replies and messages leave, then the server
    /// confirms.
    func advanceDrains() {
        for (number, entry) in self.subscriptions {
            guard let drain = entry.drain else { continue }
            let isDone = entry.native == nil && entry.subscription.isEmpty
            guard isDone || drain.deadline <= .now else { continue }
            self.subscriptions[number] = nil
            entry.native?.unsubscribe()
            entry.subscription.end(nil)
            let text = "the subscription to '\(entry.subscription.subject)' on NATS could not be drained in time"
            drain.completion(isDone ? nil : NATSError(.timedOut, text))
        }
        guard let drain = self.drain else { return }
        if drain.deadline <= .now {
            let text = "the connection to NATS was closed before everything was drained: the time was too short"
            self.drainResult = NATSError(.timedOut, text)
            self.isEnding = true
            return
        }
        guard !drain.isFlushing, self.subscriptions.isEmpty, self.current != nil else { return }
        guard self.core.state.withLock({ $0.replies.count == 0 && $0.outbound.isEmpty }) else { return }
        self.drain?.isFlushing = true
        let core = self.core
        self.flush(timeout: drain.deadline - .now) { core.post(.drainFlushed($0)) }
    }
}
