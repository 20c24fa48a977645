/// Decides when a reader of a consumer's messages pulls more, and when the consumer is looked after.
///
/// One pull waits at a time. A server that has forgotten it, because it was restarted, says nothing, so silence and a new
/// connection lead to a question about the consumer, and after its answer to a new pull.
struct PullMachine {
    enum Action: Equatable {
        /// Ask for messages.
        case pull(number: UInt64, batch: Int)
        /// Ask whether the consumer is still there, then say `checked`.
        case check(pause: Bool)
        /// There is nothing to do before this.
        case wait(until: ContinuousClock.Instant)
    }

    /// Messages that may wait for the reader, those on their way included.
    let window: Int
    /// How long the server may say nothing while a pull waits.
    let patience: Duration

    private var lastPull: UInt64 = 0
    /// Messages that the waiting pull may still bring; 0 when none waits.
    private var owed = 0
    private var deadline: ContinuousClock.Instant
    private var connectionNumber: Int
    private var needsCheck = false
    /// Whether the server was asked and has given nothing since.
    private var isBarren = false

    init(window: Int, patience: Duration, connectionNumber: Int, now: ContinuousClock.Instant) {
        self.window = max(1, window)
        self.patience = patience
        self.connectionNumber = connectionNumber
        self.deadline = now
    }

    /// What to do when the reader looks.
    ///
    /// - Parameters:
    ///   - buffered: messages that wait for the reader.
    ///   - connectionNumber: reconnects so far.
    ///   - now: the time.
    /// - Returns: one thing; after it is done, look again.
    mutating func next(buffered: Int, connectionNumber: Int, now: ContinuousClock.Instant) -> Action {
        if connectionNumber != self.connectionNumber {
            self.connectionNumber = connectionNumber
            self.interrupt()
        } else if self.owed > 0, now >= self.deadline {
            self.interrupt()
        }
        if self.needsCheck { return .check(pause: self.isBarren) }
        guard self.owed == 0, buffered <= self.window / 2 else { return .wait(until: self.deadline) }
        self.lastPull += 1
        self.owed = self.window - buffered
        self.deadline = now + self.patience
        return .pull(number: self.lastPull, batch: self.owed)
    }

    /// A message has arrived.
    mutating func arrived(now: ContinuousClock.Instant) {
        self.owed = max(0, self.owed - 1)
        self.deadline = now + self.patience
        self.isBarren = false
    }

    /// The server has said something about a pull.
    ///
    /// - Returns: why reading cannot go on, if it cannot.
    mutating func said(
        _ status: PullStatus,
        to pull: UInt64,
        now: ContinuousClock.Instant
    ) -> JetStreamError.Code? {
        guard pull == self.lastPull else { return nil }
        self.deadline = now + self.patience
        switch status {
        case .heartbeat: self.isBarren = false
        case .ended: self.owed = 0
        case .interrupted: self.interrupt()
        case .consumerDeleted: return .consumerMissing
        case .refused: return .refused
        }
        return nil
    }

    /// The consumer is there.
    mutating func checked() {
        self.needsCheck = false
        self.isBarren = true
    }

    private mutating func interrupt() {
        self.owed = 0
        self.needsCheck = true
    }
}
