package import NIOCore

/// One message of an engine: a batch of events that is not read yet, and its number.
package struct EngineMessage: Sendable, Hashable {
    /// Counts by one from 0 since the engine's start.
    package var sequence: UInt64
    /// A MessagePack batch.
    package var payload: ByteBuffer

    package init(sequence: UInt64, payload: ByteBuffer) {
        self.sequence = sequence
        self.payload = payload
    }

    /// Reads what an engine publishes: topic, sequence and batch (contract `kv-events.md`, section 8).
    ///
    /// - Parameter frames: of one message.
    /// - Throws: `EngineMessageError` when it is not such a message.
    package init(published frames: [ByteBuffer]) throws(EngineMessageError) {
        guard frames.count == 3 else {
            throw EngineMessageError("a message of \(frames.count) frames instead of topic, sequence and batch")
        }
        try self.init(sequence: frames[1], payload: frames[2])
    }

    /// What ends an answer to a replay request, in place of a sequence number.
    private static let end = UInt64.max

    /// Reads one part of an answer of the replay endpoint: an empty frame, which some engines leave out, sequence, batch.
    ///
    /// - Parameter frames: of one message.
    /// - Returns: the message; nil at the end of the answer.
    /// - Throws: `EngineMessageError` when it is not such an answer.
    package static func replayed(_ frames: [ByteBuffer]) throws(EngineMessageError) -> EngineMessage? {
        guard frames.count >= 2 else {
            throw EngineMessageError("an answer of \(frames.count) frames instead of sequence and batch")
        }
        let message = try EngineMessage(sequence: frames[frames.count - 2], payload: frames[frames.count - 1])
        return message.sequence == Self.end ? nil : message
    }

    /// The frames of a replay request, as a DEALER socket sends them to the engine's ROUTER.
    package static func replayRequest(from sequence: UInt64) -> [ByteBuffer] {
        [ByteBuffer(), ByteBuffer(integer: sequence)]
    }

    private init(sequence: ByteBuffer, payload: ByteBuffer) throws(EngineMessageError) {
        guard sequence.readableBytes == 8, let number = sequence.getInteger(at: sequence.readerIndex, as: UInt64.self)
        else {
            throw EngineMessageError("a sequence number of \(sequence.readableBytes) bytes instead of 8")
        }
        self.init(sequence: number, payload: payload)
    }
}

/// Why a message of an engine cannot be read.
package struct EngineMessageError: Error, Sendable, Hashable, CustomStringConvertible {
    package var description: String

    package init(_ description: String) { self.description = description }
}
