package import NIOCore

/// The control words of a response stream, as JSON strings in a frame's header.
///
/// Source: `request-plane.md` 5.1 and 5.6.
package enum ControlFrame: String, Hashable, Sendable, CaseIterable {
    /// Worker to caller: nothing follows.
    case sentinel
    /// Caller to worker: end the generation gracefully.
    case stop
    /// Caller to worker: the answer is not wanted any more.
    case kill

    /// The whole frame.
    package var encoded: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeTwoPartMessage(TwoPartMessage(header: ByteBuffer(string: "\"\(self.rawValue)\"")))
        return buffer
    }

    /// Reads a frame; nil when it is anything else.
    package init?(_ message: TwoPartMessage) {
        guard message.body.readableBytes == 0, let word = JSONObject.string(message.header) else { return nil }
        self.init(rawValue: word)
    }
}

/// The first frame of a response stream.
///
/// Source: `request-plane.md` 5.2.
package struct Handshake: Hashable, Sendable {
    package var subject: String
    package var streamType: String

    package init(subject: String, streamType: String = "response") {
        self.subject = subject
        self.streamType = streamType
    }

    /// Reads the first frame.
    ///
    /// - Parameter message: the frame.
    /// - Throws: `WireError` when it is not a handshake.
    package init(_ message: TwoPartMessage) throws(WireError) {
        guard message.body.readableBytes == 0 else { throw .malformed("handshake with a body") }
        let object: JSONObject
        do { object = try JSONObject(message.header) } catch { throw .malformed("handshake: \(error)") }
        guard let subject = object.string("subject"), let streamType = object.string("stream_type") else {
            throw .malformed("handshake without 'subject' or 'stream_type'")
        }
        self.init(subject: subject, streamType: streamType)
    }

    /// The whole frame.
    package var encoded: ByteBuffer {
        var text = ByteBuffer()
        text.writeStaticString(#"{"subject":"#)
        text.writeJSONString(self.subject)
        text.writeStaticString(#","stream_type":"#)
        text.writeJSONString(self.streamType)
        text.writeStaticString("}")
        var buffer = ByteBuffer()
        buffer.writeTwoPartMessage(TwoPartMessage(header: text))
        return buffer
    }
}

/// The second frame of a response stream: the handler has accepted the request, or why not.
///
/// Source: `request-plane.md` 5.3.
package enum Prologue: Hashable, Sendable {
    case accepted
    /// A text, and the typed error that newer releases add.
    case refused(String, RemoteError?)

    /// Reads the second frame.
    ///
    /// - Parameter message: the frame.
    /// - Throws: `WireError` when it is not a prologue.
    package init(_ message: TwoPartMessage) throws(WireError) {
        guard message.body.readableBytes == 0 else { throw .malformed("malformed prologue: it has a body") }
        let object: JSONObject
        do { object = try JSONObject(message.header) } catch { throw .malformed("malformed prologue: \(error)") }
        if object.isNull("error") {
            self = .accepted
        } else if let text = object.string("error") {
            self = .refused(text, object["typed_error"].flatMap(RemoteError.init(json:)))
        } else {
            throw .malformed("malformed prologue: 'error' is not a string")
        }
    }

    /// The whole frame.
    package var encoded: ByteBuffer {
        var text = ByteBuffer()
        switch self {
        case .accepted:
            text.writeStaticString(#"{"error":null}"#)
        case .refused(let reason, let error):
            text.writeStaticString(#"{"error":"#)
            text.writeJSONString(reason)
            if let error {
                text.writeStaticString(#","typed_error":"#)
                text.writeRemoteError(error)
            }
            text.writeStaticString("}")
        }
        var buffer = ByteBuffer()
        buffer.writeTwoPartMessage(TwoPartMessage(header: text))
        return buffer
    }
}
