import NIOCore

/// Who sent a request, as backends are told.
package struct Peer: Sendable {
    /// The client's address; "unknown" for a Unix socket.
    let address: String
    let scheme: String
    /// Whether what the client says about its own path is believed and extended, or replaced.
    let isTrusted: Bool
    /// What is said of every request where the client is not believed; the last line is not ended.
    private let fields: ByteBuffer

    package init(address: String?, isSecure: Bool, isTrusted: Bool) {
        let address = address ?? "unknown"
        let scheme = isSecure ? "https" : "http"
        self.address = address
        self.scheme = scheme
        self.isTrusted = isTrusted
        self.fields = ByteBuffer(
            string: "x-forwarded-for: \(address)\r\nx-forwarded-proto: \(scheme)\r\nforwarded: "
                + Self.forwarded(address, scheme)
        )
    }

    /// Writes what a backend is told about the client: at most ``largestCount`` bytes, and the host twice.
    fileprivate func write(to writer: inout HeadWriter, host: UnsafeRawBufferPointer?) {
        writer.write(self.fields)
        if let host {
            writer.write(";host=\"")
            writer.write(host)
            writer.write("\"\r\nx-forwarded-host: ")
            writer.write(host)
        }
        writer.write("\r\n")
    }

    fileprivate var largestCount: Int { self.fields.readableBytes + 32 }

    /// The same where the client is believed: what it says of its own path, extended.
    fileprivate func extended(_ request: RequestHead) -> String {
        let host = request.values(of: .host)
        let earlier = request.values(of: .forwardedFor)
        var text = "x-forwarded-for: \(earlier.isEmpty ? self.address : "\(earlier), \(self.address)")\r\n"
        let scheme = request.values(of: .forwardedProto)
        text += "x-forwarded-proto: \(scheme.isEmpty ? self.scheme : scheme)\r\n"
        let earlierHost = request.values(of: .forwardedHost)
        let namedHost = earlierHost.isEmpty ? host : earlierHost
        if !namedHost.isEmpty { text += "x-forwarded-host: \(namedHost)\r\n" }
        let chain = request.values(of: .forwarded)
        let element = Self.forwarded(self.address, self.scheme) + (host.isEmpty ? "" : ";host=\"\(host)\"")
        return text + "forwarded: \(chain.isEmpty ? element : "\(chain), \(element)")\r\n"
    }

    private static func forwarded(_ address: String, _ scheme: String) -> String {
        // RFC 7239, section 6: an IPv6 address stands in brackets, and those in quotes.
        let node = address.utf8.contains(Bytes.colon) ? "\"[\(address)]\"" : address
        return "for=\(node);proto=\(scheme)"
    }
}

/// Random numbers that name things; nothing secret.
struct NameGenerator {
    private var state: UInt64

    init() { self.state = UInt64.random(in: .min ... .max) }

    /// SplitMix64.
    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// A version 4 UUID.
    mutating func uuid() -> String {
        let (high, low) = (self.next() & ~0xF000 | 0x4000, self.next() & ~(3 << 62) | 2 << 62)
        return String(unsafeUninitializedCapacity: 36) { text in
            let (bytes, dash) = (UnsafeMutableRawBufferPointer(text), UInt8(ascii: "-"))
            func store(_ digits: UInt64, _ offset: Int) {
                bytes.storeBytes(of: digits.bigEndian, toByteOffset: offset, as: UInt64.self)
            }
            func storeHalf(_ digits: UInt64, _ offset: Int) {
                bytes.storeBytes(
                    of: UInt32(truncatingIfNeeded: digits).bigEndian,
                    toByteOffset: offset,
                    as: UInt32.self
                )
            }
            let second = Hexadecimal.digits(UInt32(truncatingIfNeeded: high))
            let third = Hexadecimal.digits(UInt32(truncatingIfNeeded: low >> 32))
            store(Hexadecimal.digits(UInt32(truncatingIfNeeded: high >> 32)), 0)
            storeHalf(second >> 32, 9)
            storeHalf(second, 14)
            storeHalf(third >> 32, 19)
            storeHalf(third, 24)
            store(Hexadecimal.digits(UInt32(truncatingIfNeeded: low)), 28)
            (text[8], text[13], text[18], text[23]) = (dash, dash, dash, dash)
            return 36
        }
    }

    /// Writes the root of a trace (W3C Trace Context, version 00), marked as sampled: what is not would be dropped by a backend that
    /// follows its caller.
    fileprivate mutating func writeTraceparent(to writer: inout HeadWriter) {
        writer.write("traceparent: 00-")
        writer.write(digitsOf: self.next() | 1)
        writer.write(digitsOf: self.next())
        writer.write("-")
        writer.write(digitsOf: self.next() | 1)
        writer.write("-01\r\n")
    }
}

extension RequestHead {
    /// The head as a backend gets it.
    ///
    /// What concerns the hop from the client ends here (RFC 9110, section 7.6.1); who the client is, a request id and a trace are
    /// added.
    ///
    /// - Parameters:
    ///   - peer: the client.
    ///   - names: makes the ids that are absent.
    /// - Returns: the bytes, and the request's id.
    func forBackend(_ peer: Peer, _ names: inout NameGenerator) -> (bytes: ByteBuffer, requestID: String) {
        let extended = peer.isTrusted ? peer.extended(self) : nil
        let limit = self.largestCount + (extended?.utf8.count ?? peer.largestCount)
        var buffer = ByteBufferAllocator().buffer(capacity: limit)
        var id = ""
        self.bytes.withUnsafeReadableBytes { head in
            _ = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: limit) { memory in
                var writer = HeadWriter(memory, limit: limit)
                id = self.write(to: &writer, head, peer, extended, &names)
                return writer.count
            }
        }
        return (buffer, id)
    }

    /// Bytes that are written, at most, besides what is said about the client: every line once, the host twice more, and what is
    /// added, some 200 bytes.
    private var largestCount: Int { self.bytes.readableBytes + 2 * self.hostCount + 256 }

    private func write(
        to writer: inout HeadWriter,
        _ head: UnsafeRawBufferPointer,
        _ peer: Peer,
        _ extended: String?,
        _ names: inout NameGenerator
    ) -> String {
        self.writeRequestLine(to: &writer, head)
        var hasTrace = false
        var requestID: Field?
        var host: Field?
        self.fields.copy(head, to: &writer) { field in
            switch field.kind {
            case .other, .contentLength, .transferEncoding: return true
            case .host:
                host = field
                return true
            case .requestID:
                requestID = requestID ?? field
                return true
            case .traceparent:
                hasTrace = true
                return true
            case .expect: return self.expectsContinue
            case .connection, .keepAlive, .proxyConnection, .te, .upgrade, .http2Settings, .nominated: return false
            case .forwarded, .forwardedFor, .forwardedProto, .forwardedHost: return false
            }
        }
        if host == nil { writer.write("host: localhost\r\n") }
        if let extended { writer.write(extended) } else { peer.write(to: &writer, host: host?.value(in: head)) }
        let id = requestID.map { String(decoding: $0.value(in: head), as: UTF8.self) } ?? names.uuid()
        if requestID == nil { writer.write("x-request-id", id) }
        if !hasTrace { names.writeTraceparent(to: &writer) }
        if self.wantsUpgrade { writer.write("connection: upgrade\r\nupgrade: websocket\r\n") }
        writer.write("\r\n")
        return id
    }

    /// The values of all fields of a kind, as one list.
    fileprivate func values(of kind: Field.Kind) -> String {
        self.bytes.withUnsafeReadableBytes { head in
            self.fields.list.filter { $0.kind == kind }
                .map { String(decoding: $0.value(in: head), as: UTF8.self) }
                .joined(separator: ", ")
        }
    }
}

extension ResponseHead {
    /// The head as a client gets it.
    ///
    /// - Parameters:
    ///   - connection: what is said about the client's connection, if anything.
    ///   - isUnframed: whether the body goes out without its chunks, to a client of HTTP/1.0.
    ///   - requestID: the id that the backend was given with the request; said unless the backend names one itself.
    ///   - room: bytes that the buffer can take afterwards.
    /// - Returns: the bytes.
    func forClient(
        connection: StaticString?,
        isUnframed: Bool,
        requestID: String?,
        room: Int = 0
    ) -> ByteBuffer {
        // Every line once, and what is added, less than 100 bytes.
        let limit = self.bytes.readableBytes + 128 + (requestID?.utf8.count ?? 0)
        var buffer = ByteBufferAllocator().buffer(capacity: limit + room)
        self.bytes.withUnsafeReadableBytes { head in
            _ = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: limit) { memory in
                var writer = HeadWriter(memory, limit: limit)
                self.write(to: &writer, head, connection, isUnframed, requestID)
                return writer.count
            }
        }
        return buffer
    }

    private func write(
        to writer: inout HeadWriter,
        _ head: UnsafeRawBufferPointer,
        _ connection: StaticString?,
        _ isUnframed: Bool,
        _ requestID: String?
    ) {
        self.writeStatusLine(to: &writer, head)
        let isUpgrade = self.status == 101
        var requestID = requestID
        self.fields.copy(head, to: &writer) { field in
            switch field.kind {
            case .requestID:
                requestID = nil
                return true
            case .connection, .keepAlive, .proxyConnection, .nominated: return false
            case .transferEncoding: return !isUnframed
            case .upgrade: return isUpgrade
            default: return true
            }
        }
        if let requestID { writer.write("x-request-id", requestID) }
        if isUpgrade {
            writer.write("connection: upgrade\r\n")
        } else if let connection {
            writer.write("connection: ")
            writer.write(connection)
            writer.write("\r\n")
        }
        writer.write("\r\n")
    }
}

extension Fields {
    /// Copies the lines of those fields that are kept, neighbours at once.
    fileprivate func copy(
        _ head: UnsafeRawBufferPointer,
        to writer: inout HeadWriter,
        where keeps: (Field) -> Bool
    ) {
        var start = self.start
        for index in self.list.indices where !keeps(self.list[index]) {
            writer.write(UnsafeRawBufferPointer(rebasing: head[start..<Int(self.list[index].lineStart)]))
            start = self.lineEnd(of: index)
        }
        writer.write(UnsafeRawBufferPointer(rebasing: head[start..<self.end]))
    }
}
