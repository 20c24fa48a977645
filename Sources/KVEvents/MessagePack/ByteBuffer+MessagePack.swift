package import NIOCore

// Writing MessagePack value by value; what is written often goes through one ``MessagePackCursor`` as a whole.
extension ByteBuffer {
    /// Writes values in one piece.
    ///
    /// - Parameters:
    ///   - most: bytes that they take at most.
    ///   - body: writes them.
    package mutating func writeMessagePack(upTo most: Int, _ body: (inout MessagePackCursor) -> Void) {
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: most) { bytes in
            guard let start = bytes.baseAddress else { return 0 }
            var cursor = MessagePackCursor(start, count: bytes.count)
            body(&cursor)
            return cursor.position - start
        }
    }

    package mutating func writeMessagePackNil() { self.writeMessagePack(upTo: 1) { $0.writeNil() } }

    package mutating func writeMessagePack(_ value: Bool) { self.writeMessagePack(upTo: 1) { $0.write(value) } }

    package mutating func writeMessagePack(_ value: UInt64) { self.writeMessagePack(upTo: 9) { $0.write(value) } }

    /// Writes a number that may be negative; one that is not is written as unsigned.
    package mutating func writeMessagePack(_ value: Int64) { self.writeMessagePack(upTo: 9) { $0.write(value) } }

    package mutating func writeMessagePack(_ value: UInt64?) { self.writeMessagePack(upTo: 9) { $0.write(value) } }

    package mutating func writeMessagePack(_ value: Double) { self.writeMessagePack(upTo: 9) { $0.write(value) } }

    package mutating func writeMessagePack(_ text: String) {
        self.writeMessagePack(upTo: text.utf8.count + 5) { $0.write(text) }
    }

    /// Writes a short text that is known beforehand: a key of a map.
    package mutating func writeMessagePack(key: StaticString) {
        self.writeMessagePack(upTo: key.utf8CodeUnitCount + 1) { $0.write(key: key) }
    }

    package mutating func writeMessagePack(binary: ByteBuffer) {
        binary.withUnsafeReadableBytes { bytes in
            self.writeMessagePack(upTo: bytes.count + 5) { $0.write(binary: bytes) }
        }
    }

    /// Writes the head of a binary value, whose bytes must follow.
    package mutating func writeMessagePack(binaryCount size: Int) {
        self.writeMessagePack(upTo: 5) { $0.write(binaryCount: size) }
    }

    /// Writes the head of an array, whose elements must follow.
    package mutating func writeMessagePack(arrayCount count: Int) {
        self.writeMessagePack(upTo: 5) { $0.write(arrayCount: count) }
    }

    /// Writes the head of a map, whose keys and values must follow in turn.
    package mutating func writeMessagePack(mapCount count: Int) {
        self.writeMessagePack(upTo: 5) { $0.write(mapCount: count) }
    }
}
