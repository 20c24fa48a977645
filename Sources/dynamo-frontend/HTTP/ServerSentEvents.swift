import NIOCore

/// Frames chunks as server-sent events.
enum ServerSentEvents {
    static let done = ByteBuffer(string: "data: [DONE]\n\n")

    /// `data: ` + the bytes + an empty line; the bytes are not looked into.
    static func data(_ payload: ByteBuffer) -> ByteBuffer {
        var event = ByteBuffer()
        self.append(payload, to: &event)
        return event
    }

    /// Writes what `data` makes behind other events.
    static func append(_ payload: ByteBuffer, to events: inout ByteBuffer) {
        events.reserveCapacity(minimumWritableBytes: payload.readableBytes + 8)
        events.writeStaticString("data: ")
        let bytes = payload.readableBytesView
        if bytes.firstIndex(of: 0x0A) == nil, bytes.firstIndex(of: 0x0D) == nil {
            events.writeImmutableBuffer(payload)
        } else {
            // JSON has line breaks only between its tokens, where a space means the same.
            events.writeBytes(bytes.lazy.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 })
        }
        events.writeStaticString("\n\n")
    }

    /// A named event whose comments are comment lines, as Dynamo's frontend passes annotations on.
    static func annotation(_ name: String, comments: [String]) -> ByteBuffer {
        var text = "event: \(Self.oneLine(name))\n"
        for comment in comments { text += ": \(Self.oneLine(comment))\n" }
        return ByteBuffer(string: text + "\n")
    }

    private static func oneLine(_ text: String) -> String {
        String(text.map { $0.isNewline ? " " : $0 })
    }
}
