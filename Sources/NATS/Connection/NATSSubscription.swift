import Synchronization

/// Interest in a subject, until it is ended or its connection is closed.
///
/// It survives reconnects. Messages come one at a time, on the connection's thread: a handler must return soon and must not
/// block. What arrives while the receiver wants no more waits in the library, up to the limits; beyond them messages are
/// dropped, counted and reported as an event.
package final class NATSSubscription: Sendable {
    package let subject: String
    package let queueGroup: String?

    let number: UInt64
    let limits: Limits
    let handler: @Sendable (NATSMessage) -> Demand
    let ended: @Sendable (NATSError?) -> Void
    private let core: ConnectionCore
    private let state = Mutex(State())

    private struct State {
        var isPaused = false
        var isEnded = false
        var dropped = 0
    }

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
        self.limits = limits
        self.core = core
        self.handler = handler
        self.ended = ended
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
    /// - Throws: `NATSError` when the time was too short or the connection was lost.
    package func drain(timeout: Duration = .seconds(10)) async throws(NATSError) {
        let error = await withCheckedContinuation { continuation in
            self.core.post(.drain(self.number, timeout: timeout) { continuation.resume(returning: $0) })
        }
        if let error { throw error }
    }

    // MARK: For the connection's thread

    var isPaused: Bool { self.state.withLock { $0.isPaused } }

    func deliver(_ message: NATSMessage) {
        // Paused first and taken back after, so that a `resume()` from within the handler is not lost.
        self.state.withLock { $0.isPaused = true }
        if self.handler(message) == .more { self.state.withLock { $0.isPaused = false } }
    }

    /// Notes the counter of the library and returns what is new.
    func noteDropped(_ total: Int) -> Int {
        self.state.withLock { state in
            defer { state.dropped = total }
            return total - state.dropped
        }
    }

    func end(_ error: NATSError?) {
        let isNews = self.state.withLock { state in
            defer { state.isEnded = true }
            return !state.isEnded
        }
        if isNews { self.ended(error) }
    }
}
