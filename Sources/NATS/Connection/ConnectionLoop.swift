import Glibc
import Logging
import Synchronization

/// The thread of a connection: the only place that hands messages to libnats, polls its socket and takes messages out.
///
/// libnats locks a connection for every call. So callers never call libnats, which might make them wait: they put what they
/// want into `ConnectionState`, and this thread does it. While there is no connection, messages stay in our bounded queue.
/// What blocks by nature, connecting and waiting for the server's answer to a ping, gets a short-lived thread of its own.
///
/// Writing does not block: libnats appends to its buffer, and this thread writes as much of it as the socket takes. The next
/// messages are only handed over when everything before them is written, so the buffer holds one batch and the rest waits in
/// the queue, where it is counted.
final class ConnectionLoop {
    let core: ConnectionCore
    var subscriptions: [UInt64: SubscriptionEntry] = [:]
    var drain: Drain?
    var isEnding = false
    /// How a drain went that has ended.
    var drainResult: NATSError?

    var current: Link.Established?
    var attempt: Attempt?
    var nextPing = ContinuousClock.now
    private var isPinging = false
    private var hangUps = 0
    private var hasMore = false
    var inbox: NativeSubscription?
    var isInboxWanted = false
    /// What is not yet in the statistics.
    var traffic = NATSTraffic()
    private let backoff: ReconnectBackoff

    /// A subscription and its present form in the library.
    struct SubscriptionEntry {
        let subscription: NATSSubscription
        /// Nil without a connection, and after the library has nothing more.
        var native: NativeSubscription?
        var drain: (deadline: ContinuousClock.Instant, completion: @Sendable (NATSError?) -> Void)?
    }

    struct Drain {
        var deadline: ContinuousClock.Instant
        var isFlushing = false
        var completions: [@Sendable (NATSError?) -> Void]
    }

    /// The way to the next connection.
    struct Attempt {
        var number = 0
        /// When to begin; nil while it is under way.
        var begins: ContinuousClock.Instant?
        var lastFailure = ""
    }

    private init(_ core: ConnectionCore) {
        self.core = core
        self.backoff = ReconnectBackoff(
            first: core.configuration.reconnectDelay,
            maximum: core.configuration.maximumReconnectDelay
        )
        self.attempt = Attempt(begins: .now)
    }

    /// Connects, serves until the end, and leaves nothing behind.
    static func run(_ core: ConnectionCore) {
        let loop = ConnectionLoop(core)
        while !loop.isEnding {
            loop.takeCommands()
            loop.watchLink()
            loop.expireReplies()
            loop.write()
            loop.receive()
            loop.advanceDrains()
            loop.pingIfSilent()
            if !loop.isEnding { loop.wait() }
        }
        loop.finish()
        NativeConnection.releaseThreadMemory()
    }

    private func takeCommands() {
        let commands = self.core.state.withLock { state in
            defer { state.commands.removeAll(keepingCapacity: true) }
            return state.commands
        }
        for command in commands {
            switch command {
            case .subscribe(let subscription, let completion): self.subscribe(subscription, completion)
            case .unsubscribe(let number): self.unsubscribe(number)
            case .denied(let subject): self.denied(subject)
            case .drain(let number, let timeout, let completion):
                self.drainSubscription(number, timeout: timeout, completion)
            case .drained(let number): self.drained(number)
            case .drainAll(let timeout, let completion): self.drainAll(timeout: timeout, completion)
            case .drainFlushed(let error):
                self.drainResult = error
                self.isEnding = true
            case .poll: break
            case .attempted(let result): self.attempted(result)
            case .pinged:
                self.isPinging = false
                self.nextPing = .now + self.core.configuration.pingInterval
            case .close: self.isEnding = true
            }
        }
    }

    // MARK: The link

    private func watchLink() {
        if let current, current.link.isLost { self.lost(current) }
        if let begins = self.attempt?.begins, begins <= .now { self.beginAttempt() }
    }

    private func lost(_ established: Link.Established) {
        let reason = Printable.text(established.native.lastError)
        self.core.logger.warning(
            "lost the connection to NATS at \(established.facts.address) (\(reason)); connecting again"
        )
        self.dropLink()
        self.attempt = Attempt(number: 1, begins: .now + self.backoff.delay(attempt: 1, random: .random(in: 0...1)))
        self.core.state.withLock { state in
            state.phase = .reconnecting
            state.emit(.disconnected)
        }
    }

    /// Lets go of the library's connection and everything of it.
    func dropLink() {
        // First the connection: letting go of a subscription would leave something unwritten, for which closing waits.
        self.current?.retire()
        self.current = nil
        for number in self.subscriptions.keys { self.subscriptions[number]?.native = nil }
        self.inbox = nil
        self.hangUps = 0
    }

    private func beginAttempt() {
        self.attempt?.begins = nil
        let core = self.core
        self.onHelperThread({ self.attempted(.failure($0)) }) {
            do throws(NATSError) {
                core.post(.attempted(.success(try Link(core).establish())))
            } catch {
                core.post(.attempted(.failure(error)))
            }
        }
    }

    private func attempted(_ result: Result<Link.Established, NATSError>) {
        switch result {
        case .success(let established): self.established(established)
        case .failure(let error):
            guard var attempt, attempt.number > 0 else {
                // The first connection is not tried twice: whoever asked for it hears why.
                self.isEnding = true
                self.core.connectEnded(.failure(error))
                return
            }
            if attempt.lastFailure != error.message { self.core.report(error) }
            attempt.lastFailure = error.message
            attempt.number += 1
            let delay = self.backoff.delay(attempt: attempt.number, random: .random(in: 0...1))
            attempt.begins = .now + delay
            self.attempt = attempt
        }
    }

    private func established(_ established: Link.Established) {
        let isFirst = self.attempt?.number == 0
        self.attempt = nil
        self.current = established
        self.isPinging = false
        self.nextPing = .now + self.core.configuration.pingInterval
        for (number, entry) in self.subscriptions where entry.drain == nil { self.open(number, entry.subscription) }
        if self.isInboxWanted { _ = self.openInbox() }
        let facts = established.facts
        let late = self.core.state.withLock { state -> [PendingReplies<ConnectionState.ReplyHandler>.Entry] in
            state.phase = .connected
            state.maximumPayload = facts.maximumPayload
            state.server = facts.address
            guard !isFirst else { return [] }
            state.statistics.reconnects += 1
            state.statistics.lastReconnect = .now
            state.emit(.reconnected(server: facts.address))
            // What of them is queued is not sent without its entry.
            return state.replies.takeBound(toOtherThan: state.statistics.reconnects)
        }
        for entry in late { entry.handler(.failure(ConnectionCore.isOther(entry.subject))) }
        if isFirst {
            self.core.logger.debug("connected to NATS at \(facts.address), max_payload \(facts.maximumPayload)")
            self.core.connectEnded(.success(()))
        } else {
            self.core.logger.info("connected to NATS again at \(facts.address)")
        }
    }

    private func pingIfSilent() {
        guard let established = self.current, !self.isPinging, self.nextPing <= .now else { return }
        self.isPinging = true
        let core = self.core
        let timeout = core.configuration.pingInterval
        self.onHelperThread({ _ in self.isPinging = false }) {
            // Not left to the connection's thread, which may be waiting for the rest of a TLS record.
            if established.native.flush(timeout: timeout) == .timeout {
                core.logger.warning("the NATS server at \(established.facts.address) does not answer")
                established.link.interest.socket?.shutdown()
            }
            core.post(.pinged)
        }
    }

    /// Waits for the server's answer to a ping on a thread of its own, because this one has to read it.
    func flush(timeout: Duration, _ completion: @escaping @Sendable (NATSError?) -> Void) {
        guard let native = self.current?.native else {
            completion(NATSError(.disconnected, "there is no connection to NATS"))
            return
        }
        self.onHelperThread({ completion($0) }) {
            let error: NATSError? =
                switch native.flush(timeout: timeout) {
                case .ok: nil
                case .timeout: NATSError(.timedOut, "the NATS server did not confirm within \(timeout)")
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

    // MARK: Receiving and waiting

    /// Takes messages out of the library and gives them to receivers that want them, not too many in one go.
    private func receive() {
        self.hasMore = false
        for (number, entry) in self.subscriptions {
            var budget = 256
            var dropped = 0
            while budget > 0, case .message(let message)? = entry.native?.next() {
                budget -= 1
                self.traffic.messagesIn += 1
                self.traffic.bytesIn += UInt64(message.size)
                dropped += entry.subscription.keep(message) ? 0 : 1
            }
            if entry.subscription.deliver(upTo: 256) || budget == 0 { self.hasMore = true }
            if dropped > 0 { self.reportDropped(number, dropped) }
        }
    }

    private func reportDropped(_ number: UInt64, _ count: Int) {
        guard let subject = self.subscriptions[number]?.subscription.subject else { return }
        self.core.state.withLock { state in
            state.statistics.slowConsumerDrops += count
            state.emit(.slowConsumer(subject: subject, dropped: count))
        }
        self.core.logger.warning("the receiver of '\(subject)' is too slow: \(count) NATS messages were dropped")
    }

    private func expireReplies() {
        let expired = self.core.state.withLock { $0.replies.takeExpired(at: .now) }
        for entry in expired {
            let text = "no reply to a request on '\(entry.subject)' over NATS within \(entry.timeout)"
            entry.handler(.failure(NATSError(.timedOut, text)))
        }
    }

    private func wait() {
        let now = ContinuousClock.now
        let traffic = self.traffic
        self.traffic = NATSTraffic()
        var until = self.core.state.withLock { state -> ContinuousClock.Instant in
            state.statistics.traffic += traffic
            guard state.commands.isEmpty, !self.hasMore else { return now }
            state.isThreadAwake = false
            // Deadlines are met to 10 ms, so that many of them end in one go.
            return state.replies.nextDeadline.map { max($0, now + .milliseconds(10)) } ?? now + .seconds(60)
        }
        // From here on changes of the link wake this thread, so it is looked at now and not before.
        let interest = self.current?.link.interest
        if let interest {
            let canSend = !interest.wantsWrite && self.core.state.withLock { !$0.outbound.isEmpty }
            if canSend || interest.isLost { until = now }
            if !self.isPinging { until = min(until, self.nextPing) }
        }
        if let begins = self.attempt?.begins { until = min(until, begins) }
        if self.isDraining { until = min(until, now + .milliseconds(10)) }
        let events = SocketPoll(
            wakeUp: self.core.wakeUp,
            socket: interest?.socket,
            wantsWrite: interest?.wantsWrite ?? false,
            until: until
        )
        self.core.state.withLock { $0.isThreadAwake = true }
        if events.wasWoken { self.core.wakeUp.clear() }
        if events.isReadable { self.read(hasHungUp: events.hasHungUp) }
    }

    func read(hasHungUp: Bool) {
        self.nextPing = .now + self.core.configuration.pingInterval
        self.current?.native.processRead()
        guard hasHungUp, let link = self.current?.link, !link.isLost else { return }
        // What was sent before the end is read first. Should libnats never see the end, this would turn in circles.
        self.hangUps += 1
        if self.hangUps > 10_000 { usleep(10_000) }
    }
}
