package import NIOCore

/// The head of a request, checked so that no two readers can understand it differently.
///
/// Holds the bytes as they came and where their parts stand: nothing is copied until the head is written for a backend.
package struct RequestHead: Sendable {
    /// The head's bytes, its empty line included.
    let bytes: ByteBuffer
    let fields: Fields
    private let methodEnd: Int
    private let targetStart: Int
    private let targetEnd: Int

    package let framing: Framing
    package let isHTTP10: Bool
    package let isHead: Bool
    /// Whether the request may be sent again by RFC 9110, section 9.2.2.
    package let isIdempotent: Bool
    /// Whether the client wants to go on with the connection.
    package let keepsAlive: Bool
    package let expectsContinue: Bool
    /// Whether the client asks for another protocol that may be passed through.
    package let wantsUpgrade: Bool

    /// Reads a head.
    ///
    /// - Parameter bytes: the whole head, whose lines all end in CR LF.
    /// - Throws: `Refusal` with the status code and the rule that is broken.
    package init(_ bytes: ByteBuffer) throws(Refusal) {
        self.bytes = bytes
        let result = bytes.withUnsafeReadableBytes { head in
            Result { () throws(Refusal) in try Parts(head) }
        }
        let parts = try result.get()
        self.fields = parts.fields
        self.methodEnd = parts.methodEnd
        self.targetStart = parts.targetStart
        self.targetEnd = parts.targetEnd
        self.framing = parts.framing
        self.isHTTP10 = parts.isHTTP10
        self.isHead = parts.isHead
        self.isIdempotent = parts.isIdempotent
        self.keepsAlive = parts.keepsAlive
        self.expectsContinue = parts.expectsContinue
        self.wantsUpgrade = parts.wantsUpgrade
    }

    /// The head as it came.
    package var text: String { String(buffer: self.bytes) }

    package var method: String { self.text(0, self.methodEnd) }
    /// The target in origin form: what a backend is asked for.
    package var target: String { self.text(self.targetStart, self.targetEnd) }

    /// The values of a field's first line; for tests and messages.
    package func value(of name: String) -> String? {
        self.bytes.withUnsafeReadableBytes { head in
            self.fields.list.first { String(decoding: $0.name(in: head), as: UTF8.self).lowercased() == name }
                .map { String(decoding: $0.value(in: head), as: UTF8.self) }
        }
    }

    private func text(_ start: Int, _ end: Int) -> String {
        self.bytes.withUnsafeReadableBytes { String(decoding: $0[start..<end], as: UTF8.self) }
    }

    /// Writes "METHOD TARGET HTTP/1.1" as a backend gets it.
    func writeRequestLine(to writer: inout HeadWriter, _ head: UnsafeRawBufferPointer) {
        writer.write(UnsafeRawBufferPointer(rebasing: head[0..<self.methodEnd]))
        writer.write(" ")
        writer.write(UnsafeRawBufferPointer(rebasing: head[self.targetStart..<self.targetEnd]))
        writer.write(" HTTP/1.1\r\n")
    }

    /// Bytes of the host with its port.
    var hostCount: Int {
        guard let host = self.fields.list.first(where: { $0.kind == .host }) else { return 0 }
        return Int(host.valueEnd - host.valueStart)
    }

    // MARK: Reading

    private struct Parts {
        var fields: Fields
        var methodEnd = 0
        var targetStart = 0
        var targetEnd = 0
        var framing = Framing.none
        var isHTTP10 = false
        var isHead = false
        var isIdempotent = false
        var keepsAlive = false
        var expectsContinue = false
        var wantsUpgrade = false

        init(_ head: UnsafeRawBufferPointer) throws(Refusal) {
            guard let lineFeed = Bytes.lineFeed(in: head, from: 0), lineFeed > 0 else {
                throw .malformed("the request line is empty")
            }
            let lineEnd = lineFeed - 1
            self.methodEnd = try Self.method(head, lineEnd)
            var targetEnd = self.methodEnd + 1
            while targetEnd < lineEnd, Bytes.isTarget(head[targetEnd]) { targetEnd += 1 }
            guard targetEnd > self.methodEnd + 1, targetEnd < lineEnd, head[targetEnd] == Bytes.space else {
                throw .malformed("the request line is not method, target and version with one space between them")
            }
            let version = UnsafeRawBufferPointer(rebasing: head[targetEnd + 1..<lineEnd])
            self.isHTTP10 = try Self.isHTTP10(version)
            self.targetStart = self.methodEnd + 1
            self.targetEnd = targetEnd
            self.fields = try Fields(head, from: lineFeed + 1)

            let method = UnsafeRawBufferPointer(rebasing: head[0..<self.methodEnd])
            self.isHead = Bytes.isExactly(method, "HEAD")
            self.isIdempotent = Self.isIdempotent(method)
            if Bytes.isExactly(method, "CONNECT") {
                throw Refusal(405, "method_not_allowed", "this gateway opens no tunnels (CONNECT)")
            }
            let authority = try self.checkTarget(head, isOptions: Bytes.isExactly(method, "OPTIONS"))
            try self.checkHost(head, authority)
            self.framing = try self.fields.framing(head, isHTTP10: self.isHTTP10) ?? .none
            try self.readOptions(head)
        }

        private static func method(_ head: UnsafeRawBufferPointer, _ lineEnd: Int) throws(Refusal) -> Int {
            var end = 0
            while end < lineEnd, Bytes.isToken(head[end]) { end += 1 }
            guard end > 0, end < lineEnd, head[end] == Bytes.space else {
                throw .malformed("the request line does not begin with a method and a space")
            }
            guard end <= 32 else { throw .malformed("the method is longer than 32 characters") }
            return end
        }

        private static func isHTTP10(_ version: UnsafeRawBufferPointer) throws(Refusal) -> Bool {
            if Bytes.isExactly(version, "HTTP/1.1") { return false }
            if Bytes.isExactly(version, "HTTP/1.0") { return true }
            let looksRight =
                version.count == 8 && version.starts(with: "HTTP/".utf8) && Bytes.isDigit(version[5])
                && version[6] == UInt8(ascii: ".") && Bytes.isDigit(version[7])
            guard looksRight else { throw .malformed("the request line does not end in HTTP/1.1 or HTTP/1.0") }
            throw Refusal(505, "http_version_not_supported", "this gateway speaks HTTP/1.1 and HTTP/1.0")
        }

        private static func isIdempotent(_ method: UnsafeRawBufferPointer) -> Bool {
            switch method.count {
            case 3: Bytes.isExactly(method, "GET") || Bytes.isExactly(method, "PUT")
            case 4: Bytes.isExactly(method, "HEAD")
            case 5: Bytes.isExactly(method, "TRACE")
            case 6: Bytes.isExactly(method, "DELETE")
            case 7: Bytes.isExactly(method, "OPTIONS")
            default: false
            }
        }

        /// Brings the target into origin form.
        ///
        /// - Returns: the authority of an absolute target.
        private mutating func checkTarget(
            _ head: UnsafeRawBufferPointer,
            isOptions: Bool
        ) throws(Refusal) -> UnsafeRawBufferPointer? {
            let target = UnsafeRawBufferPointer(rebasing: head[self.targetStart..<self.targetEnd])
            if target[0] == UInt8(ascii: "/") { return nil }
            if target.count == 1, target[0] == UInt8(ascii: "*"), isOptions { return nil }
            var prefix = 0
            for scheme: StaticString in ["http://", "https://"] where target.count > scheme.utf8CodeUnitCount {
                let start = UnsafeRawBufferPointer(rebasing: target[..<scheme.utf8CodeUnitCount])
                if Bytes.equal(start, scheme) { prefix = start.count }
            }
            guard prefix > 0 else {
                throw .malformed("the target is neither a path that begins with / nor an absolute URI")
            }
            var end = prefix
            while end < target.count, target[end] != UInt8(ascii: "/"), target[end] != UInt8(ascii: "?") { end += 1 }
            guard end > prefix, end < target.count, target[end] == UInt8(ascii: "/") else {
                throw .malformed("the absolute target has no host, or no path")
            }
            self.targetStart += end
            return UnsafeRawBufferPointer(rebasing: target[prefix..<end])
        }

        private func checkHost(
            _ head: UnsafeRawBufferPointer,
            _ authority: UnsafeRawBufferPointer?
        ) throws(Refusal) {
            var host: UnsafeRawBufferPointer?
            for field in self.fields.list where field.kind == .host {
                guard host == nil else { throw .malformed("there is more than one Host") }
                let value = field.value(in: head)
                guard value.allSatisfy(Bytes.isHost) else { throw .malformed("Host is no host with an optional port") }
                host = value
            }
            guard let host else {
                if self.isHTTP10, authority == nil { return }
                throw .malformed("there is no Host")
            }
            if let authority, !Bytes.equal(host, authority) {
                throw .malformed("the target names another host than Host does")
            }
        }

        private mutating func readOptions(_ head: UnsafeRawBufferPointer) throws(Refusal) {
            var (closes, keepsAlive, namesUpgrade) = (false, false, false)
            var protocols = 0
            var isWebSocket = false
            for field in self.fields.list {
                switch field.kind {
                case .connection:
                    Bytes.forEachElement(of: field.value(in: head)) { option in
                        if Bytes.equal(option, "close") { closes = true }
                        if Bytes.equal(option, "keep-alive") { keepsAlive = true }
                        if Bytes.equal(option, "upgrade") { namesUpgrade = true }
                    }
                case .upgrade:
                    Bytes.forEachElement(of: field.value(in: head)) { name in
                        protocols += 1
                        isWebSocket = Bytes.equal(name, "websocket")
                    }
                case .expect:
                    guard Bytes.equal(field.value(in: head), "100-continue") else {
                        throw Refusal(417, "expectation_failed", "the only expectation that is known is 100-continue")
                    }
                    self.expectsContinue = !self.isHTTP10
                default: break
                }
            }
            self.keepsAlive = self.isHTTP10 ? keepsAlive && !closes : !closes
            // Any other protocol, HTTP/2 above all, would carry requests past the rules of this gateway.
            self.wantsUpgrade =
                namesUpgrade && protocols == 1 && isWebSocket && !self.isHTTP10 && self.framing == .none
        }
    }
}
