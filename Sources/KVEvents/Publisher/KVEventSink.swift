package import KVRouter

/// Takes events to where routers read them; each way has its own encoding.
package protocol KVEventSink: Sendable {
    /// Sends events, in this order, after those of the calls before.
    ///
    /// Never called twice at a time.
    ///
    /// - Parameter events: one or more, which fit into one message.
    /// - Throws: `EventsLost` when routers may not have everything of before; any other error when only these were not sent: the same
    ///   events come again after a pause.
    func send(_ events: [RouterEvent]) async throws

    /// Whether routers can be reached, each time this changes; they can at the beginning.
    func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable
}

/// Events that were taken are gone, or arrived in another order: everything that the cache holds must be sent anew.
package struct EventsLost: Error, Sendable, CustomStringConvertible {
    /// What has happened, in words for the person who reads the log.
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// Sends nothing: routers predict.
package struct NoSink: KVEventSink {
    package init() {}

    package func send(_ events: [RouterEvent]) async throws {}

    package func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable { AsyncStream { $0.finish() } }
}
