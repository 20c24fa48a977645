package import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Reads MessagePack value by value.
///
/// The caller asks for what it expects; anything else is an error that says what was found where. Lengths are believed only as far as
/// there are bytes, and nothing recurses here: hostile bytes cost no more than their own size.
package struct MessagePackReader {
    /// Owns what ``base`` points to, and is never changed: as long as it lives, nobody else can write there.
    private let bytes: ByteBuffer
    private let base: UnsafeRawPointer?
    private let count: Int
    /// Bytes that were read so far.
    package private(set) var offset = 0

    package init(_ bytes: ByteBuffer) {
        self.bytes = bytes
        (self.base, self.count) = bytes.withUnsafeReadableBytesWithStorageManagement { memory, _ in
            (memory.baseAddress, memory.count)
        }
    }

    /// What comes next.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        case null = "nil"
        case boolean
        case integer
        case float
        case string
        case binary
        case array
        case map
        case `extension`
    }

    /// Bytes that are left.
    package var left: Int { self.count - self.offset }

    /// Whether nothing is left.
    package var isAtEnd: Bool { self.left == 0 }

    /// - Throws: `MessagePackError` when something is left.
    package func finish() throws(MessagePackError) {
        guard self.isAtEnd else { throw self.error("\(self.left) bytes are left over") }
    }

    /// The kind of the next value, which is not read.
    package var kind: Kind {
        get throws(MessagePackError) {
            let byte = try self.peek()
            switch byte {
            case 0x00...0x7F, 0xE0...0xFF, 0xCC...0xD3: return .integer
            case 0x80...0x8F, 0xDE, 0xDF: return .map
            case 0x90...0x9F, 0xDC, 0xDD: return .array
            case 0xA0...0xBF, 0xD9, 0xDA, 0xDB: return .string
            case 0xC0: return .null
            case 0xC2, 0xC3: return .boolean
            case 0xC4, 0xC5, 0xC6: return .binary
            case 0xCA, 0xCB: return .float
            case 0xC7, 0xC8, 0xC9, 0xD4...0xD8: return .extension
            default: throw self.error("the byte \(byte) begins no value")
            }
        }
    }

    // MARK: Values

    /// Reads a nil if one comes next.
    ///
    /// - Returns: whether it was one.
    /// - Throws: `MessagePackError` at the end of the bytes.
    package mutating func readNil() throws(MessagePackError) -> Bool {
        guard try self.peek() == 0xC0 else { return false }
        self.offset += 1
        return true
    }

    package mutating func readBool() throws(MessagePackError) -> Bool {
        switch try self.peek() {
        case 0xC2:
            self.offset += 1
            return false
        case 0xC3:
            self.offset += 1
            return true
        default: throw try self.unexpected("a boolean")
        }
    }

    /// Reads a number that is not negative.
    package mutating func readUInt64() throws(MessagePackError) -> UInt64 {
        let start = self.offset
        let number = try self.readInteger()
        guard case .unsigned(let value) = number else {
            self.offset = start
            throw self.error("a number below zero where none may be")
        }
        return value
    }

    package mutating func readUInt32() throws(MessagePackError) -> UInt32 {
        let start = self.offset
        guard let value = UInt32(exactly: try self.readUInt64()) else {
            self.offset = start
            throw self.error("a number above 2^32 - 1")
        }
        return value
    }

    package mutating func readInt64() throws(MessagePackError) -> Int64 {
        let start = self.offset
        switch try self.readInteger() {
        case .negative(let value): return value
        case .unsigned(let value):
            if let value = Int64(exactly: value) { return value }
            self.offset = start
            throw self.error("a number above 2^63 - 1")
        }
    }

    /// Reads a floating-point number of either size, or an integer in its place.
    package mutating func readDouble() throws(MessagePackError) -> Double {
        switch try self.peek() {
        case 0xCA: return Double(Float(bitPattern: try self.readTagged(UInt32.self)))
        case 0xCB: return Double(bitPattern: try self.readTagged(UInt64.self))
        default:
            guard try self.kind == .integer else { throw try self.unexpected("a number") }
            switch try self.readInteger() {
            case .unsigned(let value): return Double(value)
            case .negative(let value): return Double(value)
            }
        }
    }

    /// Reads a text, which must be UTF-8.
    package mutating func readString() throws(MessagePackError) -> String {
        let size = try self.readStringSize()
        let memory = try self.pass(size)
        guard let text = String(validating: memory, as: UTF8.self) else {
            throw self.error("a string that is not UTF-8")
        }
        return text
    }

    /// Reads a text that is only compared, such as the key of a map; its bytes are not looked at otherwise.
    package mutating func readKey() throws(MessagePackError) -> MessagePackKey {
        MessagePackKey(try self.pass(try self.readStringSize()))
    }

    private mutating func readStringSize() throws(MessagePackError) -> Int {
        let size: Int
        switch try self.peek() {
        case let byte where byte & 0xE0 == 0xA0:
            self.offset += 1
            size = Int(byte & 0x1F)
        case 0xD9: size = Int(try self.readTagged(UInt8.self))
        case 0xDA: size = Int(try self.readTagged(UInt16.self))
        case 0xDB: size = Int(try self.readTagged(UInt32.self))
        default: throw try self.unexpected("a string")
        }
        return size
    }

    /// Reads binary data; nothing is copied.
    package mutating func readBinary() throws(MessagePackError) -> ByteBuffer {
        let size: Int
        switch try self.peek() {
        case 0xC4: size = Int(try self.readTagged(UInt8.self))
        case 0xC5: size = Int(try self.readTagged(UInt16.self))
        case 0xC6: size = Int(try self.readTagged(UInt32.self))
        default: throw try self.unexpected("binary data")
        }
        return try self.readSlice(size)
    }

    // MARK: Containers

    /// Reads the head of an array.
    ///
    /// - Returns: how many elements follow; never more than there are bytes left.
    /// - Throws: `MessagePackError` when something else comes, or the elements cannot all be there.
    package mutating func readArrayCount() throws(MessagePackError) -> Int {
        let count: Int
        switch try self.peek() {
        case let byte where byte & 0xF0 == 0x90:
            self.offset += 1
            count = Int(byte & 0x0F)
        case 0xDC: count = Int(try self.readTagged(UInt16.self))
        case 0xDD: count = Int(try self.readTagged(UInt32.self))
        default: throw try self.unexpected("an array")
        }
        guard count <= self.left else { throw self.cut(count, "elements") }
        return count
    }

    /// Reads the head of a map.
    ///
    /// - Returns: how many pairs of key and value follow; never more than there are bytes left.
    /// - Throws: `MessagePackError` when something else comes, or the pairs cannot all be there.
    package mutating func readMapCount() throws(MessagePackError) -> Int {
        let count: Int
        switch try self.peek() {
        case let byte where byte & 0xF0 == 0x80:
            self.offset += 1
            count = Int(byte & 0x0F)
        case 0xDE: count = Int(try self.readTagged(UInt16.self))
        case 0xDF: count = Int(try self.readTagged(UInt32.self))
        default: throw try self.unexpected("a map")
        }
        guard count <= self.left / 2 else { throw self.cut(count, "pairs") }
        return count
    }

    /// Passes over the next value with everything in it.
    ///
    /// - Throws: `MessagePackError` when it is broken or cut off.
    package mutating func skip() throws(MessagePackError) {
        var open = 1
        while open > 0 {
            open -= 1
            switch try self.kind {
            case .null, .boolean: self.offset += 1
            case .integer: _ = try self.readInteger()
            case .float: _ = try self.readDouble()
            case .string: _ = try self.readKey()
            case .binary: _ = try self.readBinary()
            case .extension: try self.skipExtension()
            case .array: open += try self.readArrayCount()
            case .map: open += 2 * (try self.readMapCount())
            }
            // Each open value needs a byte at least, which also keeps the sum small.
            guard open <= self.left else { throw self.cut(open, "values") }
        }
    }

    // MARK: Parts

    private enum Number {
        case unsigned(UInt64)
        case negative(Int64)

        init(_ value: Int64) { self = value < 0 ? .negative(value) : .unsigned(UInt64(value)) }
    }

    private mutating func readInteger() throws(MessagePackError) -> Number {
        let byte = try self.peek()
        switch byte {
        case 0x00...0x7F:
            self.offset += 1
            return .unsigned(UInt64(byte))
        case 0xE0...0xFF:
            self.offset += 1
            return .negative(Int64(Int8(bitPattern: byte)))
        case 0xCC: return .unsigned(UInt64(try self.readTagged(UInt8.self)))
        case 0xCD: return .unsigned(UInt64(try self.readTagged(UInt16.self)))
        case 0xCE: return .unsigned(UInt64(try self.readTagged(UInt32.self)))
        case 0xCF: return .unsigned(try self.readTagged(UInt64.self))
        case 0xD0: return Number(Int64(try self.readTagged(Int8.self)))
        case 0xD1: return Number(Int64(try self.readTagged(Int16.self)))
        case 0xD2: return Number(Int64(try self.readTagged(Int32.self)))
        case 0xD3: return Number(try self.readTagged(Int64.self))
        default: throw try self.unexpected("an integer")
        }
    }

    private mutating func skipExtension() throws(MessagePackError) {
        let size: Int
        let byte = try self.peek()
        switch byte {
        case 0xC7: size = Int(try self.readTagged(UInt8.self))
        case 0xC8: size = Int(try self.readTagged(UInt16.self))
        case 0xC9: size = Int(try self.readTagged(UInt32.self))
        case 0xD4...0xD8:
            self.offset += 1
            size = 1 << Int(byte - 0xD4)
        default: throw try self.unexpected("an extension")
        }
        // One byte more: the extension's type.
        _ = try self.pass(size + 1)
    }

    private func peek() throws(MessagePackError) -> UInt8 {
        guard let base = self.base, self.offset < self.count else {
            throw self.error("the bytes end where a value must be")
        }
        return base.load(fromByteOffset: self.offset, as: UInt8.self)
    }

    /// Reads the number after the first byte of a value.
    private mutating func readTagged<Value: FixedWidthInteger & BitwiseCopyable>(
        _: Value.Type
    ) throws(MessagePackError) -> Value {
        guard let base = self.base, self.left > MemoryLayout<Value>.size else {
            throw self.error("the bytes end in the middle of a value")
        }
        let value = base.loadUnaligned(fromByteOffset: self.offset + 1, as: Value.self)
        self.offset += 1 + MemoryLayout<Value>.size
        return Value(bigEndian: value)
    }

    /// Passes over bytes.
    ///
    /// - Returns: them, for as long as this reader lives.
    /// - Throws: `MessagePackError` when there are not so many.
    private mutating func pass(_ size: Int) throws(MessagePackError) -> UnsafeRawBufferPointer {
        guard size <= self.left else { throw self.cut(size, "bytes") }
        defer { self.offset += size }
        return UnsafeRawBufferPointer(start: self.base.map { $0 + self.offset }, count: size)
    }

    private mutating func readSlice(_ size: Int) throws(MessagePackError) -> ByteBuffer {
        let start = self.bytes.readerIndex + self.offset
        _ = try self.pass(size)
        // There are so many: they were passed.
        return self.bytes.getSlice(at: start, length: size) ?? ByteBuffer()
    }

    private func cut(_ count: Int, _ what: String) -> MessagePackError {
        self.error("\(count) \(what) should follow, which cannot be: \(self.left) bytes are left")
    }

    private func unexpected(_ expected: String) throws(MessagePackError) -> MessagePackError {
        self.error("expected \(expected), found \(try self.kind.rawValue)")
    }

    private func error(_ message: String) -> MessagePackError { MessagePackError(message, at: self.offset) }
}

/// A text inside the bytes of a ``MessagePackReader``, to be compared with texts that are known beforehand.
///
/// It must not outlive its reader.
package struct MessagePackKey {
    private let bytes: UnsafeRawBufferPointer

    fileprivate init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// As text, for an error.
    package var text: String { String(decoding: self.bytes, as: UTF8.self) }

    package static func ~= (text: StaticString, key: MessagePackKey) -> Bool {
        guard text.utf8CodeUnitCount == key.bytes.count else { return false }
        guard let start = key.bytes.baseAddress else { return true }
        return memcmp(text.utf8Start, start, key.bytes.count) == 0
    }
}
