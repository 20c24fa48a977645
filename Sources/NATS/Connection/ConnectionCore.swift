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

    init(_ configuration: NATSConfiguration, logger: Logger) throws(NATSError) {
        try configuration.validate()
        self.configuration = configuration
        self.logger = logger
        self.wakeUp = try WakeUp()
        self.inbox = "_INBOX.\(UniqueName.make())"
        var state = ConnectionState(maximumQueuedBytes: configuration.maximumQueuedBytes)
        state.server = configuration.serverList
        self.state = Mutex(state)
    }

    // MARK: Sending

    /// Gives the thread something to do.
    ///
    /// After the end, answers at once.
    func post(_ command: LoopCommand) {
        let (isOver, wakes) = self.state.withLock { state in
            if state.isOver { return (true, false) }
            state.commands.append(command)
            return (false, state.wake())
        }
        if wakes { self.wakeUp.signal() }
        if isOver { command.refuse() }
    }

    /// Makes the thread look around.
    func wake() { if self.state.withLock({ $0.wake() }) { self.wakeUp.signal() } }

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
        let failed: ConnectionState.ReplyHandler = { result in
            guard case .failure(let error) = result else { return }
            guard error.code == .timedOut else { return completion(error) }
            let text =
                "the NATS server did not confirm within \(timeout), because there is no connection or it is stuck"
            completion(NATSError(.timedOut, text))
        }
        let (error, wakes) = self.state.withLock { state -> (NATSError?, Bool) in
            do throws(NATSError) { try state.checkOpen() } catch { return (error, false) }
            let number = state.replies.add(
                .init(handler: failed, deadline: .now + timeout, subject: "", timeout: timeout)
            )
            _ = state.outbound.append(.flush(request: number, completion), size: 0)
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
        connection: Int? = nil,
        _ completion: @escaping ConnectionState.ReplyHandler
    ) -> UInt64? {
        do throws(NATSError) {
            try Self.validate(message)
            let (number, wakes) = try self.state.withLock { state throws(NATSError) in
                try state.checkNotDraining()
                if let connection, connection != state.statistics.reconnects { throw Self.isOther(message.subject) }
                let number = state.replies.add(
                    .init(
                        handler: completion,
                        deadline: .now + timeout,
                        subject: message.subject,
                        timeout: timeout,
                        connection: connection
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

    /// Why a request failed that was to be sent on an earlier connection.
    static func isOther(_ subject: String) -> NATSError {
        NATSError(.disconnected, "the connection to NATS on which '\(subject)' was to be sent was lost, and made again")
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
            let error = self.state.withLock { state in
                state.connectWaiter = continuation
                return state.abandoned
            }
            do throws(NATSError) {
                if let error { throw error }
                try DetachedThread.start { ConnectionLoop.run(self) }
            } catch {
                self.state.withLock { $0.isOver = true }
                self.connectEnded(.failure(error))
            }
        }
    }

    /// Gives up waiting for the first connection; without effect afterwards.
    func abandon(_ error: NATSError) {
        let waiter = self.state.withLock { state -> CheckedContinuation<Result<Void, NATSError>, Never>? in
            guard state.phase == .connecting else { return nil }
            state.abandoned = error
            return state.connectWaiter.take()
        }
        guard let waiter else { return }
        self.post(.close)
        waiter.resume(returning: .failure(error))
    }

    /// Tells the first waiter how connecting went.
    func connectEnded(_ result: Result<Void, NATSError>) {
        self.state.withLock { $0.connectWaiter.take() }?.resume(returning: result)
    }

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

    // MARK: What libnats tells

    func asynchronousError(_ status: NativeStatus, _ text: String) {
        if status == .notPermitted, let subject = Self.deniedSubscription(text) { self.post(.denied(subject)) }
        let text = Printable.text(text)
        let error =
            switch status {
            case .slowConsumer: NATSError(.overloaded, "replies from NATS were dropped: more than the library may hold")
            case .notPermitted: NATSError(.notPermitted, "the NATS server refuses: \(text); check its permissions")
            case .authenticationFailed: NATSError(.authenticationFailed, "the NATS server refuses the login: \(text)")
            default: NATSError(.internalFailure, "NATS reports an error: \(text)")
            }
        self.report(error)
    }

    /// The subject in the server's words, `Permissions Violation for Subscription to "subject" using queue "group"`.
    private static func deniedSubscription(_ text: String) -> String? {
        guard let mark = text.firstRange(of: "Subscription to \"") else { return nil }
        let rest = text[mark.upperBound...]
        return rest.firstIndex(of: "\"").map { String(rest[..<$0]) }
    }

    /// Logs what no caller can be told, and tells those who watch.
    func report(_ error: NATSError) {
        self.logger.error("\(error)")
        self.state.withLock { $0.emit(.error(error)) }
    }

    func replyArrived(_ message: NATSMessage, isNoResponders: Bool) {
        guard message.subject.hasPrefix(self.inbox) else { return }
        let waiting = self.state.withLock { state in
            state.statistics.traffic.messagesIn += 1
            state.statistics.traffic.bytesIn += UInt64(message.size)
            return UInt64(message.subject.dropFirst(self.inbox.count + 1)).flatMap { state.replies.take($0) }
        }
        // Without an entry it is late: the request was cancelled, has timed out or has had its reply.
        guard let entry = waiting else { return }
        guard !isNoResponders else {
            entry.handler(.failure(NATSError(.noResponders, "nobody subscribes to '\(entry.subject)' on NATS")))
            return
        }
        entry.handler(.success(message))
    }
}
