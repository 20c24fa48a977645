/// What a relay has done since it started.
package struct RelayStatistics: Sendable, Hashable {
    /// Connections to the engine.
    package var connections = 0
    /// Messages on the subscription.
    package var messages = 0
    /// Messages from the replay endpoint.
    package var replayedMessages = 0
    /// Messages or batches that could not be read.
    package var refusedMessages = 0
    /// Events in the batches.
    package var events = 0
    /// Changes that were published.
    package var changes = 0
    /// Times that messages were missing on the subscription.
    package var gaps = 0
    /// Replay requests; a relay that starts makes one too.
    package var replays = 0
    /// Those without a whole answer.
    package var failedReplays = 0
    /// Times that all blocks were taken back.
    package var resets = 0
    /// Live messages that were left for another replay, because too many waited.
    package var heldBack = 0
    /// The number of the engine's next message; nil before the first.
    package var expected: UInt64?

    package init() {}
}
