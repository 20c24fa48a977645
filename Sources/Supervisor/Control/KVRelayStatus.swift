/// The KV events of an engine that the launcher publishes for a replica, at one moment.
///
/// Counters are those of the replica's present run.
package struct KVRelayStatus: Sendable, Hashable, Codable {
    package enum State: String, Sendable, Hashable, Codable {
        /// The replica does not run.
        case idle
        /// It runs, and what is missing to publish for it is in `reason`.
        case waiting
        /// Routers are told what it holds, and can ask.
        case publishing
        /// Given up, for the reason in `reason`.
        case failed
    }

    package var state: State
    package var reason: String?
    /// The instance that is published for, hexadecimal.
    package var worker: String?
    /// Blocks that the engine is known to hold.
    package var blocks = 0
    /// Connections to the engine so far; more than one for each rank means that it was lost.
    package var connections = 0
    /// Messages of the engine, live ones and those that it repeated.
    package var messages = 0
    package var replayedMessages = 0
    /// Messages, and events of ranks that are not there, that were left out.
    package var refused = 0
    /// Events in the messages.
    package var events = 0
    /// Times that messages were missing.
    package var gaps = 0
    /// Times that the engine was asked for messages again, and times without a whole answer.
    package var replays = 0
    package var failedReplays = 0
    /// Times that all blocks were taken back, because nobody could say what is still true.
    package var losses = 0
    /// Events that were sent to routers.
    package var published = 0
    /// Times that everything was sent to routers anew.
    package var resyncs = 0

    package init(_ state: State, reason: String? = nil) {
        self.state = state
        self.reason = reason
    }
}
