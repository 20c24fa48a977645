import NIOCore

// What has come on a connection and was not read yet.

extension ByteBuffer {
    /// Adds what has come; copies nothing when everything before it was read.
    mutating func absorb(_ bytes: ByteBuffer) {
        if self.readableBytes == 0 { self = bytes } else { self.writeImmutableBuffer(bytes) }
    }

    /// Takes everything that was not read, for another protocol.
    mutating func takeRest() -> ByteBuffer? {
        defer { self = ByteBuffer() }
        return self.readableBytes > 0 ? self : nil
    }
}
