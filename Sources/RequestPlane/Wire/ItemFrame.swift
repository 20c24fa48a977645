package import NIOCore

/// A data frame of a response stream.
///
/// Source: `request-plane.md` 5.4 and 5.5. The payload is neither parsed into a tree nor copied, in either direction.
package struct ItemFrame: Hashable, Sendable {
    /// What the frame delivers: nothing, one item, or an annotation followed by data.
    package var items: [ResponseItem]
    /// Whether the answer is complete with this frame.
    package var isFinal: Bool

    package init(items: [ResponseItem], isFinal: Bool) {
        self.items = items
        self.isFinal = isFinal
    }

    /// Reads the body of a data frame.
    ///
    /// - Parameter body: JSON text.
    /// - Throws: `WireError` when it is not a data frame.
    package init(_ body: ByteBuffer) throws(WireError) {
        do {
            let bytes = body.readableBytesUInt8Span
            var reader = Reader(body: body)
            if let payload = Self.plainPayload(bytes) {
                self.init(items: [.data(reader.slice(payload))], isFinal: false)
            } else {
                self = try reader.read(bytes)
            }
        } catch let error as JSONSyntaxError {
            throw .malformed("data frame: \(error)")
        } catch let error as WireError {
            throw error
        } catch {
            throw .malformed("data frame: \(error)")
        }
    }
}

// MARK: - Plain payloads

extension ItemFrame {
    /// What nearly every frame has around its payload: one for each token, so that reading and writing it is worth a short cut.
    private static var plainPrefix: StaticString { #"{"data":{"data":"# }
    private static var plainSuffix: StaticString { #"},"complete_final":false}"# }

    /// Where the payload is in a frame that is written just so; nil for every other frame, and for what is no frame.
    private static func plainPayload(_ bytes: Span<UInt8>) -> Range<Int>? {
        let (prefix, suffix) = (Self.plainPrefix, Self.plainSuffix)
        let end = bytes.count - suffix.utf8CodeUnitCount
        guard end > prefix.utf8CodeUnitCount, Self.matches(prefix, bytes, at: 0), Self.matches(suffix, bytes, at: end)
        else { return nil }
        var scanner = JSONScanner(position: prefix.utf8CodeUnitCount)
        guard let payload = try? scanner.skipValue(bytes), payload.upperBound == end else { return nil }
        return payload
    }

    private static func matches(_ text: StaticString, _ bytes: Span<UInt8>, at start: Int) -> Bool {
        text.withUTF8Buffer { text in
            for index in text.indices where bytes[start + index] != text[index] { return false }
            return true
        }
    }

    /// Writes the whole frame of a payload.
    fileprivate static func writePlain(_ payload: ByteBuffer, to buffer: inout ByteBuffer) {
        let (prefix, suffix) = (Self.plainPrefix, Self.plainSuffix)
        let bodySize = prefix.utf8CodeUnitCount + payload.readableBytes + suffix.utf8CodeUnitCount
        let size = TwoPartMessage.preambleSize + bodySize
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { target in
            var rest = target[...]
            func put(_ bytes: UnsafeRawBufferPointer) {
                UnsafeMutableRawBufferPointer(rebasing: rest.prefix(bytes.count)).copyMemory(from: bytes)
                rest = rest.dropFirst(bytes.count)
            }
            withUnsafeBytes(of: (UInt64(0), UInt64(bodySize).bigEndian, UInt64(0)), put)
            prefix.withUTF8Buffer { put(UnsafeRawBufferPointer($0)) }
            payload.withUnsafeReadableBytes(put)
            suffix.withUTF8Buffer { put(UnsafeRawBufferPointer($0)) }
            return size
        }
    }
}

// MARK: - Reading

extension ItemFrame {
    private struct Reader {
        let body: ByteBuffer
        var scanner = JSONScanner()
        var completeFinal: Bool?
        var hasItem = false
        var data: Range<Int>?
        var event: String?
        var comments: [String]?
        var error: Range<Int>?
        /// The whole object, where it has nothing that a wrapping has.
        var bare: Range<Int>?

        init(body: ByteBuffer) { self.body = body }

        mutating func read(_ bytes: Span<UInt8>) throws -> ItemFrame {
            guard self.scanner.beginObject(bytes) else { throw self.scanner.error("an object") }
            var isFirst = true
            while let key = try self.scanner.nextKey(bytes, isFirst: isFirst) {
                isFirst = false
                if key.equals("data", in: bytes) {
                    try self.readAnnotatedItem(bytes)
                } else if key.equals("complete_final", in: bytes) {
                    self.completeFinal = try self.readBool(bytes)
                } else {
                    _ = try self.scanner.skipValue(bytes)
                }
            }
            try self.scanner.finish(bytes)
            guard let isFinal = self.completeFinal else {
                throw WireError.malformed("data frame without 'complete_final'")
            }
            if !self.hasItem {
                if isFinal { return ItemFrame(items: [], isFinal: true) }
                throw WireError.malformed("empty data frame that is not the final one")
            }
            return ItemFrame(items: self.makeItems(), isFinal: isFinal)
        }

        private mutating func readAnnotatedItem(_ bytes: Span<UInt8>) throws {
            self.hasItem = false
            guard self.scanner.beginObject(bytes) else {
                if self.slice(try self.scanner.skipValue(bytes)) != .jsonNull {
                    throw WireError.malformed("data frame whose 'data' is not an object")
                }
                return
            }
            self.hasItem = true
            self.bare = nil
            let start = self.scanner.position - 1
            var isBare = true
            var isFirst = true
            while let key = try self.scanner.nextKey(bytes, isFirst: isFirst) {
                isFirst = false
                if key.isPartOfWrapping(in: bytes) { isBare = false }
                if key.equals("data", in: bytes) {
                    self.data = try self.scanner.skipValue(bytes)
                } else if key.equals("event", in: bytes) {
                    self.event = JSONObject.string(self.slice(try self.scanner.skipValue(bytes)))
                } else if key.equals("comment", in: bytes) {
                    self.comments = JSONObject.strings(self.slice(try self.scanner.skipValue(bytes)))
                } else if key.equals("error", in: bytes) {
                    self.error = try self.scanner.skipValue(bytes)
                } else {
                    _ = try self.scanner.skipValue(bytes)
                }
            }
            // An empty object is a wrapping around nothing.
            if isBare, !isFirst { self.bare = start..<self.scanner.position }
        }

        private mutating func readBool(_ bytes: Span<UInt8>) throws -> Bool {
            let range = try self.scanner.skipValue(bytes)
            switch bytes[range.lowerBound] {
            case UInt8(ascii: "t"): return true
            case UInt8(ascii: "f"): return false
            default: throw WireError.malformed("data frame whose 'complete_final' is not a boolean")
            }
        }

        private func makeItems() -> [ResponseItem] {
            if let bare = self.bare { return [.bare(self.slice(bare))] }
            if self.event == "error" {
                let text = self.comments?.joined(separator: "; ")
                let error = self.error.flatMap { RemoteError(json: self.slice($0)) }
                return [.failure(error ?? RemoteError(kind: .unknown, message: text ?? "no message"))]
            }
            var items: [ResponseItem] = []
            if self.event != nil || self.comments != nil {
                items.append(.annotation(event: self.event ?? "", comments: self.comments ?? []))
            }
            if let data = self.data {
                items.append(.data(self.slice(data)))
            } else if items.isEmpty {
                items.append(.data(.jsonNull))
            }
            return items
        }

        func slice(_ range: Range<Int>) -> ByteBuffer {
            self.body.getSlice(at: self.body.readerIndex + range.lowerBound, length: range.count) ?? ByteBuffer()
        }
    }
}

extension JSONScanner.Text {
    /// Whether this is a key of the annotation that most items are wrapped in.
    fileprivate func isPartOfWrapping(in bytes: Span<UInt8>) -> Bool {
        self.equals("data", in: bytes) || self.equals("event", in: bytes) || self.equals("comment", in: bytes)
            || self.equals("error", in: bytes) || self.equals("id", in: bytes)
    }
}

// MARK: - Writing

extension ByteBuffer {
    /// Writes an item as a whole frame.
    package mutating func writeItemFrame(_ item: ResponseItem) {
        switch item {
        case .data(let item):
            // No payload is not JSON, and would make the whole frame unreadable.
            ItemFrame.writePlain(item.readableBytes > 0 ? item : .jsonNull, to: &self)
        case .bare(let item):
            var body = ByteBuffer(string: #"{"data":"#)
            body.writeImmutableBuffer(item.readableBytes > 0 ? item : .jsonNull)
            body.writeStaticString(#","complete_final":false}"#)
            self.writeTwoPartMessage(TwoPartMessage(body: body))
        case .annotation(let event, let comments):
            var body = ByteBuffer(string: #"{"data":{"event":"#)
            body.writeJSONString(event)
            body.writeStaticString(#","comment":["#)
            for (index, comment) in comments.enumerated() {
                if index > 0 { body.writeStaticString(",") }
                body.writeJSONString(comment)
            }
            body.writeStaticString(#"]},"complete_final":false}"#)
            self.writeTwoPartMessage(TwoPartMessage(body: body))
        case .failure(let error):
            var body = ByteBuffer(string: #"{"data":{"event":"error","error":"#)
            body.writeRemoteError(error)
            body.writeStaticString(#"},"complete_final":false}"#)
            self.writeTwoPartMessage(TwoPartMessage(body: body))
        }
    }

    /// Writes the frame that means success.
    package mutating func writeFinalFrame() {
        self.writeTwoPartMessage(TwoPartMessage(body: ByteBuffer(string: #"{"complete_final":true}"#)))
    }
}
