import FoundationEssentials
package import NIOCore

/// A stream of messages: each is JSON with its length in front, in four bytes.
package struct MessageFrames: Sendable {
    /// The other side does not speak this protocol.
    package struct Malformed: Error, Hashable, CustomStringConvertible {
        package var description: String
    }

    /// No message is nearly as large.
    package static let largest = 16 << 20

    private var bytes = ByteBuffer()

    package init() {}

    /// Takes in bytes, however they are cut.
    package mutating func append(_ more: ByteBuffer) {
        self.bytes.discardReadBytes()
        self.bytes.writeImmutableBuffer(more)
    }

    /// The next whole message; nil when it has not come yet.
    ///
    /// - Throws: `Malformed` when it is none; nothing that comes later means anything then.
    package mutating func next<Message: Decodable>(_ type: Message.Type) throws(Malformed) -> Message? {
        guard let length = self.bytes.getInteger(at: self.bytes.readerIndex, as: UInt32.self) else { return nil }
        guard length <= Self.largest else { throw Malformed(description: "a message of \(length) bytes") }
        guard self.bytes.readableBytes >= 4 + Int(length) else { return nil }
        self.bytes.moveReaderIndex(forwardBy: 4)
        let text = self.bytes.readBytes(length: Int(length)) ?? []
        do { return try JSONDecoder().decode(type, from: Data(text)) } catch {
            throw Malformed(description: "a message that cannot be read: \(error)")
        }
    }

    /// A message as it is sent.
    package static func encode(_ message: some Encodable) -> ByteBuffer {
        // Only numbers that JSON cannot say would not be encoded, and there are none.
        let text = (try? JSONEncoder().encode(message)) ?? Data()
        var bytes = ByteBuffer()
        bytes.writeInteger(UInt32(text.count))
        bytes.writeBytes(text)
        return bytes
    }
}
