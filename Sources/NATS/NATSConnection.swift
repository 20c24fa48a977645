package import Logging
package import NIOCore
import Synchronization

/// A connection to a NATS server or cluster.
///
/// It lives from `connect` until `close()` or `drain(timeout:)`. In between a lost connection is made again, without end and with its
/// subscriptions. What was on its way at the moment of the loss may be lost, as always with NATS: at most once.
///
/// No call blocks its thread. Messages and requests wait, bounded, while the connection is slow or lost; completions and handlers run
/// on threads of the connection and must not block either.
package final class NATSConnection: Sendable {
    package let configuration: NATSConfiguration
    let core: ConnectionCore

    private init(_ core: ConnectionCore) {
        self.core = core
        self.configuration = core.configuration
    }

    deinit { self.core.post(.close) }

    /// Connects to the first server that answers.
    ///
    /// - Parameters:
    ///   - configuration: servers, credentials and limits.
    ///   - logger: hears of lost and regained connections and of dropped messages.
    /// - Returns: an open connection, which the caller must close.
    /// - Throws: `NATSError` when no server can be reached, or it refuses.
    package static func connect(
        _ configuration: NATSConfiguration,
        logger: Logger
    ) async throws(NATSError) -> NATSConnection {
        let core = try ConnectionCore(configuration, logger: logger)
        // libnats' own limit does not cover name resolution and the TLS handshake.
        let limit = configuration.connectTimeout * configuration.servers.count + .seconds(2)
        let result = await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    try await Task.sleep(for: limit)
                    core.abandon(ConnectFailure.error(.timeout, "", configuration))
                } catch {
                    // After success this finds nothing to abandon.
                    core.abandon(NATSError(.cancelled, "connecting to NATS was cancelled"))
                }
            }
            let result = await core.connect()
            group.cancelAll()
            return result
        }
        try result.get()
        return NATSConnection(core)
    }

    /// Counters, and what the connection holds now.
    package var statistics: NATSStatistics {
        self.core.state.withLock { state in
            var statistics = state.statistics
            statistics.phase = state.phase
            statistics.pendingRequests = state.replies.count
            statistics.queuedBytes = state.outbound.bytes
            return statistics
        }
    }

    /// The largest message that the server takes, headers included.
    package var maximumPayload: Int { self.core.state.withLock { $0.maximumPayload } }

    /// What happens from now on; of events that nobody takes the newest 256 are kept.
    ///
    /// Ends with the connection.
    package func events() -> AsyncStream<NATSConnectionEvent> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: NATSConnectionEvent.self,
            bufferingPolicy: .bufferingNewest(256)
        )
        let isOver = self.core.state.withLock { state in
            if !state.isOver { state.observers.append(continuation) }
            return state.isOver
        }
        if isOver { continuation.finish() }
        return stream
    }

    // MARK: Sending

    /// Sends a message.
    ///
    /// Returns before it is written; `flush(timeout:)` waits for that.
    ///
    /// - Parameters:
    ///   - subject: where to.
    ///   - headers: sent with it, if there are any.
    ///   - payload: may be empty.
    ///   - reply: where an answer is expected, if anywhere.
    /// - Throws: `NATSError` when it cannot be sent, is too large, or too much waits already.
    package func publish(
        _ subject: String,
        headers: NATSHeaders = [:],
        payload: ByteBuffer = ByteBuffer(),
        reply: String? = nil
    ) throws(NATSError) {
        try self.core.publish(NATSMessage(subject: subject, reply: reply, headers: headers, payload: payload))
    }

    /// Waits until the server has taken everything that was sent before, subscriptions included.
    ///
    /// - Parameter timeout: how long.
    /// - Throws: `NATSError` when it takes longer, or the connection is lost or closed meanwhile.
    package func flush(timeout: Duration = .seconds(10)) async throws(NATSError) {
        let error = await withCheckedContinuation { continuation in
            self.core.flush(timeout: timeout) { continuation.resume(returning: $0) }
        }
        if let error { throw error }
    }

    // MARK: Requests

    /// Sends a request and waits for its reply.
    ///
    /// - Parameters:
    ///   - subject: where to.
    ///   - headers: sent with it, if there are any.
    ///   - payload: may be empty.
    ///   - timeout: how long to wait, queueing included; met to 10 ms.
    /// - Returns: the first reply.
    /// - Throws: `NATSError`: `noResponders` at once when nobody subscribes, `timedOut`, `cancelled`, or as for a message.
    package func request(
        _ subject: String,
        headers: NATSHeaders = [:],
        payload: ByteBuffer = ByteBuffer(),
        timeout: Duration = .seconds(10)
    ) async throws(NATSError) -> NATSMessage {
        let wait = ReplyWait()
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard wait.begin({ continuation.resume(returning: $0) }) else { return }
                let request = self.startRequest(subject, headers: headers, payload: payload, timeout: timeout) {
                    wait.end($0)
                }
                if let request { wait.sent(request) }
            }
        } onCancel: {
            wait.end(.failure(NATSError(.cancelled, "the request on '\(subject)' was cancelled")))
        }.get()
    }

    /// Sends a request without waiting.
    ///
    /// - Parameters:
    ///   - subject: where to.
    ///   - headers: sent with it, if there are any.
    ///   - payload: may be empty.
    ///   - timeout: how long to wait, queueing included; met to 10 ms.
    ///   - connection: the number of reconnects after which it may be sent and answered: once the connection was made again, it fails with
    ///     `disconnected`; nil: it does not matter.
    ///   - completion: called once with the first reply or the failure, perhaps before this returns, on any thread; not called after
    ///     a successful cancel. It must not block.
    /// - Returns: what cancels it; nil when it has failed already.
    @discardableResult
    package func startRequest(
        _ subject: String,
        headers: NATSHeaders = [:],
        payload: ByteBuffer = ByteBuffer(),
        timeout: Duration,
        connection: Int? = nil,
        completion: @escaping @Sendable (Result<NATSMessage, NATSError>) -> Void
    ) -> NATSRequest? {
        let message = NATSMessage(subject: subject, headers: headers, payload: payload)
        return self.core.request(message, timeout: timeout, connection: connection, completion)
            .map { NATSRequest(number: $0, core: self.core) }
    }

    // MARK: Receiving

    /// Subscribes to a subject.
    ///
    /// The server knows of it after the next `flush(timeout:)`.
    ///
    /// - Parameters:
    ///   - subject: may hold the wildcards `*` and, at the end, `>`.
    ///   - queueGroup: of the members of a group, one gets a message.
    ///   - limits: what may wait while the receiver pauses.
    ///   - ended: called once at the end, with the reason unless it was asked for.
    ///   - handler: gets the messages, one at a time and in order; must not block.
    /// - Returns: the subscription, which lives until it is ended or the connection is closed.
    /// - Throws: `NATSError` when the subject is none, or the connection is closed or drains.
    package func subscribe(
        _ subject: String,
        queueGroup: String? = nil,
        limits: NATSSubscription.Limits = .init(),
        ended: @escaping @Sendable (NATSError?) -> Void = { _ in },
        handler: @escaping @Sendable (NATSMessage) -> NATSSubscription.Demand
    ) async throws(NATSError) -> NATSSubscription {
        try NATSSubject.validateSubscribed(subject)
        if let queueGroup { try NATSSubject.validateQueueGroup(queueGroup) }
        let number = try self.core.state.withLock { state throws(NATSError) in
            try state.checkNotDraining()
            state.lastSubscription += 1
            return state.lastSubscription
        }
        let subscription = NATSSubscription(
            number: number,
            subject: subject,
            queueGroup: queueGroup,
            limits: limits,
            core: self.core,
            handler: handler,
            ended: ended
        )
        let error = await withCheckedContinuation { continuation in
            self.core.post(.subscribe(subscription) { continuation.resume(returning: $0) })
        }
        if let error { throw error }
        return subscription
    }

    // MARK: The end

    /// Returns when the connection has ended; a cancelled task closes it.
    package func run() async {
        await withTaskCancellationHandler {
            await self.core.waitUntilOver()
        } onCancel: {
            self.core.post(.close)
        }
    }

    /// Ends the connection: requests fail, subscriptions end, accepted messages are written if that takes less than a second.
    ///
    /// May be called again.
    package func close() async {
        self.core.post(.close)
        await self.core.waitUntilOver()
    }

    /// Ends the connection without losing anything: subscriptions deliver what had arrived, requests get their replies, messages are sent.
    ///
    /// New requests and subscriptions are refused meanwhile; replies may still be published.
    ///
    /// - Parameter timeout: when to close all the same; nil takes the configuration's.
    /// - Throws: `NATSError` when not everything could be done.
    package func drain(timeout: Duration? = nil) async throws(NATSError) {
        self.core.state.withLock { $0.isDraining = true }
        let limit = timeout ?? self.configuration.drainTimeout
        let error = await withCheckedContinuation { continuation in
            self.core.post(.drainAll(timeout: limit) { continuation.resume(returning: $0) })
        }
        if let error { throw error }
    }
}

/// A request that waits for its reply.
package struct NATSRequest: Sendable {
    let number: UInt64
    let core: ConnectionCore

    /// Stops waiting; a later reply is ignored.
    ///
    /// What was written is not taken back.
    ///
    /// - Returns: whether it was still waiting, so that its completion will not be called.
    @discardableResult
    package func cancel() -> Bool { self.core.cancel(self.number) }
}
