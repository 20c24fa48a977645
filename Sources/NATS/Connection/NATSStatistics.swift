/// Counters of one connection since its beginning, and what it holds now.
package struct NATSStatistics: Sendable, Hashable {
    package var phase = NATSConnectionPhase.connecting
    package var reconnects = 0
    /// When a lost connection was last made again.
    package var lastReconnect: ContinuousClock.Instant?
    /// Messages that subscriptions dropped at their limits.
    package var slowConsumerDrops = 0
    /// Requests and replies that could not be sent after they had been accepted.
    package var publishFailures = 0
    /// Requests that wait for their reply.
    package var pendingRequests = 0
    /// Bytes that wait to be sent.
    package var queuedBytes = 0
    package var traffic = NATSTraffic()

    package init() {}
}

/// Messages and bytes on a connection, headers included.
package struct NATSTraffic: Sendable, Hashable {
    package var messagesIn: UInt64 = 0
    package var bytesIn: UInt64 = 0
    package var messagesOut: UInt64 = 0
    package var bytesOut: UInt64 = 0

    static func += (total: inout NATSTraffic, part: NATSTraffic) {
        total.messagesIn += part.messagesIn
        total.bytesIn += part.bytesIn
        total.messagesOut += part.messagesOut
        total.bytesOut += part.bytesOut
    }
}
