#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Writes MessagePack into memory that is reserved: every value in its shortest form, which is also what Dynamo's encoder chooses.
///
/// Whoever reserves gives the most bytes that may be needed; writing more ends the program instead of damaging memory.
package struct MessagePackCursor {
    private var place: UnsafeMutableRawPointer
    private let end: UnsafeMutableRawPointer

    init(_ place: UnsafeMutableRawPointer, count: Int) {
        self.place = place
        self.end = place + count
    }

    /// Where the next byte goes.
    var position: UnsafeMutableRawPointer { self.place }

    // MARK: Values

    mutating func writeNil() { self.put(UInt8(0xC0)) }

    mutating func write(_ value: Bool) { self.put(UInt8(value ? 0xC3 : 0xC2)) }

    mutating func write(_ value: UInt64) {
        if value > UInt64(UInt32.max) {
            self.put(0xCF, value)
        } else if value < 0x80 {
            self.put(UInt8(truncatingIfNeeded: value))
        } else if value <= 0xFF {
            self.put(0xCC, UInt8(truncatingIfNeeded: value))
        } else if value <= 0xFFFF {
            self.put(0xCD, UInt16(truncatingIfNeeded: value))
        } else {
            self.put(0xCE, UInt32(truncatingIfNeeded: value))
        }
    }

    /// Writes a number that may be negative; one that is not is written as unsigned.
    mutating func write(_ value: Int64) {
        if value >= 0 {
            self.write(UInt64(value))
        } else if value >= -32 {
            self.put(UInt8(truncatingIfNeeded: value))
        } else if let small = Int8(exactly: value) {
            self.put(0xD0, UInt8(bitPattern: small))
        } else if let small = Int16(exactly: value) {
            self.put(0xD1, UInt16(bitPattern: small))
        } else if let small = Int32(exactly: value) {
            self.put(0xD2, UInt32(bitPattern: small))
        } else {
            self.put(0xD3, UInt64(bitPattern: value))
        }
    }

    mutating func write(_ value: UInt64?) { if let value { self.write(value) } else { self.writeNil() } }

    mutating func write(_ value: Double) { self.put(0xCB, value.bitPattern) }

    mutating func write(_ text: String) {
        var text = text
        text.withUTF8 { bytes in
            let size = bytes.count
            if size < 32 {
                self.put(UInt8(0xA0 | size))
            } else if size <= 0xFF {
                self.put(0xD9, UInt8(size))
            } else if size <= 0xFFFF {
                self.put(0xDA, UInt16(size))
            } else {
                self.put(0xDB, Self.length(size))
            }
            self.put(UnsafeRawBufferPointer(bytes))
        }
    }

    /// Writes a short text that is known beforehand: a key of a map.
    mutating func write(key: StaticString) {
        let size = key.utf8CodeUnitCount
        precondition(size < 32, "keys are short")
        self.put(UInt8(0xA0 | size))
        self.put(UnsafeRawBufferPointer(start: key.utf8Start, count: size))
    }

    mutating func write(binary: UnsafeRawBufferPointer) {
        self.write(binaryCount: binary.count)
        self.put(binary)
    }

    /// Writes the head of a binary value, whose bytes must follow.
    mutating func write(binaryCount size: Int) {
        if size <= 0xFF {
            self.put(0xC4, UInt8(size))
        } else if size <= 0xFFFF {
            self.put(0xC5, UInt16(size))
        } else {
            self.put(0xC6, Self.length(size))
        }
    }

    /// Writes the head of an array, whose elements must follow.
    mutating func write(arrayCount count: Int) {
        if count < 16 {
            self.put(UInt8(0x90 | count))
        } else if count <= 0xFFFF {
            self.put(0xDC, UInt16(count))
        } else {
            self.put(0xDD, Self.length(count))
        }
    }

    /// Writes the head of a map, whose keys and values must follow in turn.
    mutating func write(mapCount count: Int) {
        if count < 16 {
            self.put(UInt8(0x80 | count))
        } else if count <= 0xFFFF {
            self.put(0xDE, UInt16(count))
        } else {
            self.put(0xDF, Self.length(count))
        }
    }

    // MARK: Bytes

    private mutating func put(_ byte: UInt8) {
        precondition(self.place < self.end, "more bytes than were reserved")
        self.place.storeBytes(of: byte, as: UInt8.self)
        self.place += 1
    }

    private mutating func put<Value: FixedWidthInteger & BitwiseCopyable>(_ tag: UInt8, _ value: Value) {
        precondition(self.end - self.place > MemoryLayout<Value>.size, "more bytes than were reserved")
        self.place.storeBytes(of: tag, as: UInt8.self)
        (self.place + 1).storeBytes(of: value.bigEndian, as: Value.self)
        self.place += 1 + MemoryLayout<Value>.size
    }

    private mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        precondition(self.end - self.place >= bytes.count, "more bytes than were reserved")
        memcpy(self.place, start, bytes.count)
        self.place += bytes.count
    }

    private static func length(_ count: Int) -> UInt32 {
        guard let length = UInt32(exactly: count) else {
            preconditionFailure("MessagePack has no lengths above 2^32 - 1, this is \(count)")
        }
        return length
    }
}
