package import NIOCore

/// Reads the answers of a backend's connection.
package struct ResponseReader: Sendable {
    package enum Event: Sendable {
        case head(ResponseHead)
        /// Bytes of the body, to pass on.
        case body(ByteBuffer)
        case end
    }

    private enum State: Sendable {
        /// Nothing was asked: whatever comes is wrong.
        case idle
        case head(HeadScanner)
        case body(BodyReader)
        case broken
    }

    private var state = State.idle
    private var inbound = ByteBuffer()
    private var answersHead = false
    private var unframes = false
    private let headLimit: Int

    package init(headLimit: Int) { self.headLimit = headLimit }

    package var bufferedBytes: Int { self.inbound.readableBytes }

    /// Bytes of content, framing not counted, in the part of the body that came last.
    package private(set) var contentBytes = 0

    /// Whether the connection's end is the answer's end.
    package var endsWithConnection: Bool {
        if case .body(let body) = self.state { body.endsWithConnection } else { false }
    }

    /// A request is sent: its answer may come.
    ///
    /// - Parameters:
    ///   - answersHead: whether it is a HEAD request.
    ///   - unframes: whether chunked content is wanted without its chunks.
    package mutating func expect(answersHead: Bool, unframes: Bool) {
        self.answersHead = answersHead
        self.unframes = unframes
        self.state = .head(HeadScanner())
    }

    package mutating func append(_ bytes: ByteBuffer) { self.inbound.absorb(bytes) }

    /// Takes everything that was not read, for another protocol.
    package mutating func takeRest() -> ByteBuffer? { self.inbound.takeRest() }

    /// Reads on.
    ///
    /// - Returns: what came; nil when more bytes are needed.
    /// - Throws: `Refusal` with the rule that is broken; nothing is read after it.
    package mutating func next() throws(Refusal) -> Event? {
        switch self.state {
        case .idle, .broken: return nil
        case .head(var scanner):
            guard self.inbound.readableBytes > 0 else { return nil }
            let found = self.inbound.withUnsafeReadableBytes {
                scanner.scan($0, limit: self.headLimit, firstLineLimit: self.headLimit)
            }
            self.state = .broken
            switch found {
            case .incomplete:
                self.state = .head(scanner)
                return nil
            case .bareLineFeed: throw .malformed("a line ends in a line feed without carriage return")
            case .tooLarge: throw .malformed("the answer's headers are larger than \(self.headLimit) bytes")
            case .complete(let length):
                guard let bytes = self.inbound.readSlice(length: length) else { return nil }
                let head = try ResponseHead(bytes, answersHead: self.answersHead)
                self.state =
                    head.isInformational ? .head(HeadScanner()) : .body(try BodyReader(head.framing))
                return .head(head)
            }
        case .body(var body):
            if body.isFinished {
                self.state = .idle
                if self.inbound.readableBytes == 0 { self.inbound = ByteBuffer() }
                return .end
            }
            self.state = .broken
            let bytes = try body.take(&self.inbound, unframed: self.unframes)
            self.contentBytes = body.contentBytes
            self.state = .body(body)
            if let bytes { return .body(bytes) }
            return body.isFinished ? try self.next() : nil
        }
    }
}
