package import NIOCore

/// Follows a chunked body through its bytes, which pass unchanged, and refuses what two readers could read differently.
package struct ChunkScanner: Sendable {
    private enum State: Hashable, Sendable {
        case size(digits: Int, value: UInt64)
        case extensions(value: UInt64, length: Int)
        case sizeLineFeed(value: UInt64)
        case data(left: UInt64)
        case dataReturn
        case dataLineFeed
        case trailerStart
        case trailer
        case trailerLineFeed
        case lastLineFeed
        case finished
    }

    /// Bytes of all trailers together, at most.
    static let trailerLimit = 16 * 1024
    /// Bytes of the extensions of one chunk, at most.
    static let extensionLimit = 1024

    private var state = State.size(digits: 0, value: 0)
    private var line: [UInt8] = []
    private var trailerBytes = 0
    /// Bytes of content that the chunks so far have announced.
    package private(set) var announced = 0
    /// Bytes of content, framing not counted, in what was taken last.
    private(set) var contentBytes = 0
    private let limit: Int

    /// Creates a scanner.
    ///
    /// - Parameter limit: bytes of content, at most.
    package init(limit: Int = .max) { self.limit = limit }

    /// Whether the body has ended.
    package var isFinished: Bool { self.state == .finished }

    /// Takes the bytes that belong to the body.
    ///
    /// - Parameters:
    ///   - buffer: what came; what follows the body stays in it.
    ///   - content: receives the content without its framing, if given.
    /// - Returns: the bytes of the body, framing included.
    /// - Throws: `Refusal` where the framing is broken, or with 413 where the content is too large.
    package mutating func take(
        _ buffer: inout ByteBuffer,
        content: inout ByteBuffer?
    ) throws(Refusal) -> ByteBuffer {
        let found = buffer.withUnsafeReadableBytes { bytes in
            Result { () throws(Refusal) in try self.advance(bytes, &content) }
        }
        let length = try found.get()
        return buffer.readSlice(length: length) ?? ByteBuffer()
    }

    private mutating func advance(
        _ bytes: UnsafeRawBufferPointer,
        _ content: inout ByteBuffer?
    ) throws(Refusal) -> Int {
        var index = 0
        self.contentBytes = 0
        while index < bytes.count {
            if case .data(let left) = self.state {
                let count = Int(min(left, UInt64(bytes.count - index)))
                content?.writeBytes(bytes[index..<index + count])
                index += count
                self.contentBytes += count
                self.state = UInt64(count) == left ? .dataReturn : .data(left: left - UInt64(count))
                continue
            }
            try self.step(bytes[index])
            index += 1
            if self.state == .finished { break }
        }
        return index
    }

    private mutating func step(_ byte: UInt8) throws(Refusal) {
        switch self.state {
        case .size(let digits, let value):
            if let digit = Bytes.hexDigit(byte) {
                // Fifteen digits cannot overflow.
                guard digits < 15 else { throw .malformed("a chunk's size has more than 15 digits") }
                self.state = .size(digits: digits + 1, value: value << 4 | digit)
            } else if digits > 0, byte == Bytes.cr {
                self.state = .sizeLineFeed(value: value)
            } else if digits > 0, byte == UInt8(ascii: ";") {
                self.state = .extensions(value: value, length: 0)
            } else {
                throw .malformed("a chunk's size is not a plain hexadecimal number")
            }
        case .extensions(let value, let length):
            if byte == Bytes.cr {
                self.state = .sizeLineFeed(value: value)
            } else {
                guard Bytes.isValue(byte), length < Self.extensionLimit else {
                    throw .malformed("a chunk's extension holds a control character, or is too long")
                }
                self.state = .extensions(value: value, length: length + 1)
            }
        case .sizeLineFeed(let value):
            guard byte == Bytes.lf else { throw .malformed("a chunk's size does not end in CR LF") }
            if value == 0 {
                self.state = .trailerStart
            } else {
                let (sum, overflow) = self.announced.addingReportingOverflow(Int(value))
                guard !overflow, sum <= self.limit else { throw .bodyTooLarge(self.limit) }
                self.announced = sum
                self.state = .data(left: value)
            }
        case .data: break
        case .dataReturn:
            guard byte == Bytes.cr else { throw .malformed("a chunk is longer than its size says") }
            self.state = .dataLineFeed
        case .dataLineFeed:
            guard byte == Bytes.lf else { throw .malformed("a chunk does not end in CR LF") }
            self.state = .size(digits: 0, value: 0)
        case .trailerStart:
            if byte == Bytes.cr { self.state = .lastLineFeed } else { try self.addToTrailer(byte) }
        case .trailer:
            if byte == Bytes.cr { self.state = .trailerLineFeed } else { try self.addToTrailer(byte) }
        case .trailerLineFeed:
            guard byte == Bytes.lf else { throw .malformed("a trailer holds a bare carriage return") }
            try self.checkTrailer()
            self.state = .trailerStart
        case .lastLineFeed:
            guard byte == Bytes.lf else { throw .malformed("the body does not end in CR LF") }
            self.state = .finished
        case .finished: break
        }
    }

    private mutating func addToTrailer(_ byte: UInt8) throws(Refusal) {
        self.trailerBytes += 1
        guard self.trailerBytes <= Self.trailerLimit else {
            throw Refusal(431, "trailers_too_large", "the trailers are larger than \(Self.trailerLimit) bytes")
        }
        guard byte != Bytes.lf else { throw .malformed("a trailer line ends without carriage return") }
        self.line.append(byte)
        self.state = .trailer
    }

    /// A trailer must be a field, and must not frame or address the message after the fact.
    private mutating func checkTrailer() throws(Refusal) {
        let result = self.line.withUnsafeBytes { line in
            Result { () throws(Refusal) in try Fields.field(line, 0, line.count) }
        }
        switch try result.get().kind {
        case .other, .requestID, .traceparent: self.line.removeAll(keepingCapacity: true)
        default: throw .malformed("a trailer frames or addresses the message")
        }
    }
}

extension Refusal {
    /// The body is larger than allowed.
    static func bodyTooLarge(_ limit: Int) -> Refusal {
        Refusal(413, "request_too_large", "the request body is larger than \(limit) bytes, the gateway's limit")
    }
}
