package import NIOCore

/// What every message of the event plane is wrapped in (contract `kv-events.md`, section 2, "NATS core").
package struct EventEnvelope: Hashable, Sendable {
    /// Who sends: the worker or router on 1.2, the publisher of the event-source record on 1.6.
    package var publisher: UInt64
    /// Counts the publisher's messages on this topic, from 0.
    package var sequence: UInt64
    /// Milliseconds since 1970.
    package var publishedAt: UInt64
    package var topic: String
    /// What the topic is about, as MessagePack.
    package var payload: ByteBuffer

    package init(publisher: UInt64, sequence: UInt64, publishedAt: UInt64, topic: String, payload: ByteBuffer) {
        self.publisher = publisher
        self.sequence = sequence
        self.publishedAt = publishedAt
        self.topic = topic
        self.payload = payload
    }

    /// Reads an envelope; keys may come in any order, unknown ones are ignored.
    ///
    /// - Parameter bytes: one message.
    /// - Throws: `MessagePackError` when a key is missing or wrong.
    package init(_ bytes: ByteBuffer) throws(MessagePackError) {
        var reader = MessagePackReader(bytes)
        var publisher: UInt64?
        var sequence: UInt64?
        var publishedAt: UInt64?
        var topic: String?
        var payload: ByteBuffer?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readKey() {
            case "publisher_id": publisher = try reader.readUInt64()
            case "sequence": sequence = try reader.readUInt64()
            case "published_at": publishedAt = try reader.readUInt64()
            case "topic": topic = try reader.readString()
            case "payload": payload = try Self.readPayload(&reader)
            default: try reader.skip()
            }
        }
        try reader.finish()
        self.init(
            publisher: try reader.require(publisher, "publisher_id"),
            sequence: try reader.require(sequence, "sequence"),
            publishedAt: try reader.require(publishedAt, "published_at"),
            topic: try reader.require(topic, "topic"),
            payload: try reader.require(payload, "payload")
        )
    }

    /// Dynamo 1.2 takes the bytes as an array of numbers too.
    private static func readPayload(_ reader: inout MessagePackReader) throws(MessagePackError) -> ByteBuffer {
        guard try reader.kind == .array else { return try reader.readBinary() }
        var payload = ByteBuffer()
        for _ in 0..<(try reader.readArrayCount()) {
            let value = try reader.readUInt64()
            guard let byte = UInt8(exactly: value) else {
                throw MessagePackError("\(value) in `payload` is no byte", at: reader.offset)
            }
            payload.writeInteger(byte)
        }
        return payload
    }
}

extension MessagePackReader {
    /// - Throws: `MessagePackError` that names the field which is not there.
    func require<Value>(_ value: Value?, _ name: StaticString) throws(MessagePackError) -> Value {
        guard let value else { throw MessagePackError("the field `\(name)` is missing", at: self.offset) }
        return value
    }
}

extension ByteBuffer {
    package mutating func writeEventEnvelope(_ envelope: EventEnvelope) {
        envelope.payload.withUnsafeReadableBytes { payload in
            // 96: the keys and the three numbers, 10: the heads of topic and payload.
            self.writeMessagePack(upTo: 96 + 10 + envelope.topic.utf8.count + payload.count) { cursor in
                cursor.write(mapCount: 5)
                cursor.write(key: "publisher_id")
                cursor.write(envelope.publisher)
                cursor.write(key: "sequence")
                cursor.write(envelope.sequence)
                cursor.write(key: "published_at")
                cursor.write(envelope.publishedAt)
                cursor.write(key: "topic")
                cursor.write(envelope.topic)
                cursor.write(key: "payload")
                cursor.write(binary: payload)
            }
        }
    }
}
