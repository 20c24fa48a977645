package import NIOCore

/// A message that has arrived.
package struct NATSMessage: Sendable, Hashable {
    package var subject: String
    /// Where the sender expects an answer, if anywhere.
    package var reply: String?
    package var headers: NATSHeaders
    package var payload: ByteBuffer

    package init(subject: String, reply: String? = nil, headers: NATSHeaders = [:], payload: ByteBuffer = ByteBuffer())
    {
        self.subject = subject
        self.reply = reply
        self.headers = headers
        self.payload = payload
    }

    /// Bytes that count against the server's limit.
    var size: Int { self.payload.readableBytes + self.headers.encodedSize }
}
