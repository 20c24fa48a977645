import Logging
import Synchronization

/// Leaving nothing behind.
extension ConnectionLoop {
    func finish() {
        let error: NATSError? =
            switch self.ending {
            case .asked, .none: nil
            case .byLibrary:
                NATSError(
                    .closed,
                    "the NATS server ended the connection for good: \(Printable.text(self.native.lastError))"
                )
            }
        let replies = self.core.state.withLock { state in
            state.phase = .closed
            state.closeError = error
            return state.replies.takeAll()
        }
        let reason = error ?? NATSError(.closed, "the connection to NATS was closed while a reply was awaited")
        for entry in replies { entry.handler(.failure(reason)) }
        if error == nil { self.writeRest() }
        self.native.close()
        for entry in self.subscriptions.values { entry.subscription.end(error) }
        self.subscriptions = [:]
        self.inbox = nil
        self.socket = nil

        let (commands, outbound, observers, waiters) = self.core.state.withLock { state in
            state.isOver = true
            state.socket = nil
            state.emit(.closed(error))
            defer {
                state.commands = []
                state.observers = [:]
                state.closeWaiters = []
            }
            return (state.commands, state.outbound.take(upTo: .max), state.observers, state.closeWaiters)
        }
        for command in commands { command.refuse(reason) }
        var unsent = 0
        for entry in outbound {
            switch entry.item {
            case .flush(_, let completion): completion(reason)
            // A request among them has failed above, and its caller knows.
            case .message(_, let request): unsent += request == nil ? 1 : 0
            }
        }
        if unsent > 0 {
            self.core.state.withLock { $0.statistics.publishFailures += unsent }
            self.core.logger.warning("\(unsent) messages to NATS were not sent before the connection was closed")
        }
        for observer in observers.values { observer.finish() }
        if let error { self.core.logger.error("\(error)") }
        let drainResult: NATSError? = if case .asked(let failure) = self.ending { failure } else { error }
        for completion in self.drain?.completions ?? [] { completion(drainResult) }
        for waiter in waiters { waiter.resume() }
    }

    /// Sends what was accepted before the end, as far as the socket takes it within a second.
    func writeRest() {
        let deadline = ContinuousClock.now + .seconds(1)
        while self.socket != nil, ContinuousClock.now < deadline {
            self.write()
            self.adoptSocket()
            let (isDone, wantsWrite) = self.core.state.withLock { state in
                (state.outbound.isEmpty && !state.wantsWrite || state.socket == nil, state.wantsWrite)
            }
            if isDone { return }
            let events = SocketPoll(
                wakeUp: self.core.wakeUp,
                socket: self.socket,
                wantsWrite: wantsWrite,
                until: deadline
            )
            if events.wasWoken { self.core.wakeUp.clear() }
            if events.isReadable { self.native.processRead() }
        }
    }
}
