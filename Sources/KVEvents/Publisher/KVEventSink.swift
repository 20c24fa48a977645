package import KVRouter

/// Takes events to where routers read them; each way has its own encoding.
package protocol KVEventSink: Sendable {
    /// Sends events, in this order, after those of the calls before.
    ///
    /// Never called twice at a time.
    ///
    /// - Parameter events: one or more, which fit into one message.
    /// - Throws: `EventsLost` when routers may not have everything of before; `SentInPart` when only the last of these were not sent, any
    ///   other error when none of them was: what was not sent comes again after a pause.
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

/// The first ones of several events were sent, the others were not.
package struct SentInPart: Error {
    /// How many were sent.
    package let count: Int
    /// Why not all.
    package let reason: any Error

    package init(count: Int, reason: any Error) {
        self.count = count
        self.reason = reason
    }
}

/// Sends nothing: routers predict.
package struct NoSink: KVEventSink {
    package init() {}

    package func send(_ events: [RouterEvent]) async throws {}

    package func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable { AsyncStream { $0.finish() } }
}
