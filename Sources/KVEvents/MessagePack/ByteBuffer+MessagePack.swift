package import NIOCore

// Writing MessagePack: every value in its shortest form, which is also what Dynamo's encoder chooses.
extension ByteBuffer {
    package mutating func writeMessagePackNil() { self.writeInteger(UInt8(0xC0)) }

    package mutating func writeMessagePack(_ value: Bool) { self.writeInteger(UInt8(value ? 0xC3 : 0xC2)) }

    package mutating func writeMessagePack(_ value: UInt64) {
        if value > UInt64(UInt32.max) {
            self.writeMultipleIntegers(UInt8(0xCF), value)
        } else if value < 0x80 {
            self.writeInteger(UInt8(value))
        } else if value <= 0xFF {
            self.writeMultipleIntegers(UInt8(0xCC), UInt8(value))
        } else if value <= 0xFFFF {
            self.writeMultipleIntegers(UInt8(0xCD), UInt16(value))
        } else {
            self.writeMultipleIntegers(UInt8(0xCE), UInt32(value))
        }
    }

    /// Writes a number that may be negative; one that is not is written as unsigned.
    package mutating func writeMessagePack(_ value: Int64) {
        if value >= 0 {
            self.writeMessagePack(UInt64(value))
        } else if value >= -32 {
            self.writeInteger(Int8(value))
        } else if let small = Int8(exactly: value) {
            self.writeMultipleIntegers(UInt8(0xD0), small)
        } else if let small = Int16(exactly: value) {
            self.writeMultipleIntegers(UInt8(0xD1), small)
        } else if let small = Int32(exactly: value) {
            self.writeMultipleIntegers(UInt8(0xD2), small)
        } else {
            self.writeMultipleIntegers(UInt8(0xD3), value)
        }
    }

    package mutating func writeMessagePack(_ value: UInt64?) {
        if let value { self.writeMessagePack(value) } else { self.writeMessagePackNil() }
    }

    package mutating func writeMessagePack(_ value: Double) {
        self.writeMultipleIntegers(UInt8(0xCB), value.bitPattern)
    }

    package mutating func writeMessagePack(_ text: String) {
        let size = text.utf8.count
        if size < 32 {
            self.writeInteger(UInt8(0xA0 | size))
        } else if size <= 0xFF {
            self.writeMultipleIntegers(UInt8(0xD9), UInt8(size))
        } else if size <= 0xFFFF {
            self.writeMultipleIntegers(UInt8(0xDA), UInt16(size))
        } else {
            self.writeMultipleIntegers(UInt8(0xDB), Self.length(size))
        }
        self.writeString(text)
    }

    /// Writes a short text that is known beforehand: a key of a map.
    package mutating func writeMessagePack(key: StaticString) {
        precondition(key.utf8CodeUnitCount < 32, "keys are short")
        self.writeInteger(UInt8(0xA0 | key.utf8CodeUnitCount))
        self.writeStaticString(key)
    }

    package mutating func writeMessagePack(binary: ByteBuffer) {
        self.writeMessagePack(binaryCount: binary.readableBytes)
        self.writeImmutableBuffer(binary)
    }

    /// Writes the head of a binary value, whose bytes must follow.
    package mutating func writeMessagePack(binaryCount size: Int) {
        if size <= 0xFF {
            self.writeMultipleIntegers(UInt8(0xC4), UInt8(size))
        } else if size <= 0xFFFF {
            self.writeMultipleIntegers(UInt8(0xC5), UInt16(size))
        } else {
            self.writeMultipleIntegers(UInt8(0xC6), Self.length(size))
        }
    }

    /// Writes the head of an array, whose elements must follow.
    package mutating func writeMessagePack(arrayCount count: Int) {
        if count < 16 {
            self.writeInteger(UInt8(0x90 | count))
        } else if count <= 0xFFFF {
            self.writeMultipleIntegers(UInt8(0xDC), UInt16(count))
        } else {
            self.writeMultipleIntegers(UInt8(0xDD), Self.length(count))
        }
    }

    /// Writes the head of a map, whose keys and values must follow in turn.
    package mutating func writeMessagePack(mapCount count: Int) {
        if count < 16 {
            self.writeInteger(UInt8(0x80 | count))
        } else if count <= 0xFFFF {
            self.writeMultipleIntegers(UInt8(0xDE), UInt16(count))
        } else {
            self.writeMultipleIntegers(UInt8(0xDF), Self.length(count))
        }
    }

    private static func length(_ count: Int) -> UInt32 {
        guard let length = UInt32(exactly: count) else {
            preconditionFailure("MessagePack has no lengths above 2^32 - 1, this is \(count)")
        }
        return length
    }
}
