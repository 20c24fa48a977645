import NIOCore

/// A field of a head: where it stands, and whether it means something to a gateway.
struct Field {
    /// What a field means to a gateway.
    enum Kind: UInt8 {
        case other
        case host, contentLength, transferEncoding, connection, keepAlive, proxyConnection, te, upgrade, expect
        case http2Settings
        case forwarded, forwardedFor, forwardedProto, forwardedHost, requestID, traceparent
        /// Named by `Connection`: ends here.
        case nominated
    }

    var kind: Kind
    /// Offsets in the head: the line begins with the name, and ends after its line feed.
    var lineStart: Int32
    var nameEnd: Int32
    var valueStart: Int32
    var valueEnd: Int32

    func name(in head: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: head[Int(self.lineStart)..<Int(self.nameEnd)])
    }

    func value(in head: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: head[Int(self.valueStart)..<Int(self.valueEnd)])
    }
}

/// The fields of a head, read strictly: a line that two readers could understand differently is refused.
struct Fields {
    private(set) var list: [Field] = []
    /// Where the first field, and where the empty line stands.
    private(set) var start = 0
    private(set) var end = 0

    /// Reads the lines of a head after its first one.
    ///
    /// - Parameters:
    ///   - head: the whole head, whose lines all end in CR LF.
    ///   - start: where the second line begins.
    /// - Throws: `Refusal` for a line that is no field.
    init(_ head: UnsafeRawBufferPointer, from start: Int) throws(Refusal) {
        self.start = start
        self.list.reserveCapacity(16)
        var line = start
        while let lineFeed = Bytes.lineFeed(in: head, from: line) {
            let lineEnd = lineFeed - 1
            if lineEnd == line { break }
            self.list.append(try Self.field(head, line, lineEnd))
            line = lineFeed + 1
        }
        self.end = line
        try self.nominate(head)
    }

    /// Reads one line.
    ///
    /// - Parameters:
    ///   - head: the bytes.
    ///   - start: where the line begins.
    ///   - end: where its CR stands.
    /// - Returns: where its parts stand.
    /// - Throws: `Refusal` for a line that is no field.
    static func field(_ head: UnsafeRawBufferPointer, _ start: Int, _ end: Int) throws(Refusal) -> Field {
        var nameEnd = start
        while nameEnd < end, Bytes.isToken(head[nameEnd]) { nameEnd += 1 }
        guard nameEnd < end, head[nameEnd] == Bytes.colon, nameEnd > start else {
            let byte = nameEnd < end ? head[nameEnd] : Bytes.cr
            if nameEnd == start, byte == Bytes.space || byte == Bytes.tab {
                throw .malformed("a header line begins with white space (line folding is obsolete and refused)")
            }
            if byte == Bytes.space || byte == Bytes.tab {
                throw .malformed("white space stands between a header's name and its colon")
            }
            throw .malformed("a header line has no valid name before a colon")
        }
        var (valueStart, valueEnd) = (nameEnd + 1, end)
        while valueStart < valueEnd, head[valueStart] == Bytes.space || head[valueStart] == Bytes.tab {
            valueStart += 1
        }
        while valueEnd > valueStart, head[valueEnd - 1] == Bytes.space || head[valueEnd - 1] == Bytes.tab {
            valueEnd -= 1
        }
        guard Bytes.areValue(UnsafeRawBufferPointer(rebasing: head[valueStart..<valueEnd])) else {
            throw .malformed("a header's value holds a control character")
        }
        return Field(
            kind: Self.kind(UnsafeRawBufferPointer(rebasing: head[start..<nameEnd])),
            lineStart: Int32(start),
            nameEnd: Int32(nameEnd),
            valueStart: Int32(valueStart),
            valueEnd: Int32(valueEnd)
        )
    }

    /// Where the line of a field ends: at the next one, or at the empty line.
    func lineEnd(of index: Int) -> Int {
        index + 1 < self.list.count ? Int(self.list[index + 1].lineStart) : self.end
    }

    /// Marks what `Connection` names, which concerns this hop only (RFC 9110, section 7.6.1).
    private mutating func nominate(_ head: UnsafeRawBufferPointer) throws(Refusal) {
        for index in self.list.indices where self.list[index].kind == .connection {
            var isRefused = false
            var list = self.list
            Bytes.forEachElement(of: list[index].value(in: head)) { option in
                for other in list.indices where Bytes.equal(list[other].name(in: head), option) {
                    switch list[other].kind {
                    case .other, .forwarded, .forwardedFor, .forwardedProto, .forwardedHost, .requestID, .traceparent:
                        list[other].kind = .nominated
                    // What frames the message, and whom it is for, cannot be taken out of it.
                    case .host, .contentLength, .transferEncoding: isRefused = true
                    default: break
                    }
                }
            }
            if isRefused { throw .malformed("Connection names a header that frames or addresses the message") }
            self.list = list
        }
    }

    private static func kind(_ name: UnsafeRawBufferPointer) -> Field.Kind {
        switch name.count {
        case 2 where Bytes.equal(name, "te"): .te
        case 4 where Bytes.equal(name, "host"): .host
        case 6 where Bytes.equal(name, "expect"): .expect
        case 7 where Bytes.equal(name, "upgrade"): .upgrade
        case 9 where Bytes.equal(name, "forwarded"): .forwarded
        case 10 where Bytes.equal(name, "connection"): .connection
        case 10 where Bytes.equal(name, "keep-alive"): .keepAlive
        case 11 where Bytes.equal(name, "traceparent"): .traceparent
        case 12 where Bytes.equal(name, "x-request-id"): .requestID
        case 14 where Bytes.equal(name, "content-length"): .contentLength
        case 14 where Bytes.equal(name, "http2-settings"): .http2Settings
        case 15 where Bytes.equal(name, "x-forwarded-for"): .forwardedFor
        case 16 where Bytes.equal(name, "proxy-connection"): .proxyConnection
        case 16 where Bytes.equal(name, "x-forwarded-host"): .forwardedHost
        case 17 where Bytes.equal(name, "transfer-encoding"): .transferEncoding
        case 17 where Bytes.equal(name, "x-forwarded-proto"): .forwardedProto
        default: .other
        }
    }
}

/// How the end of a body is known.
package enum Framing: Hashable, Sendable {
    case none
    /// In bytes; above zero.
    case length(Int)
    case chunked
    /// The connection's end; only of answers.
    case untilClose
}

extension Fields {
    /// How the fields frame the body; nil where they do not say.
    ///
    /// - Throws: `Refusal` where two readers could disagree.
    func framing(_ head: UnsafeRawBufferPointer, isHTTP10: Bool) throws(Refusal) -> Framing? {
        var length: Int?
        var isChunked = false
        for field in self.list {
            switch field.kind {
            case .contentLength:
                guard length == nil else { throw .malformed("there is more than one Content-Length") }
                guard let value = Bytes.decimal(field.value(in: head)) else {
                    throw .malformed("Content-Length is not a decimal number")
                }
                length = value
            case .transferEncoding:
                guard !isChunked else { throw .malformed("there is more than one Transfer-Encoding") }
                guard Bytes.equal(field.value(in: head), "chunked") else {
                    throw .malformed("the only transfer coding that is understood is chunked, alone")
                }
                guard !isHTTP10 else { throw .malformed("HTTP/1.0 has no Transfer-Encoding") }
                isChunked = true
            default: break
            }
        }
        if isChunked {
            guard length == nil else { throw .malformed("both Content-Length and Transfer-Encoding are given") }
            return .chunked
        }
        return length.map { $0 == 0 ? .none : .length($0) }
    }
}
