import NIOCore
import Synchronization

/// Interest in a subject, until it is ended or its connection is closed.
///
/// It survives reconnects. Messages come one at a time, on the connection's thread: a handler must return soon and must not
/// block. What arrives while the receiver wants no more waits, up to the limits; beyond them messages are dropped, counted
/// and reported as an event.
package final class NATSSubscription: Sendable {
    package let subject: String
    package let queueGroup: String?

    let number: UInt64
    private let core: ConnectionCore
    private let handler: @Sendable (NATSMessage) -> Demand
    private let ended: @Sendable (NATSError?) -> Void
    private let state: Mutex<SubscriptionBuffer>

    /// Whether a receiver takes the next message.
    package enum Demand: Sendable, Hashable {
        case more
        /// Nothing until `resume()` is called.
        case pause
    }

    /// What may wait for a receiver that has paused.
    package struct Limits: Sendable, Hashable {
        package var messages: Int
        package var bytes: Int

        package init(messages: Int = 65_536, bytes: Int = 256 * 1024 * 1024) {
            self.messages = messages
            self.bytes = bytes
        }
    }

    init(
        number: UInt64,
        subject: String,
        queueGroup: String?,
        limits: Limits,
        core: ConnectionCore,
        handler: @escaping @Sendable (NATSMessage) -> Demand,
        ended: @escaping @Sendable (NATSError?) -> Void
    ) {
        self.number = number
        self.subject = subject
        self.queueGroup = queueGroup
        self.core = core
        self.handler = handler
        self.ended = ended
        self.state = Mutex(SubscriptionBuffer(limits: limits))
    }

    /// Messages that were dropped at the limits.
    package var dropped: Int { self.state.withLock { $0.dropped } }

    /// Whether no message comes any more.
    package var isEnded: Bool { self.state.withLock { $0.isEnded } }

    /// Takes messages again after the handler has asked for a pause.
    package func resume() {
        self.state.withLock { $0.isPaused = false }
        self.core.post(.poll)
    }

    /// Ends the subscription; messages that have arrived and were not taken are dropped.
    package func unsubscribe() { self.core.post(.unsubscribe(self.number)) }

    /// Ends the subscription after what had arrived before was taken.
    ///
    /// - Parameter timeout: when to drop the rest.
    /// - Throws: `NATSError` when the time was too short.
    package func drain(timeout: Duration = .seconds(10)) async throws(NATSError) {
        let error = await withCheckedContinuation { continuation in
            self.core.post(.drain(self.number, timeout: timeout) { continuation.resume(returning: $0) })
        }
        if let error { throw error }
    }

    // MARK: For the connection's thread

    /// Whether nothing waits for the receiver.
    var isEmpty: Bool { self.state.withLock { $0.isEmpty } }

    /// Keeps a message for the receiver.
    ///
    /// - Returns: whether there was room.
    func keep(_ message: NATSMessage) -> Bool { self.state.withLock { $0.keep(message) } }

    /// Gives the receiver what it wants of what waits.
    ///
    /// - Parameter limit: no more messages than these.
    /// - Returns: whether there is more that it wants.
    func deliver(upTo limit: Int) -> Bool {
        for _ in 0..<limit {
            guard let message = self.state.withLock({ $0.takeForDelivery() }) else { return false }
            if self.handler(message) == .more { self.state.withLock { $0.isPaused = false } }
        }
        return self.state.withLock { !$0.isPaused && !$0.isEmpty }
    }

    func end(_ error: NATSError?) {
        if self.state.withLock({ $0.end() }) { self.ended(error) }
    }
}
