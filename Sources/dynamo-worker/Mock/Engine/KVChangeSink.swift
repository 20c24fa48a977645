import KVRouter

/// Where the changes of a cache go, in their order.
protocol KVChangeSink: Sendable {
    /// Takes changes; it must not wait.
    ///
    /// - Parameters:
    ///   - changes: what has happened since the last call, in order.
    ///   - rank: the data-parallel rank whose cache it is.
    func record(_ changes: [KVEvent.Change], rank: UInt32)
}

/// Nobody wants to know.
struct NoKVChanges: KVChangeSink {
    func record(_ changes: [KVEvent.Change], rank: UInt32) {}
}
