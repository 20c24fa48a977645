package import NIOCore

/// Reads the requests of a connection, one after the other.
package struct RequestReader: Sendable {
    package enum Event: Sendable {
        case head(RequestHead)
        /// Bytes of the body with their framing: they go on as they are.
        case body(ByteBuffer)
        /// The request is complete; the next one is read after ``next()`` was called again, not before.
        case end
    }

    private enum State: Sendable {
        case head(HeadScanner)
        case body(BodyReader)
        /// After a refusal nothing can be trusted.
        case broken
    }

    private var state = State.head(HeadScanner())
    private var inbound = ByteBuffer()
    private let headLimit: Int
    private let targetLimit: Int
    private let bodyLimit: Int

    package init(headLimit: Int, targetLimit: Int, bodyLimit: Int) {
        self.headLimit = headLimit
        self.targetLimit = targetLimit
        self.bodyLimit = bodyLimit
    }

    /// Bytes that have come and were not read yet.
    package var bufferedBytes: Int { self.inbound.readableBytes }

    /// Whether a head has come in part.
    package var isInsideHead: Bool {
        if case .head = self.state { self.inbound.readableBytes > 0 } else { false }
    }

    package mutating func append(_ bytes: ByteBuffer) { self.inbound.absorb(bytes) }

    /// Takes everything that was not read, for another protocol.
    package mutating func takeRest() -> ByteBuffer? { self.inbound.takeRest() }

    /// Reads on.
    ///
    /// - Returns: what came; nil when more bytes are needed.
    /// - Throws: `Refusal` with what to answer; nothing is read after it.
    package mutating func next() throws(Refusal) -> Event? {
        switch self.state {
        case .head(let scanner): return try self.head(scanner)
        case .body(var body):
            if body.isFinished {
                self.state = .head(HeadScanner())
                if self.inbound.readableBytes == 0 { self.inbound = ByteBuffer() }
                return .end
            }
            self.state = .broken
            let bytes = try body.take(&self.inbound)
            self.state = .body(body)
            if let bytes { return .body(bytes) }
            // The last bytes of framing can be all that came.
            return body.isFinished ? try self.next() : nil
        case .broken: return nil
        }
    }

    private mutating func head(_ scanner: HeadScanner) throws(Refusal) -> Event? {
        var scanner = scanner
        // Empty lines before a request are left over from the body of the one before (RFC 9112, section 2.2).
        if !scanner.hasBegun {
            while self.inbound.readableBytes >= 2,
                self.inbound.getInteger(at: self.inbound.readerIndex, as: UInt16.self) == 0x0D0A
            {
                self.inbound.moveReaderIndex(forwardBy: 2)
            }
            if self.inbound.readableBytes == 1, self.inbound.getInteger(at: self.inbound.readerIndex) == Bytes.cr {
                return nil
            }
        }
        guard self.inbound.readableBytes > 0 else { return nil }
        let found = self.inbound.withUnsafeReadableBytes {
            scanner.scan($0, limit: self.headLimit, firstLineLimit: self.targetLimit)
        }
        self.state = .broken
        switch found {
        case .incomplete:
            self.state = .head(scanner)
            return nil
        case .bareLineFeed: throw .malformed("a line ends in a line feed without carriage return")
        case .tooLarge(isFirstLine: true):
            throw Refusal(414, "uri_too_long", "the request line is longer than \(self.targetLimit) bytes")
        case .tooLarge(isFirstLine: false):
            throw Refusal(431, "headers_too_large", "the request's headers are larger than \(self.headLimit) bytes")
        case .complete(let length):
            guard let bytes = self.inbound.readSlice(length: length) else { return nil }
            let head = try RequestHead(bytes)
            self.state = .body(try BodyReader(head.framing, limit: self.bodyLimit))
            return .head(head)
        }
    }
}
