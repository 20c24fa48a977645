package import NIOCore

/// Splits a byte stream into two-part messages.
package struct TwoPartDecoder: Sendable, Hashable {
    private var accumulator = FrameAccumulator()

    /// The largest header that is read.
    package var maximumHeaderSize: Int
    /// The largest body that is read.
    package var maximumBodySize: Int

    package init(maximumHeaderSize: Int, maximumBodySize: Int) {
        self.maximumHeaderSize = maximumHeaderSize
        self.maximumBodySize = maximumBodySize
    }

    /// Received bytes that belong to no whole frame yet.
    package var heldBytes: Int { self.accumulator.readableBytes }

    /// Whether the stream may end here.
    package var isBetweenFrames: Bool { self.accumulator.readableBytes == 0 }

    /// Whether what comes next is no message but the beginning of a TLS session, which read as a length is absurd.
    package var startsTLS: Bool {
        let buffer = self.accumulator.buffer
        return buffer.getInteger(at: buffer.readerIndex, as: UInt16.self) == 0x1603
    }

    /// Adds received bytes.
    package mutating func append(_ bytes: ByteBuffer) { self.accumulator.append(bytes) }

    /// Takes the next whole message, if it is there.
    ///
    /// - Returns: a message, or nil when more bytes are needed.
    /// - Throws: `WireError` when a part is larger than allowed; the stream cannot be read any further then.
    package mutating func next() throws(WireError) -> TwoPartMessage? {
        let buffer = self.accumulator.buffer
        guard
            let (headerSize, bodySize) = buffer.peekMultipleIntegers(as: (UInt64, UInt64).self)
        else {
            self.accumulator.releaseConsumed()
            return nil
        }
        if headerSize > UInt64(self.maximumHeaderSize) {
            throw .tooLarge(size: headerSize, limit: self.maximumHeaderSize)
        }
        if bodySize > UInt64(self.maximumBodySize) { throw .tooLarge(size: bodySize, limit: self.maximumBodySize) }
        let (header, body) = (Int(headerSize), Int(bodySize))
        guard buffer.readableBytes >= TwoPartMessage.preambleSize + header + body else {
            self.accumulator.releaseConsumed()
            return nil
        }
        _ = self.accumulator.take(TwoPartMessage.preambleSize)
        return TwoPartMessage(header: self.accumulator.take(header), body: self.accumulator.take(body))
    }
}
