import NIOCore

/// Who sent a request, as backends are told.
package struct Peer: Sendable {
    /// The client's address; "unknown" for a Unix socket.
    let address: String
    let scheme: String
    /// Whether what the client says about its own path is believed and extended, or replaced.
    let isTrusted: Bool
    private let fields: ByteBuffer
    private let forwarded: String

    package init(address: String?, isSecure: Bool, isTrusted: Bool) {
        let address = address ?? "unknown"
        self.address = address
        self.scheme = isSecure ? "https" : "http"
        self.isTrusted = isTrusted
        self.fields = ByteBuffer(string: "x-forwarded-for: \(address)\r\nx-forwarded-proto: \(self.scheme)\r\n")
        // RFC 7239, section 6: an IPv6 address stands in brackets, and those in quotes.
        let node = address.utf8.contains(Bytes.colon) ? "\"[\(address)]\"" : address
        self.forwarded = "for=\(node);proto=\(self.scheme)"
    }

    /// Writes what a backend is told about the client.
    fileprivate func write(to buffer: inout ByteBuffer, _ request: RequestHead, host: String?) {
        guard self.isTrusted else {
            buffer.writeImmutableBuffer(self.fields)
            if let host { buffer.writeField("x-forwarded-host", host) }
            buffer.writeField("forwarded", self.forwarded(host))
            return
        }
        let earlier = request.values(of: .forwardedFor)
        buffer.writeField("x-forwarded-for", earlier.isEmpty ? self.address : "\(earlier), \(self.address)")
        let scheme = request.values(of: .forwardedProto)
        buffer.writeField("x-forwarded-proto", scheme.isEmpty ? self.scheme : scheme)
        let earlierHost = request.values(of: .forwardedHost)
        if let host = earlierHost.isEmpty ? host : earlierHost { buffer.writeField("x-forwarded-host", host) }
        let chain = request.values(of: .forwarded)
        buffer.writeField("forwarded", chain.isEmpty ? self.forwarded(host) : "\(chain), \(self.forwarded(host))")
    }

    private func forwarded(_ host: String?) -> String {
        host.map { "\(self.forwarded);host=\"\($0)\"" } ?? self.forwarded
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
        let high = self.next() & ~0xF000 | 0x4000
        let low = self.next() & ~(3 << 62) | 2 << 62
        var text = ""
        text.reserveCapacity(36)
        for index in 0..<32 {
            if index == 8 || index == 12 || index == 16 || index == 20 { text.append("-") }
            let word = index < 16 ? high : low
            text.unicodeScalars.append(Self.digit(word >> UInt64(60 - 4 * (index & 15))))
        }
        return text
    }

    /// The root of a trace (W3C Trace Context, version 00), marked as sampled: what is not would be dropped by a backend that
    /// follows its caller.
    mutating func traceparent() -> String {
        let (high, low, span) = (self.next() | 1, self.next(), self.next() | 1)
        var text = "00-"
        text.reserveCapacity(55)
        for (index, word) in [high, low, span].enumerated() {
            if index == 2 { text.append("-") }
            for shift in stride(from: 60 as UInt64, through: 0, by: -4) {
                text.unicodeScalars.append(Self.digit(word >> shift))
            }
        }
        return text + "-01"
    }

    private static func digit(_ value: UInt64) -> Unicode.Scalar {
        let digit = UInt8(truncatingIfNeeded: value & 15)
        return Unicode.Scalar(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
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
        var buffer = ByteBuffer()
        buffer.reserveCapacity(self.bytes.readableBytes + 384)
        self.writeRequestLine(to: &buffer)
        var hasTrace = false
        var requestID: String?
        self.fields.copy(self.bytes, to: &buffer) { kind in
            switch kind {
            case .other, .host, .contentLength, .transferEncoding: return true
            case .requestID:
                requestID = self.value(of: .requestID)
                return true
            case .traceparent:
                hasTrace = true
                return true
            case .expect: return self.expectsContinue
            case .connection, .keepAlive, .proxyConnection, .te, .upgrade, .http2Settings, .nominated: return false
            case .forwarded, .forwardedFor, .forwardedProto, .forwardedHost: return false
            }
        }
        let host = self.value(of: .host)
        if host == nil { buffer.writeField("host", "localhost") }
        peer.write(to: &buffer, self, host: host)
        let id = requestID ?? names.uuid()
        if requestID == nil { buffer.writeField("x-request-id", id) }
        if !hasTrace { buffer.writeField("traceparent", names.traceparent()) }
        if self.wantsUpgrade { buffer.writeStaticString("connection: upgrade\r\nupgrade: websocket\r\n") }
        buffer.writeStaticString("\r\n")
        return (buffer, id)
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
    /// - Returns: the bytes.
    func forClient(connection: StaticString?, isUnframed: Bool, requestID: String?) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(self.bytes.readableBytes + 128)
        self.writeStatusLine(to: &buffer)
        let isUpgrade = self.status == 101
        var requestID = requestID
        self.fields.copy(self.bytes, to: &buffer) { kind in
            switch kind {
            case .requestID:
                requestID = nil
                return true
            case .connection, .keepAlive, .proxyConnection, .nominated: return false
            case .transferEncoding: return !isUnframed
            case .upgrade: return isUpgrade
            default: return true
            }
        }
        if let requestID { buffer.writeField("x-request-id", requestID) }
        if isUpgrade {
            buffer.writeStaticString("connection: upgrade\r\n")
        } else if let connection {
            buffer.writeStaticString("connection: ")
            buffer.writeStaticString(connection)
            buffer.writeStaticString("\r\n")
        }
        buffer.writeStaticString("\r\n")
        return buffer
    }
}

extension Fields {
    /// Copies the lines of those fields that are kept, neighbours at once.
    fileprivate func copy(_ head: ByteBuffer, to buffer: inout ByteBuffer, where keeps: (Field.Kind) -> Bool) {
        head.withUnsafeReadableBytes { bytes in
            var start = self.start
            for index in self.list.indices where !keeps(self.list[index].kind) {
                buffer.writeBytes(bytes[start..<Int(self.list[index].lineStart)])
                start = self.lineEnd(of: index)
            }
            buffer.writeBytes(bytes[start..<self.end])
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func writeField(_ name: StaticString, _ value: String) {
        self.writeStaticString(name)
        self.writeStaticString(": ")
        self.writeString(value)
        self.writeStaticString("\r\n")
    }
}
