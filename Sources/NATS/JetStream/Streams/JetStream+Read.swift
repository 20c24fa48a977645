import FoundationEssentials
package import NIOCore

/// A message as a stream holds it.
package struct StoredMessage: Sendable, Hashable {
    package var subject: String
    package var sequence: UInt64
    package var payload: ByteBuffer
}

extension JetStream {
    /// Which message of a stream is read.
    package enum Selection: Sendable, Hashable, Encodable {
        /// The newest of a subject.
        case last(subject: String)
        /// The first of a subject, from a sequence number on.
        case next(subject: String, from: UInt64)

        private enum CodingKeys: String, CodingKey {
            case last = "last_by_subj"
            case next = "next_by_subj"
            case sequence = "seq"
        }

        package func encode(to encoder: any Encoder) throws {
            var values = encoder.container(keyedBy: CodingKeys.self)
            switch self {
            case .last(let subject): try values.encode(subject, forKey: .last)
            case .next(let subject, let sequence):
                try values.encode(subject, forKey: .next)
                try values.encode(sequence, forKey: .sequence)
            }
        }
    }

    /// Reads one message without a consumer.
    ///
    /// - Parameters:
    ///   - selection: which one.
    ///   - stream: the stream's name.
    ///   - isDirect: whether the stream allows direct reading, which copies less.
    /// - Returns: the message.
    /// - Throws: `JetStreamError`, `notFound` when there is none.
    package func read(
        _ selection: Selection,
        from stream: String,
        isDirect: Bool
    ) async throws(JetStreamError) -> StoredMessage {
        try Self.validate(stream, "stream")
        let action = "read a message of the stream '\(stream)'"
        guard isDirect else { return try await self.readThroughLeader(selection, stream, action) }
        let reply = try await self.request(
            "$JS.API.DIRECT.GET.\(stream)",
            payload: try JetStreamJSON.encode(selection),
            to: action
        )
        guard let subject = reply.headers["Nats-Subject"],
            let sequence = reply.headers["Nats-Sequence"].flatMap({ UInt64($0) })
        else {
            let status = reply.headers["Status"] ?? "no status"
            let text = Printable.text(reply.headers["Description"] ?? "")
            throw JetStreamError(
                status == "404" ? .notFound : .refused,
                "cannot \(action): the NATS server says '\(text)' (\(status))"
            )
        }
        return StoredMessage(subject: subject, sequence: sequence, payload: reply.payload)
    }

    private func readThroughLeader(
        _ selection: Selection,
        _ stream: String,
        _ action: String
    ) async throws(JetStreamError) -> StoredMessage {
        struct Answer: Decodable {
            struct Message: Decodable {
                var subject: String
                var seq: UInt64
                var data: Data?
            }
            var message: Message
        }
        let answer: Answer = try await self.ask("STREAM.MSG.GET.\(stream)", selection, to: action)
        return StoredMessage(
            subject: answer.message.subject,
            sequence: answer.message.seq,
            payload: ByteBuffer(bytes: answer.message.data ?? Data())
        )
    }
}
