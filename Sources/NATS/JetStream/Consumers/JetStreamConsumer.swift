/// A durable pull consumer of a stream: a place in it that the server keeps.
///
/// Several may share one: each message goes to one of those who pull.
package struct JetStreamConsumer: Sendable {
    package let jetStream: JetStream
    package let stream: String
    package let name: String

    /// A consumer that is known to exist.
    ///
    /// - Parameters:
    ///   - jetStream: where.
    ///   - stream: the stream's name.
    ///   - name: the consumer's.
    package init(jetStream: JetStream, stream: String, name: String) {
        self.jetStream = jetStream
        self.stream = stream
        self.name = name
    }

    /// How messages are pulled.
    package struct PullLimits: Sendable, Hashable {
        /// Messages that may wait for the reader.
        package var window: Int
        /// How long a pull waits at the server.
        package var expiry: Duration
        /// How often the server gives a sign of life meanwhile; at most half the expiry.
        ///
        /// Two that are missing let the consumer be asked for.
        package var idleHeartbeat: Duration

        package init(
            window: Int = 200,
            expiry: Duration = .seconds(30),
            idleHeartbeat: Duration = .seconds(15)
        ) {
            self.window = max(1, window)
            self.expiry = expiry
            self.idleHeartbeat = min(idleHeartbeat, expiry / 2)
        }
    }

    /// Asks about the consumer.
    ///
    /// - Returns: what it has given out and what is acknowledged.
    /// - Throws: `JetStreamError`, `consumerMissing` when it is gone.
    package func info() async throws(JetStreamError) -> ConsumerInfo {
        try await self.jetStream.ask("CONSUMER.INFO.\(self.stream).\(self.name)", to: "ask about \(self.title)")
    }

    /// Deletes the consumer; the stream's messages stay.
    ///
    /// - Throws: `JetStreamError`, `consumerMissing` when it is gone.
    package func delete() async throws(JetStreamError) {
        let _: JetStream.Done = try await self.jetStream.ask(
            "CONSUMER.DELETE.\(self.stream).\(self.name)",
            to: "delete \(self.title)"
        )
    }

    /// The messages, without end.
    ///
    /// For one reader. Lost connections and restarted servers are waited for; what was given out before and not acknowledged,
    /// or only a moment ago, comes again. The sequence ends when the task is cancelled or the connection closed, and throws
    /// `JetStreamError` when the consumer is gone or refuses. Each message must be acknowledged.
    ///
    /// - Parameter limits: how messages are pulled; after a lost connection up to twice the window may be held.
    /// - Returns: the messages in the order of the stream, except those that come again.
    package func messages(_ limits: PullLimits = .init()) -> JetStreamMessages {
        JetStreamMessages(consumer: self, limits: limits)
    }

    /// Pulls some messages.
    ///
    /// - Parameters:
    ///   - count: how many at most.
    ///   - expiry: how long to wait for that many; nil takes only what is there now.
    /// - Returns: the messages, perhaps none.
    /// - Throws: `JetStreamError` when the consumer is gone, refuses or does not answer.
    package func fetch(
        upTo count: Int,
        expiry: Duration? = .seconds(30)
    ) async throws(JetStreamError)
        -> [JetStreamMessage]
    {
        let time = expiry ?? self.jetStream.timeout
        let limits = PullLimits(window: count, expiry: time, idleHeartbeat: .seconds(5))
        let reader = PullReader(self, limits, isImmediate: expiry == nil)
        var messages: [JetStreamMessage] = []
        while messages.count < count {
            guard let message = try await reader.nextOfOnePull() else { break }
            messages.append(message)
        }
        return messages
    }

    var title: String { "the consumer '\(self.name)' of the stream '\(self.stream)'" }
}
