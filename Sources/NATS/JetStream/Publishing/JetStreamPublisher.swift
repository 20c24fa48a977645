import Synchronization

/// Publishes to one stream with many messages on their way at once, in order, each acknowledged.
///
/// For one task. When as many messages as the window has are on their way, publishing waits: that is the back-pressure. When the
/// connection or a message is lost, nothing new is sent before everything unacknowledged was sent again, in order; the
/// messages' ids keep the stream from storing one twice (within its two minutes). This happens in the next call of
/// `publish(_:)` or `flush()`, so a publisher that pauses must flush.
package final class JetStreamPublisher {
    private let jetStream: JetStream
    private let window: Int
    private let shared: Shared
    /// Reconnects of the connection when the messages of the window were sent.
    private var connectionNumber: Int
    private let idPrefix = UniqueName.make()
    private var lastID: UInt64 = 0

    package struct Statistics: Sendable, Hashable {
        package var acknowledged = 0
        /// Messages that were stored already when they were sent again.
        package var duplicates = 0
        package var resent = 0
        /// Messages that the stream will never take; each was thrown as an error.
        package var refused = 0
        /// Messages that were stored after a later one.
        ///
        /// A window is only sent on one connection, so this does not happen as long as the server keeps the order of each; who depends on
        /// the order must then send its whole state again.
        package var disorders = 0
    }

    private final class Shared: Sendable {
        let state = Mutex(PublishWindow())
        let signal = Signal()
    }

    /// - Parameters:
    ///   - jetStream: where the stream is.
    ///   - window: messages that may be unacknowledged; at least one.
    package init(_ jetStream: JetStream, window: Int = 256) {
        self.jetStream = jetStream
        self.window = max(1, window)
        self.shared = Shared()
        self.connectionNumber = jetStream.connection.statistics.reconnects
    }

    package var statistics: Statistics { self.shared.state.withLock { $0.statistics } }

    /// Messages that are sent and not acknowledged.
    package var unacknowledged: Int { self.shared.state.withLock { $0.count } }

    /// Sends a message, after waiting for room in the window.
    ///
    /// - Parameter message: gets an id if it has none.
    /// - Throws: `JetStreamError` when this or an earlier message cannot be stored. After `refused`, `differs`, `streamMissing` and
    ///   `invalidArgument` the message that failed is given up; otherwise it is kept and sent again with the next call. This message
    ///   was then not sent.
    package func publish(_ message: StreamMessage) async throws(JetStreamError) {
        try await self.wait(until: self.window - 1)
        var message = message
        if message.id == nil {
            self.lastID += 1
            message.id = "\(self.idPrefix)-\(self.lastID)"
        }
        self.send(message)
    }

    /// Waits until everything is acknowledged.
    ///
    /// - Throws: `JetStreamError` as publishing does.
    package func flush() async throws(JetStreamError) { try await self.wait(until: 0) }

    private func send(_ message: StreamMessage) {
        let shared = self.shared
        let number = shared.state.withLock { $0.add(message) }
        let refill = self.window / 2
        self.jetStream.connection.startRequest(
            message.subject,
            headers: message.allHeaders,
            payload: message.payload,
            timeout: self.jetStream.timeout,
            // On the next one it could be stored without those before it, which went with this one.
            connection: self.connectionNumber
        ) { result in
            let acknowledgement: PublishAcknowledgement?
            do throws(JetStreamError) {
                let reply = try result.mapError { JetStreamError($0, "publish") }.get()
                acknowledgement = try PublishAcknowledgement(reply, subject: message.subject)
            } catch {
                // Sending it again will tell what is wrong.
                acknowledgement = nil
            }
            let wakes = shared.state.withLock { state in
                guard let acknowledgement else {
                    state.failed(number)
                    return true
                }
                state.acknowledged(number, acknowledgement)
                return state.count == refill || state.count == 0
            }
            if wakes { shared.signal.raise() }
        }
    }

    /// Waits until no more than some messages are unacknowledged, and sends again what must be.
    private func wait(until limit: Int) async throws(JetStreamError) {
        while true {
            let connection = self.jetStream.connection.statistics
            let (count, isBroken) = self.shared.state.withLock { ($0.count, $0.isBroken) }
            let isLost = connection.phase != .connected || connection.reconnects != self.connectionNumber
            if isBroken || (isLost && count > 0) {
                try await self.recover()
                continue
            }
            self.connectionNumber = connection.reconnects
            if count <= limit { return }
            guard !Task.isCancelled else {
                throw JetStreamError(.cancelled, "waiting for the acknowledgements of a stream was cancelled")
            }
            // Bounded, because nothing else tells of a connection that was lost.
            await self.shared.signal.wait(for: .milliseconds(100))
        }
    }

    /// Sends everything unacknowledged again, one after the other.
    private func recover() async throws(JetStreamError) {
        self.shared.state.withLock { $0.beginRecovery() }
        while let entry = self.shared.state.withLock({ $0.takeOldest() }) {
            do throws(JetStreamError) {
                let acknowledgement = try await self.jetStream.publish(entry.message)
                self.shared.state.withLock { $0.stored(entry, acknowledgement) }
            } catch {
                switch error.code {
                case .refused, .differs, .streamMissing, .invalidArgument, .damaged:
                    self.shared.state.withLock { $0.refused(entry) }
                default:
                    self.shared.state.withLock { $0.putBack(entry) }
                }
                throw error
            }
        }
    }
}
