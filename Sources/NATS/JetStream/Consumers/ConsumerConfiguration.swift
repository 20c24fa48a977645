/// How a durable pull consumer gives out a stream's messages.
package struct ConsumerConfiguration: Sendable, Hashable {
    /// The consumer's name; who uses the same name goes on where the other was.
    package var name: String
    /// Where a new consumer begins.
    package var start: Start
    /// Of which subjects; may hold wildcards, nil takes all.
    package var filter: String?
    /// When a message that is not acknowledged is given out again; nil takes the server's 30 s.
    package var acknowledgementWait: Duration?
    /// How often a message is given out at most; nil is without limit.
    package var maximumDeliveries: Int?
    /// Messages that may be unacknowledged, after which the server gives out no more; nil takes the server's 1000.
    package var maximumUnacknowledged: Int?
    /// When a consumer that nobody uses is deleted; nil never.
    package var inactiveThreshold: Duration?

    package enum Start: Sendable, Hashable {
        case all
        case new
        case sequence(UInt64)
    }

    package init(name: String, start: Start = .all) {
        self.name = name
        self.start = start
    }
}

extension ConsumerConfiguration: Encodable {
    private enum CodingKeys: String, CodingKey {
        case name = "durable_name"
        case deliverPolicy = "deliver_policy"
        case startSequence = "opt_start_seq"
        case acknowledgePolicy = "ack_policy"
        case replayPolicy = "replay_policy"
        case filter = "filter_subject"
        case acknowledgementWait = "ack_wait"
        case maximumDeliveries = "max_deliver"
        case maximumUnacknowledged = "max_ack_pending"
        case inactiveThreshold = "inactive_threshold"
    }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(self.name, forKey: .name)
        switch self.start {
        case .all: try values.encode("all", forKey: .deliverPolicy)
        case .new: try values.encode("new", forKey: .deliverPolicy)
        case .sequence(let sequence):
            try values.encode("by_start_sequence", forKey: .deliverPolicy)
            try values.encode(sequence, forKey: .startSequence)
        }
        try values.encode("explicit", forKey: .acknowledgePolicy)
        try values.encode("instant", forKey: .replayPolicy)
        try values.encodeIfPresent(self.filter, forKey: .filter)
        try values.encodeIfPresent(self.acknowledgementWait?.nanoseconds, forKey: .acknowledgementWait)
        try values.encodeIfPresent(self.maximumDeliveries, forKey: .maximumDeliveries)
        try values.encodeIfPresent(self.maximumUnacknowledged, forKey: .maximumUnacknowledged)
        try values.encodeIfPresent(self.inactiveThreshold?.nanoseconds, forKey: .inactiveThreshold)
    }
}

/// What a server says of a consumer.
package struct ConsumerInfo: Sendable, Hashable, Decodable {
    package var stream: String
    package var name: String
    /// What was given out last.
    package var delivered: Position
    /// Everything up to here is acknowledged.
    package var acknowledgementFloor: Position
    /// Messages that were given out and not acknowledged.
    package var unacknowledged: Int
    /// Messages that are given out more than once and not acknowledged.
    package var redelivered: Int
    /// Messages that were not given out yet.
    package var pending: UInt64
    /// Pulls that wait.
    package var waiting: Int

    /// A place in the consumer's order and in the stream's.
    package struct Position: Sendable, Hashable, Decodable {
        package var consumerSequence: UInt64
        package var streamSequence: UInt64

        private enum CodingKeys: String, CodingKey {
            case consumerSequence = "consumer_seq"
            case streamSequence = "stream_seq"
        }
    }

    private enum CodingKeys: String, CodingKey {
        case name, delivered
        case stream = "stream_name"
        case acknowledgementFloor = "ack_floor"
        case unacknowledged = "num_ack_pending"
        case redelivered = "num_redelivered"
        case pending = "num_pending"
        case waiting = "num_waiting"
    }
}
