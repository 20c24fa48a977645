package import NIOCore

/// A small JSON object, read once: the control parts of the protocol.
///
/// Values stay text until they are asked for.
package struct JSONObject: Sendable, Hashable {
    private var members: [String: ByteBuffer] = [:]

    /// Reads the object that fills the buffer.
    ///
    /// - Parameter buffer: JSON text.
    /// - Throws: `JSONSyntaxError` when the text is not one JSON object.
    package init(_ buffer: ByteBuffer) throws(JSONSyntaxError) {
        let bytes = buffer.readableBytesUInt8Span
        var scanner = JSONScanner()
        guard scanner.beginObject(bytes) else { throw scanner.error("an object") }
        while let key = try scanner.nextKey(bytes, isFirst: self.members.isEmpty) {
            let range = try scanner.skipValue(bytes)
            let value = buffer.getSlice(at: buffer.readerIndex + range.lowerBound, length: range.count)
            self.members[key.string(in: bytes)] = value
        }
        try scanner.finish(bytes)
    }

    /// The text of a value.
    package subscript(key: String) -> ByteBuffer? { self.members[key] }

    /// The keys, in no order.
    package var keys: Dictionary<String, ByteBuffer>.Keys { self.members.keys }

    /// The value, if it is a string.
    package func string(_ key: String) -> String? { self.members[key].flatMap(Self.string) }

    /// The value, if it is an array that holds only strings.
    package func strings(_ key: String) -> [String]? { self.members[key].flatMap(Self.strings) }

    /// The value, if it is an object.
    package func object(_ key: String) -> JSONObject? { self.members[key].flatMap { try? JSONObject($0) } }

    /// Whether the key is absent or its value is `null`.
    package func isNull(_ key: String) -> Bool { self.members[key].map { $0 == ByteBuffer.jsonNull } ?? true }

    /// Reads a buffer that holds one JSON string.
    package static func string(_ buffer: ByteBuffer) -> String? {
        let bytes = buffer.readableBytesUInt8Span
        var scanner = JSONScanner()
        guard scanner.peek(bytes) == UInt8(ascii: "\""), let text = try? scanner.scanString(bytes) else { return nil }
        guard (try? scanner.finish(bytes)) != nil else { return nil }
        return text.string(in: bytes)
    }

    /// Reads a buffer that holds one JSON array of strings.
    package static func strings(_ buffer: ByteBuffer) -> [String]? {
        let bytes = buffer.readableBytesUInt8Span
        var scanner = JSONScanner()
        guard scanner.beginArray(bytes) else { return nil }
        var strings: [String] = []
        while let more = try? scanner.nextElement(bytes, isFirst: strings.isEmpty) {
            guard more else { return (try? scanner.finish(bytes)) == nil ? nil : strings }
            guard scanner.peek(bytes) == UInt8(ascii: "\""), let text = try? scanner.scanString(bytes) else {
                return nil
            }
            strings.append(text.string(in: bytes))
        }
        return nil
    }
}

extension ByteBuffer {
    /// The JSON text `null`.
    package static let jsonNull = ByteBuffer(string: "null")

    /// A JSON object of strings, keys in alphabetical order.
    package static func jsonObject(_ members: [String: String]) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt8(ascii: "{"))
        for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
            if index > 0 { buffer.writeInteger(UInt8(ascii: ",")) }
            buffer.writeJSONString(member.key)
            buffer.writeInteger(UInt8(ascii: ":"))
            buffer.writeJSONString(member.value)
        }
        buffer.writeInteger(UInt8(ascii: "}"))
        return buffer
    }
}
