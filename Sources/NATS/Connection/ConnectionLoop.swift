import Glibc
import Logging
import Synchronization

/// The thread of a connection: the only place that hands messages to libnats, polls its socket and takes messages out.
///
/// libnats locks a connection for every call, and holds that lock while it connects again, for seconds if a server is out of
/// reach. So callers never call libnats: they put what they want into `ConnectionState`, and this thread, which may wait,
/// does it. While there is no connection, messages stay in our bounded queue.
///
/// Writing never blocks: libnats appends to its buffer, and this thread writes as much of it as the socket takes. The next
/// messages are only handed over when everything before them is written, so the buffer holds one batch and the rest waits in
/// the queue, where it is counted.
final class ConnectionLoop {
    let core: ConnectionCore
    let native: NativeConnection
    var subscriptions: [UInt64: (subscription: NATSSubscription, native: NativeSubscription)] = [:]
    var drain: Drain?

    var socket: SocketDescriptor?
    var inbox: NativeSubscription?
    private var nextPing: ContinuousClock.Instant
    private var isPinging = false
    private var hangUps = 0
    /// What is not yet in the statistics.
    private var traffic = NATSTraffic()
    private var outboundPause: ContinuousClock.Instant?
    private var hasMore = false
    var ending: Ending?

    struct Drain {
        var deadline: ContinuousClock.Instant
        var isFlushing = false
        var completions: [@Sendable (NATSError?) -> Void]
    }

    enum Ending {
        case asked(NATSError?)
        case byLibrary
    }

    private init(_ core: ConnectionCore, _ native: NativeConnection) {
        self.core = core
        self.native = native
        self.nextPing = .now + core.configuration.pingInterval
    }

    /// Connects, serves until the end, and leaves nothing behind.
    static func run(_ core: ConnectionCore) {
        let number = NativeRegistry.shared.add(core)
        defer {
            NativeRegistry.shared.remove(number)
            NativeConnection.releaseThreadMemory()
        }
        let native: NativeConnection
        do throws(NATSError) {
            native = try NativeConnection.connect(core.configuration, number: number)
        } catch {
            core.connectEnded(.failure(error))
            return
        }
        let facts = native.serverFacts
        guard core.connectEnded(.success(facts)) else {
            native.close()
            return
        }
        core.logger.debug("connected to NATS at \(facts.address), max_payload \(facts.maximumPayload)")
        let loop = ConnectionLoop(core, native)
        loop.socket = core.state.withLock { $0.socket }
        loop.serve()
    }

    private func serve() {
        while true {
            self.takeCommands()
            self.adoptSocket()
            if self.ending != nil { break }
            self.expireReplies()
            self.write()
            self.deliver()
            self.advanceDrain()
            self.pingIfSilent()
            if self.ending != nil { break }
            self.wait()
        }
        self.finish()
    }

    // MARK: Commands

    private func takeCommands() {
        let commands = self.core.state.withLock { state in
            defer { state.commands.removeAll(keepingCapacity: true) }
            return state.commands
        }
        for command in commands { self.perform(command) }
    }

    private func perform(_ command: LoopCommand) {
        switch command {
        case .subscribe(let subscription, let completion): self.subscribe(subscription, completion)
        case .unsubscribe(let number):
            guard let entry = self.subscriptions.removeValue(forKey: number) else { return }
            entry.native.unsubscribe()
            entry.subscription.end(nil)
        case .drain(let number, let timeout, let completion):
            self.drainSubscription(number, timeout: timeout, completion)
        case .drained(let number, let status, let completion): self.drained(number, status, completion)
        case .drainAll(let timeout, let completion): self.drainAll(timeout: timeout, completion)
        case .drainFlushed(let error): self.end(.asked(error))
        case .poll: break
        case .countDropped: self.countDropped()
        case .pinged:
            self.isPinging = false
            self.nextPing = .now + self.core.configuration.pingInterval
        case .close: self.end(.asked(nil))
        case .closedByLibrary: self.end(.byLibrary)
        }
    }

    func end(_ ending: Ending) { if self.ending == nil { self.ending = ending } }

    private func subscribe(_ subscription: NATSSubscription, _ completion: @Sendable (NATSError?) -> Void) {
        let (native, status) = self.native.subscribe(subscription.subject, queueGroup: subscription.queueGroup)
        guard let native, status == .ok else {
            let error = NATSError(
                status == .closed ? .closed : .internalFailure,
                "cannot subscribe to '\(subscription.subject)' on NATS: \(status) \(NativeStatus.lastErrorText)"
            )
            subscription.end(error)
            completion(error)
            return
        }
        _ = native.setLimits(messages: subscription.limits.messages, bytes: subscription.limits.bytes)
        self.subscriptions[subscription.number] = (subscription, native)
        completion(nil)
    }

    // MARK: The socket

    func adoptSocket() {
        let (current, phase) = self.core.state.withLock { ($0.socket, $0.phase) }
        guard current !== self.socket else { return }
        let isLoss = self.socket != nil && current == nil
        self.socket = current
        self.hangUps = 0
        if isLoss {
            if phase != .closed { self.core.logger.warning("lost the connection to NATS; connecting again") }
        } else if current != nil {
            // Waits until libnats has subscribed again.
            let facts = self.native.serverFacts
            self.core.state.withLock { state in
                state.maximumPayload = facts.maximumPayload
                state.server = facts.address
                state.statistics.reconnects += 1
                state.emit(.reconnected(server: facts.address))
            }
            self.core.logger.info("connected to NATS again at \(facts.address)")
        }
    }

    func write() {
        if let outboundPause, outboundPause > .now { return }
        self.outboundPause = nil
        while self.socket != nil {
            if self.core.state.withLock({ $0.wantsWrite }) { self.native.processWrite() }
            let batch = self.core.state.withLock { state -> [(item: ConnectionState.Outgoing, size: Int)] in
                guard !state.wantsWrite, state.socket != nil else { return [] }
                return state.outbound.take(upTo: 256 * 1024).filter { entry in
                    // A request that was cancelled or has timed out is not sent any more.
                    if case .message(_, .some(let number)) = entry.item { state.replies.contains(number) } else { true }
                }
            }
            guard !batch.isEmpty else { return }
            for (index, entry) in batch.enumerated() where !self.send(entry.item) {
                self.core.state.withLock { $0.outbound.putBack(batch[index...]) }
                self.outboundPause = .now + .milliseconds(20)
                return
            }
        }
    }

    /// - Returns: false when it must be tried again after the next connection.
    private func send(_ item: ConnectionState.Outgoing) -> Bool {
        switch item {
        case .flush(let timeout, let completion):
            self.flush(timeout: timeout, completion)
            return true
        case .message(let message, let request):
            if request != nil, self.inbox == nil, let error = self.openInbox() {
                self.sendFailed(message, request, error)
                return true
            }
            switch self.native.publish(message) {
            case .ok:
                self.traffic.messagesOut += 1
                self.traffic.bytesOut += UInt64(message.size)
                return true
            case .bufferFull, .disconnected: return false
            case .payloadTooLarge:
                let (limit, server) = self.core.state.withLock { ($0.maximumPayload, $0.server) }
                let error = ConnectionState.tooLarge(message.subject, size: message.size, limit: limit, server: server)
                self.sendFailed(message, request, error)
            case .noServerSupport:
                let text =
                    "the NATS server takes no headers, which '\(message.subject)' needs; use nats-server 2.2 or newer"
                self.sendFailed(message, request, NATSError(.unsupported, text))
            case let status:
                let text = "cannot publish to '\(message.subject)' on NATS: \(status) \(NativeStatus.lastErrorText)"
                self.sendFailed(message, request, NATSError(.internalFailure, text))
            }
            return true
        }
    }

    private func openInbox() -> NATSError? {
        let (native, status) = self.native.subscribeToReplies(self.core.inbox + ".*")
        guard let native, status == .ok else {
            return NATSError(.internalFailure, "cannot subscribe to replies on NATS: \(status)")
        }
        // Requests bound the replies; the limits are for strangers who write to the inbox.
        _ = native.setLimits(messages: 1_000_000, bytes: 1 << 30)
        self.inbox = native
        return nil
    }

    private func sendFailed(_ message: NATSMessage, _ request: UInt64?, _ error: NATSError) {
        let entry = self.core.state.withLock { state in
            state.statistics.publishFailures += 1
            return request.flatMap { state.replies.take($0) }
        }
        if let entry {
            entry.handler(.failure(error))
        } else {
            self.core.logger.error("\(error)")
        }
    }

    /// Waits for the server's answer to a ping on a thread of its own, because this one has to read it.
    func flush(timeout: Duration, _ completion: @escaping @Sendable (NATSError?) -> Void) {
        let native = self.native
        self.onHelperThread({ completion($0) }) {
            let status = native.flush(timeout: timeout)
            let error: NATSError? =
                switch status {
                case .ok: nil
                case .timeout: NATSError(.timedOut, "the NATS server did not confirm within \(timeout)")
                case .closed: NATSError(.closed, "the connection to NATS was closed")
                default: NATSError(.disconnected, "the connection to NATS was lost before the server confirmed")
                }
            completion(error)
        }
    }

    /// Starts a thread for a call that blocks.
    func onHelperThread(_ failed: (NATSError) -> Void, _ body: @escaping @Sendable () -> Void) {
        do throws(NATSError) {
            try DetachedThread.start {
                body()
                NativeConnection.releaseThreadMemory()
            }
        } catch {
            failed(error)
        }
    }

    // MARK: Receiving

    /// Takes messages out of the library for receivers that want them, not too many in one go.
    private func deliver() {
        self.hasMore = false
        for (number, entry) in self.subscriptions {
            var budget = 256
            messages: while budget > 0, !entry.subscription.isPaused {
                budget -= 1
                switch entry.native.next() {
                case .message(let message): self.deliver(message, to: entry.subscription)
                case .empty: break messages
                case .ended:
                    self.subscriptions[number] = nil
                    entry.subscription.end(nil)
                    break messages
                }
            }
            if budget == 0 { self.hasMore = true }
        }
    }

    func deliver(_ message: NATSMessage, to subscription: NATSSubscription) {
        self.traffic.messagesIn += 1
        self.traffic.bytesIn += UInt64(message.size)
        subscription.deliver(message)
    }

    private func countDropped() {
        for entry in self.subscriptions.values {
            let dropped = entry.subscription.noteDropped(entry.native.dropped)
            guard dropped > 0 else { continue }
            let subject = entry.subscription.subject
            self.core.logger.warning("the receiver of '\(subject)' is too slow: NATS messages were dropped")
            self.core.state.withLock { state in
                state.statistics.slowConsumerDrops += dropped
                state.emit(.slowConsumer(subject: subject, dropped: dropped))
            }
        }
    }

    private func expireReplies() {
        let expired = self.core.state.withLock { $0.replies.takeExpired(at: .now) }
        for entry in expired {
            let text = "no reply to a request on '\(entry.subject)' over NATS within \(entry.timeout)"
            entry.handler(.failure(NATSError(.timedOut, text)))
        }
    }

    // MARK: Waiting

    private func pingIfSilent() {
        guard let socket = self.socket, !self.isPinging, self.nextPing <= .now else { return }
        self.isPinging = true
        let (native, core) = (self.native, self.core)
        let timeout = core.configuration.pingInterval
        self.onHelperThread({ _ in self.isPinging = false }) {
            let status = native.flush(timeout: timeout)
            // Not left to the connection's thread, which may be waiting for the rest of a TLS record.
            if status == .timeout {
                core.logger.warning("the NATS server does not answer; connecting again")
                socket.shutdown()
            }
            core.post(.pinged)
        }
    }

    private func wait() {
        let now = ContinuousClock.now
        let traffic = self.traffic
        self.traffic = NATSTraffic()
        let plan = self.core.state.withLock { state -> (wantsWrite: Bool, until: ContinuousClock.Instant)? in
            state.statistics.traffic += traffic
            let canSend =
                state.socket != nil && !state.wantsWrite && !state.outbound.isEmpty && self.outboundPause == nil
            guard state.commands.isEmpty, state.socket === self.socket, !canSend, !self.hasMore else { return nil }
            state.isThreadAwake = false
            var until = self.isPinging || self.socket == nil ? now + .seconds(60) : self.nextPing
            // Deadlines are met to 10 ms, so that many of them end in one go.
            if let deadline = state.replies.nextDeadline { until = min(until, max(deadline, now + .milliseconds(10))) }
            if self.drain != nil { until = min(until, now + .milliseconds(10)) }
            if let outboundPause { until = min(until, outboundPause) }
            return (state.wantsWrite, until)
        }
        let events = SocketPoll(
            wakeUp: self.core.wakeUp,
            socket: self.socket,
            wantsWrite: plan?.wantsWrite ?? false,
            until: plan?.until ?? now
        )
        self.core.state.withLock { $0.isThreadAwake = true }
        if events.wasWoken { self.core.wakeUp.clear() }
        if events.isReadable {
            self.nextPing = .now + self.core.configuration.pingInterval
            self.native.processRead()
        }
        guard events.hasHungUp else { return }
        // Reading has told libnats, which takes the socket back. Should it not, this would turn in circles.
        self.hangUps += 1
        if self.hangUps > 100 { usleep(10_000) }
    }
}
