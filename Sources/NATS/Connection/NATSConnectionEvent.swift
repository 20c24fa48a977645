/// What happens to a connection after it was established.
package enum NATSConnectionEvent: Sendable, Hashable {
    /// The connection was lost; attempts to reconnect have begun and do not end.
    case disconnected
    /// There is a connection again, and every subscription with it.
    case reconnected(server: String)
    /// Messages of a subscription were dropped, because its receiver is too slow for its limits.
    case slowConsumer(subject: String, dropped: Int)
    /// The server or the library complains, for example about a permission, or why connecting again fails.
    case error(NATSError)
    /// The end, which was asked for.
    case closed
}

/// Whether a connection is usable.
package enum NATSConnectionPhase: String, Sendable, Hashable {
    case connecting
    case connected
    case reconnecting
    case closed
}
