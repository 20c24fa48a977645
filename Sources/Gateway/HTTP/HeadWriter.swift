import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Writes a head into memory whose size is known before: a buffer of NIO's takes hundreds of instructions for each piece.
struct HeadWriter: ~Copyable {
    private let memory: UnsafeMutableRawBufferPointer
    private let limit: Int
    private(set) var count = 0

    /// Creates a writer.
    ///
    /// - Parameters:
    ///   - memory: where to.
    ///   - limit: bytes that are written at most, by the caller's count; a debug build holds it to that.
    init(_ memory: UnsafeMutableRawBufferPointer, limit: Int) {
        self.memory = memory
        self.limit = limit
    }

    mutating func write(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        assert(self.count + bytes.count <= self.limit, "a head is longer than its parts")
        UnsafeMutableRawBufferPointer(rebasing: self.memory[self.count..<self.count + bytes.count]).copyMemory(
            from: bytes
        )
        self.count += bytes.count
    }

    mutating func write(_ text: StaticString) {
        self.write(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func write(_ text: String) {
        var text = text
        text.withUTF8 { self.write(UnsafeRawBufferPointer($0)) }
    }

    mutating func write(_ buffer: ByteBuffer) { buffer.withUnsafeReadableBytes { self.write($0) } }

    mutating func write(_ name: StaticString, _ value: String) {
        self.write(name)
        self.write(": ")
        self.write(value)
        self.write("\r\n")
    }

    /// Sixteen hexadecimal digits.
    mutating func write(digitsOf word: UInt64) {
        withUnsafeBytes(of: Hexadecimal.digits(UInt32(truncatingIfNeeded: word >> 32)).bigEndian) { self.write($0) }
        withUnsafeBytes(of: Hexadecimal.digits(UInt32(truncatingIfNeeded: word)).bigEndian) { self.write($0) }
    }
}

enum Hexadecimal {
    /// The eight digits of a number as characters, the first one in the highest byte.
    static func digits(_ value: UInt32) -> UInt64 {
        // Each half byte moves into a byte of its own.
        var word = UInt64(value)
        word = (word << 16 | word) & 0x0000_FFFF_0000_FFFF
        word = (word << 8 | word) & 0x00FF_00FF_00FF_00FF
        word = (word << 4 | word) & 0x0F0F_0F0F_0F0F_0F0F
        let letters = (word &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return word &+ 0x3030_3030_3030_3030 &+ letters &* UInt64(UInt8(ascii: "a") - 10 - UInt8(ascii: "0"))
    }
}
