/// What a server says of a stream.
package struct StreamInfo: Sendable, Hashable, Decodable {
    package var configuration: StreamConfiguration
    package var state: State

    /// What a stream holds.
    package struct State: Sendable, Hashable, Decodable {
        package var messages: UInt64
        package var bytes: UInt64
        /// The sequence number of the oldest message, or of the next one when there is none.
        package var firstSequence: UInt64
        /// The sequence number that was given last.
        package var lastSequence: UInt64
        package var consumers: Int
        /// Messages of each subject, if they were asked for.
        package var subjects: [String: UInt64]?

        private enum CodingKeys: String, CodingKey {
            case messages, bytes, subjects
            case firstSequence = "first_seq"
            case lastSequence = "last_seq"
            case consumers = "consumer_count"
        }
    }

    private enum CodingKeys: String, CodingKey {
        case state
        case configuration = "config"
    }
}
