/// What the callers, libnats' callbacks and the connection's thread share, behind one lock.
struct ConnectionState {
    typealias ReplyHandler = @Sendable (Result<NATSMessage, NATSError>) -> Void

    var phase = NATSConnectionPhase.connecting
    var isDraining = false
    /// Whether the thread will look at this state again before it sleeps.
    var isThreadAwake = true

    /// Of the server, headers included.
    var maximumPayload = 0
    var server = ""

    var commands: [LoopCommand] = []
    var outbound: OutboundQueue<Outgoing>
    var replies = PendingReplies<ReplyHandler>()
    var lastSubscription: UInt64 = 0
    var statistics = NATSStatistics()

    var observers: [AsyncStream<NATSConnectionEvent>.Continuation] = []
    /// Why nobody waits for the first connection any more.
    var abandoned: NATSError?
    var connectWaiter: CheckedContinuation<Result<Void, NATSError>, Never>?
    var closeWaiters: [CheckedContinuation<Void, Never>] = []
    /// Whether the thread has ended.
    var isOver = false

    /// Something to be sent, in order.
    enum Outgoing {
        case message(NATSMessage, request: UInt64?)
        /// Waits among the requests until it is its turn, so that its time limit counts from the beginning.
        case flush(request: UInt64, @Sendable (NATSError?) -> Void)
    }

    init(maximumQueuedBytes: Int) { self.outbound = OutboundQueue(maximumBytes: maximumQueuedBytes) }

    /// Whether the thread has to be woken for what was just changed.
    mutating func wake() -> Bool {
        defer { self.isThreadAwake = true }
        return !self.isThreadAwake
    }

    /// Tells those who observe the connection, and forgets who does so no longer.
    ///
    /// Their streams have no handler of termination, because it would have to take the lock under which they are resumed here,
    /// while a lock of the cancelled task is held that resuming takes too.
    mutating func emit(_ event: NATSConnectionEvent) {
        self.observers.removeAll { if case .terminated = $0.yield(event) { true } else { false } }
    }

    /// - Throws: `NATSError` when the connection is closed.
    func checkOpen() throws(NATSError) {
        guard self.phase != .closed else { throw NATSError(.closed, "the connection to NATS is closed") }
    }

    /// - Throws: `NATSError` when nothing new may begin.
    func checkNotDraining() throws(NATSError) {
        try self.checkOpen()
        guard !self.isDraining else {
            throw NATSError(.draining, "the connection to NATS drains and takes no new requests and subscriptions")
        }
    }

    /// Puts a message behind those that wait.
    ///
    /// - Throws: `NATSError` when it is too large, or too much waits already.
    mutating func enqueue(_ message: NATSMessage, request: UInt64?) throws(NATSError) {
        let size = message.size
        guard size <= self.maximumPayload else {
            throw Self.tooLarge(message.subject, size: size, limit: self.maximumPayload, server: self.server)
        }
        // A message without payload also costs memory.
        guard self.outbound.append(.message(message, request: request), size: size + 256) else {
            throw NATSError(
                .overloaded,
                "\(self.outbound.bytes) bytes already wait to be sent to NATS at \(self.server), which is as much as this "
                    + "connection may hold (it is \(self.phase.rawValue)); send less at once, or use the TCP request plane"
            )
        }
    }

    static func tooLarge(_ subject: String, size: Int, limit: Int, server: String) -> NATSError {
        NATSError(
            .payloadTooLarge,
            "a message of \(size) bytes for '\(subject)' is larger than the NATS server at \(server) takes "
                + "(max_payload \(limit)); raise max_payload in the server's configuration, or use the TCP request plane "
                + "(DYN_REQUEST_PLANE=tcp)"
        )
    }
}
