package import NIOCore

/// The layout of request payloads and of response-stream frames: a control header and a body, either may be empty.
///
/// ```
/// 8 bytes header length | 8 bytes body length | 8 bytes checksum, 0 | header | body
/// ```
///
/// Source: `request-plane.md` 1 and 5.1.
package struct TwoPartMessage: Hashable, Sendable {
    package var header: ByteBuffer
    package var body: ByteBuffer

    package init(header: ByteBuffer = ByteBuffer(), body: ByteBuffer = ByteBuffer()) {
        self.header = header
        self.body = body
    }

    /// The size of the two lengths and the checksum.
    package static let preambleSize = 24

    package var encodedSize: Int { Self.preambleSize + self.header.readableBytes + self.body.readableBytes }

    /// Reads a payload that holds the whole message; bytes after it are ignored.
    ///
    /// - Parameter payload: a request's payload.
    /// - Throws: `WireError` when the payload is too short for what it announces.
    package init(payload: ByteBuffer) throws(WireError) {
        var accumulator = TwoPartDecoder(
            maximumHeaderSize: payload.readableBytes,
            maximumBodySize: payload.readableBytes
        )
        accumulator.append(payload)
        guard let message = try accumulator.next() else {
            throw .malformed("payload of \(payload.readableBytes) bytes is not a whole two-part message")
        }
        self = message
    }
}

extension ByteBuffer {
    /// Writes the 24 bytes before header and body.
    package mutating func writeTwoPartPreamble(headerSize: Int, bodySize: Int) {
        self.writeMultipleIntegers(UInt64(headerSize), UInt64(bodySize), UInt64(0))
    }

    /// Writes a whole message.
    package mutating func writeTwoPartMessage(_ message: TwoPartMessage) {
        self.reserveCapacity(minimumWritableBytes: message.encodedSize)
        self.writeTwoPartPreamble(headerSize: message.header.readableBytes, bodySize: message.body.readableBytes)
        self.writeImmutableBuffer(message.header)
        self.writeImmutableBuffer(message.body)
    }
}
