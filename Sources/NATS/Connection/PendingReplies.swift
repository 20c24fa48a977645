/// Requests that wait for a reply, by the number in their reply subject.
struct PendingReplies<Handler> {
    private var waiting: [UInt64: Entry] = [:]
    private var last: UInt64 = 0
    /// No entry expires before this; nil when nothing waits.
    ///
    /// May be too early, never too late.
    private(set) var nextDeadline: ContinuousClock.Instant?

    struct Entry {
        var handler: Handler
        var deadline: ContinuousClock.Instant
        var subject: String
        var timeout: Duration
        /// On which of the connections in a row it must be sent; nil: on any.
        var connection: Int?
    }

    var count: Int { self.waiting.count }

    mutating func add(_ entry: Entry) -> UInt64 {
        self.last += 1
        self.waiting[self.last] = entry
        self.nextDeadline = min(self.nextDeadline ?? entry.deadline, entry.deadline)
        return self.last
    }

    func contains(_ number: UInt64) -> Bool { self.waiting[number] != nil }

    mutating func take(_ number: UInt64) -> Entry? { self.waiting.removeValue(forKey: number) }

    mutating func takeAll() -> [Entry] {
        defer {
            self.waiting = [:]
            self.nextDeadline = nil
        }
        return Array(self.waiting.values)
    }

    /// Takes those that must not be sent on this connection any more.
    mutating func takeBound(toOtherThan connection: Int) -> [Entry] {
        let numbers = self.waiting.filter { $0.value.connection.map { $0 != connection } ?? false }.keys
        return numbers.compactMap { self.waiting.removeValue(forKey: $0) }
    }

    /// Takes everything whose time is over.
    ///
    /// Looks at all entries, but only when the earliest deadline has come, which with similar timeouts is about once in
    /// a timeout.
    mutating func takeExpired(at now: ContinuousClock.Instant) -> [Entry] {
        guard let nextDeadline, nextDeadline <= now else { return [] }
        let numbers = self.waiting.filter { $0.value.deadline <= now }.keys
        let expired = numbers.compactMap { self.waiting.removeValue(forKey: $0) }
        self.nextDeadline = self.waiting.values.map(\.deadline).min()
        return expired
    }
}
