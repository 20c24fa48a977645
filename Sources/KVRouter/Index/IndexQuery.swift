/// A question to a worker: what blocks one of its ranks has.
package struct IndexQuery: Hashable, Sendable {
    package var rank: WorkerRank
    /// The first event id that is asked for; nil asks for everything.
    package var from: UInt64?
    /// Tells answers to this question from late ones to an earlier question.
    package var number: UInt64

    package init(rank: WorkerRank, from: UInt64?, number: UInt64) {
        self.rank = rank
        self.from = from
        self.number = number
    }
}

/// What a worker answers to a ``IndexQuery`` (contract `kv-events.md`, section 3).
package enum IndexAnswer: Hashable, Sendable {
    /// The whole state, in place of what is known; its ids mean nothing.
    ///
    /// - Parameters:
    ///   - events: stored events, parents first.
    ///   - last: the newest event in it; 1.0.2 does not say.
    case dump(events: [RouterEvent], last: UInt64?)
    /// Events as they were published.
    ///
    /// - Parameters:
    ///   - events: in order, with their ids.
    ///   - last: the newest event; 1.0.2 does not say.
    case events([RouterEvent], last: UInt64?)
    /// The first id asked for does not exist yet.
    case tooNew(newest: UInt64)
    /// The end lies before the start.
    case invalidRange
    /// The worker refuses, in its words.
    case error(String)
}
