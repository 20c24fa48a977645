package import NIOCore

/// The answer to a request frame: empty when the request was accepted, else why not.
///
/// Source: `request-plane.md` 2.2 and 2.4.
package enum TCPAcknowledgement: Hashable, Sendable {
    case accepted
    case refused(String)

    /// Prefix of a refusal that is worth another try later or elsewhere.
    package static let overloadedPrefix = "Server overloaded:"
    /// Prefix of a refusal by an instance that should be left out for a while.
    package static let unavailablePrefix = "Server unavailable:"

    /// What a caller makes of a refusal; nil when accepted.
    package var failure: PlaneFailure? {
        guard case .refused(let text) = self else { return nil }
        return PlaneFailure(Self.code(of: text), "the instance refused the request: \(text)")
    }

    private static func code(of text: String) -> RequestPlaneError.Code {
        if text.hasPrefix(Self.overloadedPrefix) { return .overloaded }
        if text.hasPrefix("Unknown endpoint") || text.hasPrefix("Invalid endpoint path") { return .unknownEndpoint }
        if text.hasPrefix(Self.unavailablePrefix) {
            return text.contains("unknown endpoint") ? .unknownEndpoint : .unavailable
        }
        return text.contains("message too large") ? .tooLarge : .remote
    }
}

extension ByteBuffer {
    /// Writes an acknowledgement frame.
    package mutating func writeTCPAcknowledgement(_ acknowledgement: TCPAcknowledgement) {
        switch acknowledgement {
        case .accepted:
            self.writeInteger(UInt32(0))
        case .refused(let text):
            self.writeInteger(UInt32(text.utf8.count))
            self.writeString(text)
        }
    }
}

/// Splits a byte stream into acknowledgements.
package struct TCPAcknowledgementDecoder: Sendable, Hashable {
    private var accumulator = FrameAccumulator()
    private let limit: Int

    /// Creates a decoder.
    ///
    /// - Parameter limit: the longest text.
    package init(limit: Int) { self.limit = limit }

    /// Received bytes that belong to no whole acknowledgement yet.
    package var heldBytes: Int { self.accumulator.readableBytes }

    /// Adds received bytes.
    package mutating func append(_ bytes: ByteBuffer) { self.accumulator.append(bytes) }

    /// Takes the next whole acknowledgement, if it is there.
    ///
    /// - Returns: an acknowledgement, or nil when more bytes are needed.
    /// - Throws: `WireError.tooLarge` as soon as the length shows it.
    package mutating func next() throws(WireError) -> TCPAcknowledgement? {
        let buffer = self.accumulator.buffer
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else {
            self.accumulator.releaseConsumed()
            return nil
        }
        // A TLS alert: the answer of a TLS port to bytes that are none.
        if length >> 16 == 0x1503 {
            throw .malformed("the instance speaks TLS on this port; set DYN_TCP_TLS_CA_CERT_PATH in the caller")
        }
        if Int(length) > self.limit { throw .tooLarge(size: UInt64(length), limit: self.limit) }
        guard buffer.readableBytes >= 4 + Int(length) else {
            self.accumulator.releaseConsumed()
            return nil
        }
        _ = self.accumulator.take(4)
        let text = self.accumulator.take(Int(length))
        return length == 0 ? .accepted : .refused(String(buffer: text))
    }
}
