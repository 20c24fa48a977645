package import NIOCore

/// Holds received bytes until a whole frame is there.
///
/// Memory grows only by what was received, never by what a length field announces. A frame that arrived in one piece is not copied.
package struct FrameAccumulator: Sendable, Hashable {
    /// What was received and not yet taken.
    package private(set) var buffer = ByteBuffer()

    package init() {}

    package var readableBytes: Int { self.buffer.readableBytes }

    /// Adds received bytes.
    package mutating func append(_ bytes: ByteBuffer) {
        if self.buffer.readableBytes == 0 {
            self.buffer = bytes
        } else {
            self.buffer.writeImmutableBuffer(bytes)
        }
    }

    /// Takes bytes from the front; the caller has checked that they are there.
    package mutating func take(_ count: Int) -> ByteBuffer { self.buffer.readSlice(length: count) ?? ByteBuffer() }

    /// Call after the last whole frame was taken: lets go of storage that the taken frames share, so that the rest can grow in place.
    package mutating func releaseConsumed() {
        guard self.buffer.readerIndex > 0 else { return }
        if self.buffer.readableBytes == 0 {
            self.buffer = ByteBuffer()
        } else {
            var rest = ByteBuffer()
            rest.writeImmutableBuffer(self.buffer)
            self.buffer = rest
        }
    }
}
