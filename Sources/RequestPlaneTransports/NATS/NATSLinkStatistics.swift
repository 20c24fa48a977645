import NATS

/// What a process can tell about its NATS connection: a snapshot.
package struct NATSLinkStatistics: Sendable, Hashable {
    /// Whether requests and acknowledgements can be sent now; otherwise they wait for the connection.
    package var isConnected: Bool
    /// How often a lost connection was made again.
    package var reconnects: Int
    /// Requests that were lost because this process did not take them fast enough.
    package var droppedMessages: Int
    /// Messages that were accepted for sending and could not be sent.
    package var publishFailures: Int

    init(_ statistics: NATSStatistics) {
        self.isConnected = statistics.phase == .connected
        self.reconnects = statistics.reconnects
        self.droppedMessages = statistics.slowConsumerDrops
        self.publishFailures = statistics.publishFailures
    }
}
