/// What the driver of an ``Indexer`` is to do.
package enum IndexerAction: Hashable, Sendable {
    /// Ask the worker, after a while, and hand in the answer or the failure with this very question.
    case query(IndexQuery, after: Duration)
    /// Call ``Indexer/restore(_:blocks:)`` until it no longer returns this: an answer is applied in slices.
    case restore(WorkerRank)
    /// Worth a line in the log; nothing to be done.
    case report(IndexerReport)
}

/// What happened to a worker's events that an operator may want to know.
package enum IndexerReport: Hashable, Sendable {
    /// The event was dropped, or some of its blocks were not there to be removed.
    case unknown(WorkerRank, event: UInt64, RadixTree.Unknown)
    /// Events are missing; the worker is asked for them.
    case gap(WorkerRank, missing: ClosedRange<UInt64>)
    /// The rank's blocks are those of the worker again, up to this event; nil when the worker does not say which.
    case recovered(WorkerRank, last: UInt64?)
    /// The worker's newest event is older than what was applied: it counts anew, and is asked for everything.
    case restarted(WorkerRank, newest: UInt64)
    /// One attempt failed; there is another.
    case failed(IndexQuery, reason: String)
    /// All attempts failed; the rank's blocks are forgotten until its next event.
    case gaveUp(IndexQuery, reason: String)
    /// An answer to a question that is not open any more; it was ignored.
    case late(IndexQuery)
}

/// What an indexer has seen since it started.
package struct IndexerCounters: Hashable, Sendable {
    /// Live and recovered events that went into the tree.
    package var applied = 0
    /// Events with an id not above the last applied one.
    package var duplicates = 0
    /// Jumps of event ids.
    package var gaps = 0
    /// Events that came while an answer was awaited; the answer or the tail after it brings them.
    package var held = 0
    /// Events that were dropped because their parent is unknown.
    package var unknownParents = 0
    /// Blocks that were to be removed and were not there.
    package var unknownRemovals = 0
    /// Questions that brought a rank up to date.
    package var recoveries = 0
    /// Questions that were given up.
    package var failures = 0

    package init() {}

    package static func + (left: Self, right: Self) -> Self {
        var sum = left
        sum.applied += right.applied
        sum.duplicates += right.duplicates
        sum.gaps += right.gaps
        sum.held += right.held
        sum.unknownParents += right.unknownParents
        sum.unknownRemovals += right.unknownRemovals
        sum.recoveries += right.recoveries
        sum.failures += right.failures
        return sum
    }
}
