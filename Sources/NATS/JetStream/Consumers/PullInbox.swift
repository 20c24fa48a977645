import NIOCore
import Synchronization

/// Where a server's answers to pulls arrive.
///
/// Holds no more than was pulled. The end of the last reference ends the subscription, whereupon the server forgets the pulls.
final class PullInbox: Sendable {
    enum Arrival: Sendable {
        case message(NATSMessage)
        case status(PullStatus, pull: UInt64)
        case ended(NATSError?)
    }

    private struct State {
        var arrivals = CircularBuffer<Arrival>()
        var messages = 0
    }

    private final class Shared: Sendable {
        let state = Mutex(State())
        let signal = Signal()

        func add(_ arrival: Arrival) {
            self.state.withLock { state in
                if case .message = arrival { state.messages += 1 }
                state.arrivals.append(arrival)
            }
            self.signal.raise()
        }
    }

    private let connection: NATSConnection
    private let inbox: String
    private let shared: Shared
    private let subscription: NATSSubscription

    private init(_ connection: NATSConnection, _ inbox: String, _ shared: Shared, _ subscription: NATSSubscription) {
        self.connection = connection
        self.inbox = inbox
        self.shared = shared
        self.subscription = subscription
    }

    deinit { self.subscription.unsubscribe() }

    static func open(_ connection: NATSConnection) async throws(NATSError) -> PullInbox {
        let inbox = "_INBOX.\(UniqueName.make())"
        let shared = Shared()
        let subscription = try await connection.subscribe("\(inbox).*") { error in
            shared.add(.ended(error))
        } handler: { message in
            if let status = PullStatus(message) {
                // Messages come with the subject they were published to, but this with the one of the pull.
                shared.add(.status(status, pull: UInt64(message.subject.dropFirst(inbox.count + 1)) ?? 0))
            } else {
                shared.add(.message(message))
            }
            return .more
        }
        return PullInbox(connection, inbox, shared, subscription)
    }

    /// Messages that wait.
    var messages: Int { self.shared.state.withLock { $0.messages } }

    func take() -> Arrival? {
        self.shared.state.withLock { state in
            let arrival = state.arrivals.popFirst()
            if case .message = arrival { state.messages -= 1 }
            return arrival
        }
    }

    /// Waits until something may have arrived, or the time is over, or the task is cancelled.
    func wait(for limit: Duration) async { await self.shared.signal.wait(for: limit) }

    func pull(_ number: UInt64, from subject: String, _ request: PullRequest) throws(JetStreamError) {
        let payload = try JetStreamJSON.encode(request)
        do throws(NATSError) {
            try self.connection.publish(subject, payload: payload, reply: "\(self.inbox).\(number)")
        } catch {
            throw JetStreamError(error, "pull from a consumer on '\(subject)'")
        }
    }
}

/// What a pull asks for; times are in nanoseconds.
struct PullRequest: Encodable, Sendable {
    var batch: Int
    var expires: Int64
    var idleHeartbeat: Int64
    /// Whether only what is there now is wanted.
    var isImmediate: Bool

    private enum CodingKeys: String, CodingKey {
        case batch, expires
        case idleHeartbeat = "idle_heartbeat"
        case isImmediate = "no_wait"
    }

    init(batch: Int, expires: Duration, idleHeartbeat: Duration, isImmediate: Bool = false) {
        self.batch = batch
        self.expires = expires.nanoseconds
        self.idleHeartbeat = idleHeartbeat.nanoseconds
        self.isImmediate = isImmediate
    }
}
