package import NIOCore

/// One request on a TCP request connection.
///
/// ```
/// 2 bytes P | endpoint path | 2 bytes H | headers, JSON | 4 bytes N | payload
/// ```
///
/// Source: `request-plane.md` 2.1.
package struct TCPRequestFrame: Hashable, Sendable {
    /// The endpoint path as it was received; need not be UTF-8.
    package var path: ByteBuffer
    /// JSON object of strings; anything else is tolerated and read as no headers.
    package var headers: ByteBuffer
    /// A two-part message.
    package var payload: ByteBuffer

    package init(path: ByteBuffer, headers: ByteBuffer, payload: ByteBuffer) {
        self.path = path
        self.headers = headers
        self.payload = payload
    }

    /// The size of the three length fields.
    package static let lengthFieldsSize = 8

    package var encodedSize: Int {
        Self.lengthFieldsSize + self.path.readableBytes + self.headers.readableBytes + self.payload.readableBytes
    }

    /// The path, if it is UTF-8.
    package var pathText: String? { String(validating: self.path.readableBytesView, as: UTF8.self) }

    /// The headers whose values are strings; empty when the text is not a JSON object.
    package var decodedHeaders: [String: String] { Self.decodeHeaders(self.headers) }

    /// The fields of a header text whose values are strings; empty when the text is not a JSON object.
    package static func decodeHeaders(_ text: ByteBuffer) -> [String: String] {
        guard text.readableBytes > 2, let object = try? JSONObject(text) else { return [:] }
        var headers: [String: String] = [:]
        for key in object.keys { headers[key] = object.string(key) }
        return headers
    }
}

/// What precedes the body in a request frame, and the body, ready to be written.
///
/// Kept apart so that a large body is handed to the socket without a copy.
package struct EncodedTCPRequest: Hashable, Sendable {
    package var head: ByteBuffer
    package var body: ByteBuffer

    package var size: Int { self.head.readableBytes + self.body.readableBytes }

    /// Encodes a request.
    ///
    /// - Parameters:
    ///   - path: the endpoint path, from the instance's address.
    ///   - headers: the plane-level headers.
    ///   - control: the control header.
    ///   - body: the request itself.
    /// - Throws: `WireError` when a part does not fit its length field.
    package init(
        path: String,
        headers: [String: String],
        control: ControlHeader,
        body: ByteBuffer
    ) throws(WireError) {
        let headerText = ByteBuffer.jsonObject(headers)
        let controlText = control.encode()
        let payloadSize = TwoPartMessage.preambleSize + controlText.readableBytes + body.readableBytes
        guard let pathSize = UInt16(exactly: path.utf8.count) else {
            throw .tooLarge(size: UInt64(path.utf8.count), limit: Int(UInt16.max))
        }
        guard let headerSize = UInt16(exactly: headerText.readableBytes) else {
            throw .tooLarge(size: UInt64(headerText.readableBytes), limit: Int(UInt16.max))
        }
        guard let size = UInt32(exactly: payloadSize) else {
            throw .tooLarge(size: UInt64(payloadSize), limit: Int(UInt32.max))
        }
        var head = ByteBuffer()
        head.reserveCapacity(
            TCPRequestFrame.lengthFieldsSize + Int(pathSize) + Int(headerSize) + TwoPartMessage.preambleSize
                + controlText.readableBytes
        )
        head.writeInteger(pathSize)
        head.writeString(path)
        head.writeInteger(headerSize)
        head.writeImmutableBuffer(headerText)
        head.writeInteger(size)
        head.writeTwoPartPreamble(headerSize: controlText.readableBytes, bodySize: body.readableBytes)
        head.writeImmutableBuffer(controlText)
        self.head = head
        self.body = body
    }
}

/// Splits a byte stream into request frames.
package struct TCPRequestDecoder: Sendable, Hashable {
    private var accumulator = FrameAccumulator()
    private let limit: Int

    /// Creates a decoder.
    ///
    /// - Parameter limit: the largest frame, its length fields included.
    package init(limit: Int) { self.limit = limit }

    /// Received bytes that belong to no whole frame yet.
    package var heldBytes: Int { self.accumulator.readableBytes }

    /// Whether the stream may end here.
    package var isBetweenFrames: Bool { self.accumulator.readableBytes == 0 }

    /// Whether what comes next is no request but the beginning of a TLS session.
    ///
    /// Read as a frame it would announce a path of more than five thousand bytes that starts with a control character.
    package var startsTLS: Bool {
        let buffer = self.accumulator.buffer
        guard let start = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else { return false }
        return start >> 16 == 0x1603 && start >> 8 & 0xFF <= 4
    }

    /// Adds received bytes.
    package mutating func append(_ bytes: ByteBuffer) { self.accumulator.append(bytes) }

    /// Takes the next whole frame, if it is there.
    ///
    /// - Returns: a frame, or nil when more bytes are needed.
    /// - Throws: `WireError.tooLarge` as soon as the lengths show it; the stream cannot be read any further then.
    package mutating func next() throws(WireError) -> TCPRequestFrame? {
        guard let (path, headers, payload) = try self.nextLengths() else {
            self.accumulator.releaseConsumed()
            return nil
        }
        _ = self.accumulator.take(2)
        let pathBytes = self.accumulator.take(path)
        _ = self.accumulator.take(2)
        let headerBytes = self.accumulator.take(headers)
        _ = self.accumulator.take(4)
        return TCPRequestFrame(path: pathBytes, headers: headerBytes, payload: self.accumulator.take(payload))
    }

    private func nextLengths() throws(WireError) -> (path: Int, headers: Int, payload: Int)? {
        let buffer = self.accumulator.buffer
        let start = buffer.readerIndex
        guard let path = buffer.getInteger(at: start, as: UInt16.self) else { return nil }
        try self.check(Int(path))
        guard let headers = buffer.getInteger(at: start + 2 + Int(path), as: UInt16.self) else { return nil }
        try self.check(Int(path) + Int(headers))
        let payloadStart = start + 4 + Int(path) + Int(headers)
        guard let payload = buffer.getInteger(at: payloadStart, as: UInt32.self) else { return nil }
        try self.check(Int(path) + Int(headers) + Int(payload))
        guard buffer.writerIndex - payloadStart - 4 >= Int(payload) else { return nil }
        return (Int(path), Int(headers), Int(payload))
    }

    private func check(_ contentSize: Int) throws(WireError) {
        let size = TCPRequestFrame.lengthFieldsSize + contentSize
        if size > self.limit { throw .tooLarge(size: UInt64(size), limit: self.limit) }
    }
}
