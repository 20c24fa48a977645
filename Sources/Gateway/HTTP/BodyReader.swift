import NIOCore

/// Takes the bytes of one body out of what comes.
struct BodyReader: Sendable {
    private enum State: Sendable {
        case finished
        case length(Int)
        case chunked(ChunkScanner)
        case untilClose
    }

    private var state: State
    /// Bytes of content, framing not counted, in what was taken last.
    private(set) var contentBytes = 0

    /// Creates a reader.
    ///
    /// - Parameters:
    ///   - framing: how the body's end is known.
    ///   - limit: bytes of content, at most.
    /// - Throws: `Refusal` with 413 where the framing announces more.
    init(_ framing: Framing, limit: Int = .max) throws(Refusal) {
        switch framing {
        case .none: self.state = .finished
        case .length(let length):
            guard length <= limit else { throw .bodyTooLarge(limit) }
            self.state = .length(length)
        case .chunked: self.state = .chunked(ChunkScanner(limit: limit))
        case .untilClose: self.state = .untilClose
        }
    }

    var isFinished: Bool {
        if case .finished = self.state { true } else { false }
    }

    var endsWithConnection: Bool {
        if case .untilClose = self.state { true } else { false }
    }

    /// Takes what belongs to the body.
    ///
    /// - Parameters:
    ///   - buffer: what came; the rest stays in it.
    ///   - unframed: whether the content without its chunks is wanted.
    /// - Returns: the bytes to pass on; nil when there are none.
    /// - Throws: `Refusal` where the framing is broken or the content is too large.
    mutating func take(_ buffer: inout ByteBuffer, unframed: Bool = false) throws(Refusal) -> ByteBuffer? {
        self.contentBytes = 0
        guard buffer.readableBytes > 0 else { return nil }
        switch self.state {
        case .finished: return nil
        case .length(let left):
            let bytes = buffer.readSlice(length: min(left, buffer.readableBytes))
            self.contentBytes = bytes?.readableBytes ?? 0
            let rest = left - self.contentBytes
            self.state = rest == 0 ? .finished : .length(rest)
            return bytes
        case .chunked(var scanner):
            self.state = .finished
            var content: ByteBuffer? = unframed ? ByteBuffer() : nil
            let bytes = try scanner.take(&buffer, content: &content)
            self.contentBytes = scanner.contentBytes
            self.state = scanner.isFinished ? .finished : .chunked(scanner)
            let result = content ?? bytes
            return result.readableBytes > 0 ? result : nil
        case .untilClose:
            self.contentBytes = buffer.readableBytes
            return buffer.readSlice(length: buffer.readableBytes)
        }
    }
}
