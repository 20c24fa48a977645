internal import HeapModule

/// Deadlines by key: arming a key again replaces its deadline.
///
/// A value; whoever owns it waits for `next`.
struct TimerQueue<Key: Hashable & Sendable>: Sendable {
    private struct Entry: Comparable, Sendable {
        var deadline: ContinuousClock.Instant
        var ticket: UInt64
        var key: Key

        static func < (lhs: Self, rhs: Self) -> Bool { (lhs.deadline, lhs.ticket) < (rhs.deadline, rhs.ticket) }
        static func == (lhs: Self, rhs: Self) -> Bool { lhs.ticket == rhs.ticket }
    }

    private var heap = Heap<Entry>()
    /// The ticket that counts for each key; entries with another one are dead and dropped when they surface.
    private var current: [Key: UInt64] = [:]
    private var lastTicket: UInt64 = 0

    /// Sets the deadline of a key, instead of any that it has.
    mutating func arm(_ key: Key, at deadline: ContinuousClock.Instant) {
        self.lastTicket += 1
        self.current[key] = self.lastTicket
        self.heap.insert(Entry(deadline: deadline, ticket: self.lastTicket, key: key))
    }

    mutating func cancel(_ key: Key) {
        self.current[key] = nil
    }

    /// The earliest deadline.
    mutating func next() -> ContinuousClock.Instant? {
        while let entry = self.heap.min {
            if self.current[entry.key] == entry.ticket { return entry.deadline }
            self.heap.removeMin()
        }
        return nil
    }

    /// Removes and returns the keys whose deadline has come, earliest first.
    mutating func due(at now: ContinuousClock.Instant) -> [Key] {
        var keys: [Key] = []
        while let deadline = self.next(), deadline <= now {
            let entry = self.heap.removeMin()
            self.current[entry.key] = nil
            keys.append(entry.key)
        }
        return keys
    }
}
