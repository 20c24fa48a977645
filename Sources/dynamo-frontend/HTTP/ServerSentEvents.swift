import NIOCore

/// Frames chunks as server-sent events.
enum ServerSentEvents {
    static let done = ByteBuffer(string: "data: [DONE]\n\n")

    /// `data: ` + the bytes + an empty line; the bytes are not looked into.
    static func data(_ payload: ByteBuffer) -> ByteBuffer {
        var event = ByteBuffer()
        event.reserveCapacity(payload.readableBytes + 8)
        event.writeStaticString("data: ")
        if payload.readableBytesView.firstIndex(where: { $0 == 0x0A || $0 == 0x0D }) == nil {
            event.writeImmutableBuffer(payload)
        } else {
            // JSON has line breaks only between its tokens, where a space means the same.
            event.writeBytes(payload.readableBytesView.lazy.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 })
        }
        event.writeStaticString("\n\n")
        return event
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
