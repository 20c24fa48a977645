import Logging
import NIOCore
import Synchronization

/// The part of a connection that its callers, its thread and libnats' callbacks meet in.
final class ConnectionCore: Sendable {
    let configuration: NATSConfiguration
    let logger: Logger
    let wakeUp: WakeUp
    /// The beginning of the reply subjects, unique to this connection.
    let inbox: String
    let state: Mutex<ConnectionState>
    private let key: NKey?
    private let backoff: ReconnectBackoff

    init(_ configuration: NATSConfiguration, logger: Logger) throws(NATSError) {
        try configuration.validate()
        self.configuration = configuration
        self.logger = logger
        self.wakeUp = try WakeUp()
        self.inbox = Self.makeInbox()
        self.key = if case .nkey(let seed) = configuration.credentials { try NKey(seed: seed) } else { nil }
        self.backoff = ReconnectBackoff(
            first: configuration.reconnectDelay,
            maximum: configuration.maximumReconnectDelay
        )
        var state = ConnectionState(maximumQueuedBytes: configuration.maximumQueuedBytes)
        state.server = configuration.serverList
        self.state = Mutex(state)
    }

    private static func makeInbox() -> String {
        let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        return "_INBOX." + String((0..<22).compactMap { _ in alphabet.randomElement() })
    }

    // MARK: Sending

    /// Gives the thread something to do.
    ///
    /// After the end, answers at once.
    func post(_ command: LoopCommand) {
        let (isOver, wakes, error) = self.state.withLock { state in
            if state.isOver { return (true, false, state.closeError) }
            state.commands.append(command)
            return (false, state.wake(), nil)
        }
        if wakes { self.wakeUp.signal() }
        if isOver { command.refuse(error ?? NATSError(.closed, "the connection to NATS is closed")) }
    }

    func publish(_ message: NATSMessage) throws(NATSError) {
        try Self.validate(message)
        let wakes = try self.state.withLock { state throws(NATSError) in
            try state.checkOpen()
            try state.enqueue(message, request: nil)
            return state.wake()
        }
        if wakes { self.wakeUp.signal() }
    }

    func flush(timeout: Duration, _ completion: @escaping @Sendable (NATSError?) -> Void) {
        let (error, wakes) = self.state.withLock { state -> (NATSError?, Bool) in
            do throws(NATSError) { try state.checkOpen() } catch { return (error, false) }
            _ = state.outbound.append(.flush(timeout: timeout, completion), size: 0)
            return (nil, state.wake())
        }
        if wakes { self.wakeUp.signal() }
        if let error { completion(error) }
    }

    /// Sends a request; the completion is called exactly once, unless the request is cancelled.
    ///
    /// - Returns: the number to cancel it with; nil when the completion was called already.
    func request(
        _ message: NATSMessage,
        timeout: Duration,
        _ completion: @escaping ConnectionState.ReplyHandler
    ) -> UInt64? {
        do throws(NATSError) {
            try Self.validate(message)
            let (number, wakes) = try self.state.withLock { state throws(NATSError) in
                try state.checkNotDraining()
                let number = state.replies.add(
                    .init(
                        handler: completion,
                        deadline: .now + timeout,
                        subject: message.subject,
                        timeout: timeout
                    )
                )
                var message = message
                message.reply = "\(self.inbox).\(number)"
                do throws(NATSError) {
                    try state.enqueue(message, request: number)
                } catch {
                    _ = state.replies.take(number)
                    throw error
                }
                return (number, state.wake())
            }
            if wakes { self.wakeUp.signal() }
            return number
        } catch {
            completion(.failure(error))
            return nil
        }
    }

    /// Forgets a request without calling its completion.
    ///
    /// - Returns: whether it was still waiting.
    func cancel(_ number: UInt64) -> Bool { self.state.withLock { $0.replies.take(number) } != nil }

    private static func validate(_ message: NATSMessage) throws(NATSError) {
        try NATSSubject.validatePublished(message.subject)
        if let reply = message.reply { try NATSSubject.validatePublished(reply) }
        try message.headers.validate()
    }

    // MARK: Connecting

    /// Starts the thread and waits until it is connected or has failed.
    func connect() async -> Result<Void, NATSError> {
        await withCheckedContinuation { continuation in
            self.state.withLock { $0.connectWaiter = continuation }
            do throws(NATSError) {
                try DetachedThread.start { ConnectionLoop.run(self) }
            } catch {
                self.connectEnded(.failure(error))
            }
        }
    }

    /// Gives up waiting for the first connection; without effect afterwards.
    func abandon(_ error: NATSError) {
        let waiter = self.state.withLock { state -> CheckedContinuation<Result<Void, NATSError>, Never>? in
            guard state.phase == .connecting else { return nil }
            state.phase = .closed
            state.closeError = error
            return state.connectWaiter.take()
        }
        waiter?.resume(returning: .failure(error))
    }

    /// Tells how connecting went.
    ///
    /// - Returns: whether the connection is wanted.
    @discardableResult
    func connectEnded(_ result: Result<NativeConnection.ServerFacts, NATSError>) -> Bool {
        let (waiter, isWanted) = self.state.withLock { state in
            guard state.phase == .connecting else {
                return (CheckedContinuation<Result<Void, NATSError>, Never>?.none, false)
            }
            switch result {
            case .success(let facts):
                state.phase = state.socket == nil ? .reconnecting : .connected
                state.maximumPayload = facts.maximumPayload
                state.server = facts.address
            case .failure(let error):
                state.phase = .closed
                state.closeError = error
            }
            return (state.connectWaiter.take(), state.phase != .closed)
        }
        waiter?.resume(returning: result.map { _ in })
        return isWanted
    }
}

// MARK: - What libnats tells

extension ConnectionCore: NativeEvents {
    func socketAttached(_ descriptor: Int32) -> Bool {
        guard let socket = SocketDescriptor(duplicating: descriptor) else { return false }
        let wakes = self.state.withLock { state in
            state.socket = socket
            if state.phase == .reconnecting { state.phase = .connected }
            return state.wake()
        }
        if wakes { self.wakeUp.signal() }
        return true
    }

    func socketDetached() {
        let wakes = self.state.withLock { state in
            guard state.socket != nil else { return false }
            state.socket = nil
            state.wantsWrite = false
            if state.phase == .connected {
                state.phase = .reconnecting
                state.emit(.disconnected)
            }
            return state.wake()
        }
        if wakes { self.wakeUp.signal() }
    }

    func writeWanted(_ isWanted: Bool) {
        let wakes = self.state.withLock { state in
            state.wantsWrite = isWanted
            return isWanted && state.wake()
        }
        if wakes { self.wakeUp.signal() }
    }

    func connectionClosed() { self.post(.closedByLibrary) }

    func asynchronousError(_ status: NativeStatus, _ text: String) {
        switch status {
        case .slowConsumer: self.post(.countDropped)
        case .notPermitted:
            self.report(
                NATSError(.notPermitted, "the NATS server refuses: \(Printable.text(text)); check its permissions")
            )
        case .authenticationFailed:
            self.report(NATSError(.authenticationFailed, "the NATS server refuses the login: \(Printable.text(text))"))
        default: self.report(NATSError(.internalFailure, "NATS reports an error: \(Printable.text(text))"))
        }
    }

    private func report(_ error: NATSError) {
        self.logger.error("\(error)")
        self.state.withLock { $0.emit(.error(error)) }
    }

    func replyArrived(_ message: NATSMessage, isNoResponders: Bool) {
        guard message.subject.hasPrefix(self.inbox),
            let number = UInt64(message.subject.utf8.dropFirst(self.inbox.utf8.count + 1).decimal)
        else { return }
        // Without an entry it is late: the request was cancelled, has timed out or has had its reply.
        let waiting = self.state.withLock { state in
            state.statistics.traffic.messagesIn += 1
            state.statistics.traffic.bytesIn += UInt64(message.size)
            return state.replies.take(number)
        }
        guard let entry = waiting else { return }
        guard !isNoResponders else {
            entry.handler(.failure(NATSError(.noResponders, "nobody subscribes to '\(entry.subject)' on NATS")))
            return
        }
        entry.handler(.success(message))
    }

    func reconnectDelay(attempt: Int) -> Duration {
        self.backoff.delay(attempt: attempt, random: .random(in: 0...1))
    }

    func signature(of nonce: [UInt8]) -> [UInt8]? { self.key?.signature(of: nonce) }
}

extension Substring.UTF8View {
    fileprivate var decimal: String { String(Substring(self)) }
}

extension LoopCommand {
    /// Answers a command that comes after the end.
    func refuse(_ error: NATSError) {
        switch self {
        case .subscribe(_, let completion): completion(error)
        case .drain(_, _, let completion), .drained(_, _, let completion): completion(nil)
        case .drainAll(_, let completion): completion(nil)
        case .unsubscribe, .drainFlushed, .poll, .countDropped, .pinged, .close, .closedByLibrary: break
        }
    }
}
