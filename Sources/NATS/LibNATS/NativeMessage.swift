import CNATS
import Glibc
import NIOCore

/// Messages across the border: each payload is copied once, from libnats into a buffer or the other way.
enum NativeMessage {
    /// Copies a message and frees the original.
    ///
    /// - Parameters:
    ///   - native: the original.
    ///   - likely: what its subject probably is, so that most messages of a subscription share one text.
    /// - Returns: the copy.
    static func take(_ native: OpaquePointer, likely: String = "") -> NATSMessage {
        defer { natsMsg_Destroy(native) }
        var payload = ByteBuffer()
        let length = Int(natsMsg_GetDataLength(native))
        if length > 0, let data = natsMsg_GetData(native) {
            payload.reserveCapacity(length)
            payload.writeBytes(UnsafeRawBufferPointer(start: data, count: length))
        }
        return NATSMessage(
            subject: natsMsg_GetSubject(native).map { strcmp($0, likely) == 0 ? likely : String(cString: $0) } ?? "",
            reply: natsMsg_GetReply(native).map { String(cString: $0) },
            headers: self.headers(native),
            payload: payload
        )
    }

    private static func headers(_ native: OpaquePointer) -> NATSHeaders {
        var headers = NATSHeaders()
        var names: UnsafeMutablePointer<UnsafePointer<CChar>?>?
        var count: Int32 = 0
        // Without headers this says "not found" and allocates nothing; with damaged ones it says so, and they are left out.
        guard natsMsgHeader_Keys(native, &names, &count) == NATS_OK, let names else { return headers }
        defer { free(names) }
        for name in UnsafeBufferPointer(start: names, count: Int(count)) {
            guard let name else { continue }
            var values: UnsafeMutablePointer<UnsafePointer<CChar>?>?
            var valueCount: Int32 = 0
            guard natsMsgHeader_Values(native, name, &values, &valueCount) == NATS_OK, let values else { continue }
            defer { free(values) }
            for value in UnsafeBufferPointer(start: values, count: Int(valueCount)) {
                headers.add(String(cString: name), value.map { String(cString: $0) } ?? "")
            }
        }
        return headers
    }

    /// Hands a message to libnats, which puts it behind what it has not written yet.
    static func publish(_ message: NATSMessage, on connection: OpaquePointer) -> NativeStatus {
        message.payload.withUnsafeReadableBytes { bytes in
            let data = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            let length = Int32(bytes.count)
            guard !message.headers.isEmpty else {
                // Goes straight into the write buffer.
                return NativeStatus(
                    message.reply.map { natsConnection_PublishRequest(connection, message.subject, $0, data, length) }
                        ?? natsConnection_Publish(connection, message.subject, data, length)
                )
            }
            var native: OpaquePointer?
            var status = natsMsg_Create(&native, message.subject, message.reply, data, length)
            defer { natsMsg_Destroy(native) }
            for field in message.headers.fields where status == NATS_OK {
                status = natsMsgHeader_Add(native, field.name, field.value)
            }
            return NativeStatus(status == NATS_OK ? natsConnection_PublishMsg(connection, native) : status)
        }
    }
}
