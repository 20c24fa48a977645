package import Discovery
package import KVRouter

/// What keeps an index true to what workers say, wherever they say it.
package protocol IndexFeed: OverlapSource {
    /// Whether the index has all that was to be known when the feed began.
    var isCaughtUp: Bool { get }

    /// Blocks of each rank.
    var blockCounts: [WorkerRank: Int] { get }

    /// Receives until cancelled.
    ///
    /// - Parameter snapshots: the states of discovery.
    /// - Throws: what the event plane ends with.
    func run(_ snapshots: AsyncStream<DiscoverySnapshot>) async throws
}
