import NIOCore
import NIOHPACK
import NIOHTTP1
import RequestPlane

/// A request as the HTTP plane carries it, for either version of the protocol.
///
/// What precedes the payload in the body is kept apart, so that a large payload is handed to the socket without a copy.
struct EncodedHTTPRequest: Hashable, Sendable {
    var method = Method.post
    var url: HTTPInstanceURL
    /// Plane-level headers, names in lower case.
    var headers: [String: String]
    /// Preamble and control header of the two-part message.
    var head: ByteBuffer
    var body: ByteBuffer

    enum Method: String, Hashable, Sendable {
        case post = "POST"
        /// Asks a server for its limits.
        case options = "OPTIONS"
    }

    /// Bodies up to this size are copied behind their head, so that they leave in one frame.
    private static let copyLimit = 8192

    /// The size of the HTTP body.
    var size: Int { self.head.readableBytes + self.body.readableBytes }

    /// Encodes a request.
    ///
    /// - Parameters:
    ///   - url: where it goes.
    ///   - headers: the plane-level headers.
    ///   - control: the control header.
    ///   - body: the request itself.
    /// - Throws: `RequestPlaneError` when HTTP cannot carry a header.
    init(
        url: HTTPInstanceURL,
        headers: [String: String],
        control: ControlHeader,
        body: ByteBuffer
    ) throws(RequestPlaneError) {
        self.url = url
        self.headers = [:]
        for (name, value) in headers {
            let name = name.lowercased()
            guard Self.isToken(name), !Self.reserved.contains(name), Self.isFieldValue(value) else {
                throw RequestPlaneError(
                    .protocolViolation,
                    "HTTP cannot carry the header '\(name)' with the value '\(value)'; remove the header from the request"
                )
            }
            self.headers[name] = value
        }
        let controlText = control.encode()
        var head = ByteBuffer()
        head.reserveCapacity(TwoPartMessage.preambleSize + controlText.readableBytes)
        head.writeTwoPartPreamble(headerSize: controlText.readableBytes, bodySize: body.readableBytes)
        head.writeImmutableBuffer(controlText)
        self.head = head
        self.body = body
    }

    /// Asks a server for its limits.
    init(optionsOf url: HTTPInstanceURL) {
        self.method = .options
        self.url = url
        self.headers = [:]
        self.head = ByteBuffer()
        self.body = ByteBuffer()
    }

    // MARK: Forms

    /// The body in the pieces to write.
    var pieces: [ByteBuffer] {
        if self.size == 0 { return [] }
        if self.body.readableBytes > Self.copyLimit { return [self.head, self.body] }
        var whole = self.head
        whole.writeImmutableBuffer(self.body)
        return [whole]
    }

    /// The header block of HTTP/2.
    var http2Headers: HPACKHeaders {
        var block = HPACKHeaders()
        block.reserveCapacity(self.headers.count + 7)
        block.add(name: ":method", value: self.method.rawValue)
        block.add(name: ":scheme", value: "http")
        block.add(name: ":authority", value: self.url.authority)
        block.add(name: ":path", value: self.url.path)
        self.addFields { name, value, changes in
            // What differs from request to request would only push useful entries out of the table.
            block.add(name: name, value: value, indexing: changes ? .nonIndexable : .indexable)
        }
        return block
    }

    /// The head of HTTP/1.1.
    var http1Head: HTTPRequestHead {
        var fields = HTTPHeaders()
        fields.reserveCapacity(self.headers.count + 4)
        self.addFields { name, value, _ in fields.add(name: name, value: value) }
        fields.add(name: "host", value: self.url.authority)
        let method: HTTPMethod = self.method == .post ? .POST : .OPTIONS
        return HTTPRequestHead(version: .http1_1, method: method, uri: self.url.path, headers: fields)
    }

    private func addFields(_ add: (_ name: String, _ value: String, _ changes: Bool) -> Void) {
        if self.method == .post { add("content-type", "application/octet-stream", false) }
        for (name, value) in self.headers { add(name, value, true) }
        add("accept", "*/*", false)
        add("content-length", String(self.size), true)
    }

    // MARK: Checks

    /// Set by this library alone.
    private static let reserved: Set<String> = [
        "accept", "connection", "content-length", "content-type", "expect", "host", "http2-settings", "keep-alive",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    ]

    private static func isToken(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    private static func isFieldValue(_ value: String) -> Bool {
        value.utf8.allSatisfy { $0 == 0x09 || ($0 >= 0x20 && $0 != 0x7F) } && value.utf8.first != 0x20
            && value.utf8.last != 0x20
    }
}
