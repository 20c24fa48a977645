package import NIOCore

/// The control header of a request: who asks, and where the answer goes.
///
/// Source: `request-plane.md` 1.1. On the wire, `info` is a string that holds JSON.
package struct ControlHeader: Hashable, Sendable {
    /// The request's id.
    package var id: String
    /// How the answer travels; `tcp_server` is the only kind that this library answers.
    package var transport: String
    /// Where the answer goes, as JSON text.
    package var info: String
    /// The encoding of body and items; absent means JSON.
    ///
    /// Only releases after 1.2 write it.
    package var payloadCodec: String?

    /// The transport that this library knows.
    package static let tcpServer = "tcp_server"

    package init(id: String, transport: String = Self.tcpServer, info: String, payloadCodec: String? = nil) {
        self.id = id
        self.transport = transport
        self.info = info
        self.payloadCodec = payloadCodec
    }

    /// Reads a control header.
    ///
    /// - Parameter buffer: the header of a request's two-part message.
    /// - Throws: `WireError` when it is not JSON or lacks a field.
    package init(_ buffer: ByteBuffer) throws(WireError) {
        let object: JSONObject
        do { object = try JSONObject(buffer) } catch { throw .malformed("control header: \(error)") }
        guard let id = object.string("id") else { throw .malformed("control header without a string 'id'") }
        guard let connection = object.object("connection_info"), let transport = connection.string("transport") else {
            throw .malformed("control header without 'connection_info.transport'")
        }
        guard let info = connection.string("info") else {
            throw .malformed("control header whose 'connection_info.info' is not a string")
        }
        self.init(id: id, transport: transport, info: info, payloadCodec: object.string("payload_codec"))
        if self.payloadCodec == nil, !object.isNull("payload_codec") {
            throw .malformed("control header whose 'payload_codec' is not a string")
        }
    }

    /// The JSON text.
    package func encode() -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(320 + self.info.utf8.count)
        buffer.writeStaticString(#"{"id":"#)
        buffer.writeJSONString(self.id)
        buffer.writeStaticString(#","request_type":"single_in","response_type":"many_out","#)
        if let payloadCodec = self.payloadCodec {
            buffer.writeStaticString(#""payload_codec":"#)
            buffer.writeJSONString(payloadCodec)
            buffer.writeStaticString(",")
        }
        buffer.writeStaticString(#""connection_info":{"transport":"#)
        buffer.writeJSONString(self.transport)
        buffer.writeStaticString(#","info":"#)
        buffer.writeJSONString(self.info)
        buffer.writeStaticString("}}")
        return buffer
    }
}

/// Where a worker calls home to; the content of `info`.
package struct CallHomeAddress: Hashable, Sendable {
    /// `host:port`.
    package var address: String
    /// The key by which the caller finds the request that a connection belongs to.
    package var subject: String
    /// Must equal the request's id.
    package var context: String
    /// `response`, the only type that callers use.
    package var streamType: String

    package init(address: String, subject: String, context: String, streamType: String = "response") {
        self.address = address
        self.subject = subject
        self.context = context
        self.streamType = streamType
    }

    /// Reads the content of `info`.
    ///
    /// - Parameter info: JSON text.
    /// - Throws: `WireError` when it is not JSON or lacks a field.
    package init(info: String) throws(WireError) {
        let object: JSONObject
        do { object = try JSONObject(ByteBuffer(string: info)) } catch { throw .malformed("connection info: \(error)") }
        func field(_ name: String) throws(WireError) -> String {
            guard let value = object.string(name) else {
                throw .malformed("connection info without a string '\(name)'")
            }
            return value
        }
        self.init(
            address: try field("address"),
            subject: try field("subject"),
            context: try field("context"),
            streamType: try field("stream_type")
        )
    }

    /// The JSON text.
    package func encode() -> String {
        var buffer = ByteBuffer()
        buffer.writeStaticString(#"{"address":"#)
        buffer.writeJSONString(self.address)
        buffer.writeStaticString(#","subject":"#)
        buffer.writeJSONString(self.subject)
        buffer.writeStaticString(#","context":"#)
        buffer.writeJSONString(self.context)
        buffer.writeStaticString(#","stream_type":"#)
        buffer.writeJSONString(self.streamType)
        buffer.writeStaticString("}")
        return String(buffer: buffer)
    }
}
