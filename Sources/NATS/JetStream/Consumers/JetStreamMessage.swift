package import NIOCore

/// A message that a consumer has given out, until it is acknowledged.
///
/// One that is not acknowledged in the consumer's time is given out again, to whoever pulls.
package struct JetStreamMessage: Sendable {
    package let message: NATSMessage
    package let position: Position
    private let jetStream: JetStream

    package var subject: String { self.message.subject }
    package var headers: NATSHeaders { self.message.headers }
    package var payload: ByteBuffer { self.message.payload }

    /// Where a message stands, as its reply subject tells.
    package struct Position: Sendable, Hashable {
        package var stream: String
        package var consumer: String
        /// How often it was given out, this time included.
        package var deliveries: Int
        package var streamSequence: UInt64
        package var consumerSequence: UInt64
        /// When the stream stored it: nanoseconds since 1970.
        package var time: UInt64
        /// Messages behind it that match the consumer.
        package var pending: UInt64

        /// Reads the reply subject of a message; nil for any other.
        init?(_ reply: String) {
            var parts = reply.split(separator: ".", omittingEmptySubsequences: false)[...]
            guard parts.count >= 9, parts.prefix(2).elementsEqual(["$JS", "ACK"]) else { return nil }
            // The longer form names a domain and an account first.
            parts = parts.dropFirst(parts.count >= 11 ? 4 : 2)
            let texts = Array(parts.prefix(7))
            guard texts.count == 7, let deliveries = Int(texts[2]), let streamSequence = UInt64(texts[3]),
                let consumerSequence = UInt64(texts[4]), let time = UInt64(texts[5]), let pending = UInt64(texts[6])
            else { return nil }
            self.stream = String(texts[0])
            self.consumer = String(texts[1])
            self.deliveries = deliveries
            self.streamSequence = streamSequence
            self.consumerSequence = consumerSequence
            self.time = time
            self.pending = pending
        }
    }

    /// - Returns: nil when the message does not come from a consumer.
    init?(_ message: NATSMessage, _ jetStream: JetStream) {
        guard let position = message.reply.flatMap({ Position($0) }) else { return nil }
        self.message = message
        self.position = position
        self.jetStream = jetStream
    }

    /// Says that the message is done; what is lost on the way leads to another delivery.
    ///
    /// - Throws: `JetStreamError` when it cannot be sent.
    package func acknowledge() throws(JetStreamError) { try self.answer("+ACK") }

    /// Says that the message is done, and waits until the server has noted it.
    ///
    /// It writes this down a little later: after a server was killed, the last acknowledged messages may come again.
    ///
    /// - Throws: `JetStreamError` when no word comes in time.
    package func acknowledgeConfirmed() async throws(JetStreamError) {
        _ = try await self.jetStream.request(
            self.message.reply ?? "",
            payload: ByteBuffer(string: "+ACK"),
            to: "acknowledge message \(self.position.streamSequence) of the stream '\(self.position.stream)'"
        )
    }

    /// Gives the message back, to be given out again.
    ///
    /// - Parameter delay: not before this; nil at once.
    /// - Throws: `JetStreamError` when it cannot be sent.
    package func giveBack(after delay: Duration? = nil) throws(JetStreamError) {
        try self.answer(delay.map { "-NAK {\"delay\":\($0.nanoseconds)}" } ?? "-NAK")
    }

    /// Asks for more time: the consumer's acknowledgement wait begins again.
    ///
    /// - Throws: `JetStreamError` when it cannot be sent.
    package func stillWorking() throws(JetStreamError) { try self.answer("+WPI") }

    /// Says that the message must not be given out again, although it was not done.
    ///
    /// - Parameter reason: for those who watch the server's advisories.
    /// - Throws: `JetStreamError` when it cannot be sent.
    package func giveUp(reason: String? = nil) throws(JetStreamError) {
        try self.answer(reason.map { "+TERM \(Printable.text($0))" } ?? "+TERM")
    }

    private func answer(_ text: String) throws(JetStreamError) {
        do throws(NATSError) {
            try self.jetStream.connection.publish(self.message.reply ?? "", payload: ByteBuffer(string: text))
        } catch {
            throw JetStreamError(
                error,
                "acknowledge message \(self.position.streamSequence) of the stream '\(self.position.stream)'"
            )
        }
    }
}
