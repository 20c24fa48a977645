import NIOCore

/// Messages on their way to a stream, oldest first, and whether the stream keeps their order.
struct PublishWindow {
    private var entries = CircularBuffer<Entry>()
    private var lastPlace: UInt64 = 0
    private var lastAttempt: UInt64 = 0
    /// The latest of the messages that are acknowledged, to compare the order of others with.
    private var newest: (place: UInt64, acknowledgement: PublishAcknowledgement)?
    private(set) var statistics = JetStreamPublisher.Statistics()
    /// Whether one of them has failed, so that it and all after it must be sent again.
    private(set) var isBroken = false

    struct Entry: Equatable {
        /// In the order of publishing.
        var place: UInt64
        /// Which answer counts.
        var attempt: UInt64
        var message: StreamMessage
    }

    var count: Int { self.entries.count }

    /// - Returns: the number of the attempt to send it.
    mutating func add(_ message: StreamMessage) -> UInt64 {
        self.lastPlace += 1
        self.lastAttempt += 1
        self.entries.append(Entry(place: self.lastPlace, attempt: self.lastAttempt, message: message))
        return self.lastAttempt
    }

    /// - Returns: whether the answer was waited for.
    @discardableResult
    mutating func acknowledged(_ attempt: UInt64, _ acknowledgement: PublishAcknowledgement) -> Bool {
        // Answers come in order, so it is nearly always the first.
        guard let index = self.entries.firstIndex(where: { $0.attempt == attempt }) else { return false }
        self.stored(self.entries.remove(at: index), acknowledgement)
        return true
    }

    mutating func failed(_ attempt: UInt64) {
        if self.entries.contains(where: { $0.attempt == attempt }) { self.isBroken = true }
    }

    /// Begins to send everything again: answers to what was sent before count no more.
    mutating func beginRecovery() {
        self.isBroken = true
        for index in self.entries.indices {
            self.lastAttempt += 1
            self.entries[index].attempt = self.lastAttempt
        }
    }

    /// Takes the oldest message out, to be sent again by itself; nil ends the recovery.
    mutating func takeOldest() -> Entry? {
        guard let entry = self.entries.popFirst() else {
            self.isBroken = false
            return nil
        }
        self.statistics.resent += 1
        return entry
    }

    /// A message that was taken out is stored.
    mutating func stored(_ entry: Entry, _ acknowledgement: PublishAcknowledgement) {
        self.statistics.acknowledged += 1
        if acknowledgement.isDuplicate { self.statistics.duplicates += 1 }
        defer { if entry.place >= self.newest?.place ?? 0 { self.newest = (entry.place, acknowledgement) } }
        guard let newest, newest.acknowledgement.stream == acknowledgement.stream else { return }
        let isLater = entry.place > newest.place
        let isStoredLater = acknowledgement.sequence > newest.acknowledgement.sequence
        if isLater != isStoredLater { self.statistics.disorders += 1 }
    }

    /// A message that was taken out could not be sent again yet.
    mutating func putBack(_ entry: Entry) { self.entries.prepend(entry) }

    /// A message that was taken out will never be stored.
    mutating func refused(_ entry: Entry) { self.statistics.refused += 1 }
}
