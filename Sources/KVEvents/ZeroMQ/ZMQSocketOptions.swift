/// What a socket is, where it is attached and how much it may hold.
package struct ZMQSocketOptions: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// Gets what publishers send under topics that begin with one of these; an empty topic is everything.
        case subscriber(topics: [String])
        /// Sends to every subscriber; what one cannot take in time is lost for it.
        case publisher
        /// Asks and gets any number of answers.
        case dealer
    }

    /// The way to the peers.
    package enum Attachment: Sendable, Hashable {
        /// Connects, and again whenever the connection is lost.
        case connect(String)
        /// Listens; `tcp://127.0.0.1:*` takes a free port.
        case bind(String)

        var endpoint: String {
            switch self {
            case .connect(let endpoint), .bind(let endpoint): endpoint
            }
        }
    }

    package var kind: Kind
    package var attachment: Attachment
    /// Messages that may wait in the library for each peer and direction; what comes then is lost.
    package var highWaterMark: Int32
    /// The connection to a peer that sends a larger frame is closed.
    package var maximumFrameBytes: Int64
    /// Messages that may wait for the socket's thread; sending more is refused.
    package var maximumQueuedMessages: Int
    /// The first wait before connecting again; it doubles up to the longest one.
    package var reconnectDelay: Duration
    package var maximumReconnectDelay: Duration

    package init(
        _ kind: Kind,
        _ attachment: Attachment,
        highWaterMark: Int32 = 10_000,
        maximumFrameBytes: Int64 = 64 << 20,
        maximumQueuedMessages: Int = 100_000,
        reconnectDelay: Duration = .milliseconds(100),
        maximumReconnectDelay: Duration = .seconds(2)
    ) {
        self.kind = kind
        self.attachment = attachment
        self.highWaterMark = highWaterMark
        self.maximumFrameBytes = maximumFrameBytes
        self.maximumQueuedMessages = maximumQueuedMessages
        self.reconnectDelay = reconnectDelay
        self.maximumReconnectDelay = maximumReconnectDelay
    }
}
