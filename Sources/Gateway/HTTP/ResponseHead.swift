package import NIOCore

/// The head of a backend's answer.
package struct ResponseHead: Sendable {
    /// The head's bytes, its empty line included.
    let bytes: ByteBuffer
    let fields: Fields
    /// Where the version ends: the status code and the reason follow.
    private let statusStart: Int
    private let lineEnd: Int

    package let status: Int
    package let framing: Framing
    /// Whether the backend goes on with the connection.
    package let keepsAlive: Bool
    /// How long the backend keeps an idle connection, in seconds, if it says so.
    package let keepAliveSeconds: Int?
    /// Whether its content is a stream of events: tokens, for a frontend.
    package let isEventStream: Bool

    /// More than the status: 100 to 199, and not the end of the exchange.
    package var isInformational: Bool { self.status < 200 && self.status != 101 }

    /// Reads a head.
    ///
    /// - Parameters:
    ///   - bytes: the whole head, whose lines all end in CR LF.
    ///   - answersHead: whether the request was HEAD.
    /// - Throws: `Refusal` with the rule that is broken; its status is for requests, and means nothing here.
    package init(_ bytes: ByteBuffer, answersHead: Bool) throws(Refusal) {
        self.bytes = bytes
        let result = bytes.withUnsafeReadableBytes { head in
            Result { () throws(Refusal) in try Parts(head, answersHead: answersHead) }
        }
        let parts = try result.get()
        self.fields = parts.fields
        self.lineEnd = parts.lineEnd
        self.statusStart = 9
        self.status = parts.status
        self.framing = parts.framing
        self.keepsAlive = parts.keepsAlive
        self.keepAliveSeconds = parts.keepAliveSeconds
        self.isEventStream = parts.isEventStream
    }

    /// Writes "HTTP/1.1 STATUS REASON" as a client gets it.
    func writeStatusLine(to writer: inout HeadWriter, _ head: UnsafeRawBufferPointer) {
        writer.write("HTTP/1.1 ")
        writer.write(UnsafeRawBufferPointer(rebasing: head[self.statusStart..<self.lineEnd]))
        writer.write("\r\n")
    }

    private struct Parts {
        var fields: Fields
        var lineEnd: Int
        var status: Int
        var framing: Framing
        var keepsAlive: Bool
        var keepAliveSeconds: Int?
        var isEventStream = false

        init(_ head: UnsafeRawBufferPointer, answersHead: Bool) throws(Refusal) {
            guard let lineFeed = Bytes.lineFeed(in: head, from: 0), lineFeed >= 13 else {
                throw .malformed("the status line is too short")
            }
            self.lineEnd = lineFeed - 1
            let version = UnsafeRawBufferPointer(rebasing: head[0..<9])
            let isHTTP10 = Bytes.isExactly(version, "HTTP/1.0 ")
            guard isHTTP10 || Bytes.isExactly(version, "HTTP/1.1 ") else {
                throw .malformed("the answer does not begin with HTTP/1.1 or HTTP/1.0")
            }
            guard let status = Bytes.decimal(UnsafeRawBufferPointer(rebasing: head[9..<12])), status >= 100,
                self.lineEnd == 12 || head[12] == Bytes.space
            else { throw .malformed("the status code is not three digits") }
            for index in 12..<self.lineEnd where !Bytes.isValue(head[index]) {
                throw .malformed("the reason holds a control character")
            }
            self.status = status
            self.fields = try Fields(head, from: lineFeed + 1)
            let framing = try self.fields.framing(head, isHTTP10: isHTTP10)
            let hasNoBody = answersHead || status < 200 || status == 204 || status == 304
            self.framing = hasNoBody ? .none : framing ?? .untilClose
            var (closes, keeps) = (false, false)
            var seconds: Int?
            for field in self.fields.list {
                switch field.kind {
                case .connection:
                    Bytes.forEachElement(of: field.value(in: head)) { option in
                        if Bytes.equal(option, "close") { closes = true }
                        if Bytes.equal(option, "keep-alive") { keeps = true }
                    }
                case .keepAlive:
                    Bytes.forEachElement(of: field.value(in: head)) { option in
                        guard option.count > 8,
                            Bytes.equal(UnsafeRawBufferPointer(rebasing: option[..<8]), "timeout=")
                        else { return }
                        seconds = Bytes.decimal(UnsafeRawBufferPointer(rebasing: option[8...]))
                    }
                case .other where Bytes.equal(field.name(in: head), "content-type"):
                    self.isEventStream = Bytes.isEventStream(field.value(in: head))
                default: break
                }
            }
            self.keepAliveSeconds = seconds
            self.keepsAlive = (isHTTP10 ? keeps && !closes : !closes) && self.framing != .untilClose
        }
    }
}
