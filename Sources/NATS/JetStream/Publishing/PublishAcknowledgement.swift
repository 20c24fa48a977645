package import NIOCore

/// A stream's word that it has stored a message.
package struct PublishAcknowledgement: Sendable, Hashable {
    package var stream: String
    package var sequence: UInt64
    /// Whether a message with the same id was there already, so that this one was not stored.
    package var isDuplicate: Bool

    package init(stream: String, sequence: UInt64, isDuplicate: Bool = false) {
        self.stream = stream
        self.sequence = sequence
        self.isDuplicate = isDuplicate
    }

    /// Reads a stream's answer.
    ///
    /// - Parameters:
    ///   - reply: what came back.
    ///   - subject: where the message was published, for errors.
    /// - Throws: `JetStreamError` when the stream refuses, or something else has answered.
    init(_ reply: NATSMessage, subject: String) throws(JetStreamError) {
        let action = "publish to '\(subject)' with acknowledgement"
        let answer = try JetStreamJSON.decode(Answer.self, reply.payload, action)
        if let error = answer.error { throw JetStreamError(error, action) }
        guard let stream = answer.stream, let sequence = answer.seq else {
            throw JetStreamError(.damaged, "cannot \(action): the answer is no acknowledgement of a stream")
        }
        self.init(stream: stream, sequence: sequence, isDuplicate: answer.duplicate ?? false)
    }

    private struct Answer: Decodable {
        var error: JetStreamError.ServerError?
        var stream: String?
        var seq: UInt64?
        var duplicate: Bool?
    }
}

/// A message that a stream is to store.
package struct StreamMessage: Sendable, Hashable {
    package var subject: String
    /// Messages with the same id, within the stream's window of two minutes, are stored once.
    package var id: String?
    package var headers: NATSHeaders
    package var payload: ByteBuffer

    package init(subject: String, id: String? = nil, headers: NATSHeaders = [:], payload: ByteBuffer) {
        self.subject = subject
        self.id = id
        self.headers = headers
        self.payload = payload
    }

    var allHeaders: NATSHeaders {
        var headers = self.headers
        if let id { headers["Nats-Msg-Id"] = id }
        return headers
    }
}
