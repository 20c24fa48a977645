import NIOCore

/// What waits for the receiver of a subscription.
struct SubscriptionBuffer {
    private var messages = CircularBuffer<NATSMessage>()
    private var bytes = 0
    private let limits: NATSSubscription.Limits
    /// Whether the receiver wants nothing, or has not said yet what it wants after the last message.
    var isPaused = false
    private(set) var isEnded = false
    private(set) var dropped = 0

    init(limits: NATSSubscription.Limits) { self.limits = limits }

    var isEmpty: Bool { self.messages.isEmpty }

    /// Keeps a message; the first always fits, however large it is.
    ///
    /// - Returns: whether there was room.
    mutating func keep(_ message: NATSMessage) -> Bool {
        guard !self.isEnded else { return true }
        let hasRoom = self.messages.count < self.limits.messages && self.bytes + message.size <= self.limits.bytes
        guard self.messages.isEmpty || hasRoom else {
            self.dropped += 1
            return false
        }
        self.messages.append(message)
        self.bytes += message.size
        return true
    }

    /// Takes the next message if the receiver wants it, and pauses it.
    ///
    /// Paused first and taken back after, so that a resume from within the receiver is not lost.
    mutating func takeForDelivery() -> NATSMessage? {
        guard !self.isPaused, let message = self.messages.popFirst() else { return nil }
        self.isPaused = true
        self.bytes -= message.size
        return message
    }

    /// - Returns: whether this was the first end.
    mutating func end() -> Bool {
        defer {
            self.isEnded = true
            self.messages = []
            self.bytes = 0
        }
        return !self.isEnded
    }
}
