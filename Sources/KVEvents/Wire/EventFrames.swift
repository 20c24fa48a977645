package import NIOCore

// A message of the event plane on ZeroMQ: the envelope with its topic, publisher and sequence before it, so that subscribers can
// choose without reading it (contract `kv-events.md`, section 2, "ZMQ event plane").

extension EventEnvelope {
    /// The only version of the last frame that is known.
    private static let frameVersion: UInt8 = 1

    /// The frames of a message.
    package var frames: [ByteBuffer] {
        var body = ByteBuffer()
        body.reserveCapacity(self.payload.readableBytes + 133)
        body.writeInteger(Self.frameVersion)
        body.writeInteger(UInt32(0))
        body.writeEventEnvelope(self)
        body.setInteger(UInt32(clamping: body.readableBytes - 5), at: body.readerIndex + 1)
        return [
            ByteBuffer(string: self.topic), ByteBuffer(integer: self.publisher), ByteBuffer(integer: self.sequence),
            body,
        ]
    }

    /// Reads a message; what the first three frames say stands in the envelope too, and that counts.
    ///
    /// - Parameter frames: a whole message.
    /// - Throws: `MessagePackError` when it is not made of four frames, has another version or a wrong length, or holds no envelope.
    package init(frames: [ByteBuffer]) throws(MessagePackError) {
        guard frames.count == 4 else {
            throw MessagePackError("a message of the event plane has 4 frames, not \(frames.count)", at: 0)
        }
        var body = frames[3]
        guard let version = body.readInteger(as: UInt8.self), let length = body.readInteger(as: UInt32.self) else {
            throw MessagePackError("the last frame is too short for its version and length", at: 0)
        }
        guard version == Self.frameVersion else {
            throw MessagePackError("version \(version) of the event plane's frames is not known", at: 0)
        }
        guard body.readableBytes == Int(length) else {
            throw MessagePackError("the last frame announces \(length) bytes and has \(body.readableBytes)", at: 1)
        }
        try self.init(body)
    }
}
