#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Which bytes may stand where in a message (RFC 9110, section 5.6; RFC 9112, sections 2 and 3).
enum Bytes {
    static let cr = UInt8(ascii: "\r")
    static let lf = UInt8(ascii: "\n")
    static let space = UInt8(ascii: " ")
    static let tab = UInt8(ascii: "\t")
    static let colon = UInt8(ascii: ":")

    /// Whether a byte may stand in a token: names of fields, and methods.
    @inline(__always)
    static func isToken(_ byte: UInt8) -> Bool {
        let bits: UInt64 = byte < 64 ? 0x3ff_6cfa_0000_0000 : 0x57ff_ffff_c7ff_fffe
        return byte < 128 && bits >> UInt64(byte & 63) & 1 == 1
    }

    /// Whether a byte may stand in the value of a field; what is above ASCII is opaque, and passes.
    @inline(__always)
    static func isValue(_ byte: UInt8) -> Bool { (byte >= 0x20 && byte != 0x7F) || byte == Self.tab }

    /// Whether all of some bytes may stand in the value of a field.
    static func areValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            // The highest bit of a byte stays set where one below a space, or a DEL, stands; a tab is one too, and looked at again.
            let control = (word &- 0x2020_2020_2020_2020) & ~word
            let difference = word ^ 0x7F7F_7F7F_7F7F_7F7F
            let delete = (difference &- 0x0101_0101_0101_0101) & ~difference
            if (control | delete) & 0x8080_8080_8080_8080 != 0 {
                for byte in bytes[index..<index + 8] where !Self.isValue(byte) { return false }
            }
            index += 8
        }
        while index < bytes.count {
            guard Self.isValue(bytes[index]) else { return false }
            index += 1
        }
        return true
    }

    /// Whether a byte may stand in a request target; a fragment is none of a server's business.
    @inline(__always)
    static func isTarget(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "#") }

    /// Whether a byte may stand in a host with its port.
    static func isHost(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: ":"),
            UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "%"),
            UInt8(ascii: "!"), UInt8(ascii: "$"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "("),
            UInt8(ascii: ")"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: ";"), UInt8(ascii: "="):
            true
        default: false
        }
    }

    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

    /// The value of a hexadecimal digit; nil for anything else.
    @inline(__always)
    static func hexDigit(_ byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    @inline(__always)
    static func lowercase(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }

    /// Whether bytes are a text that is given in lower case, in any case.
    static func equal(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        for index in 0..<bytes.count where Self.lowercase(bytes[index]) != text.utf8Start[index] { return false }
        return true
    }

    /// Whether bytes are a text, to the letter.
    static func isExactly(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount, let base = bytes.baseAddress else { return false }
        return memcmp(base, text.utf8Start, bytes.count) == 0
    }

    /// Whether two runs of bytes are the same in any case.
    static func equal(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        for index in 0..<left.count where Self.lowercase(left[index]) != Self.lowercase(right[index]) { return false }
        return true
    }

    /// The bytes without spaces and tabs at either end.
    static func trimmed(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var (start, end) = (0, bytes.count)
        while start < end, bytes[start] == Self.space || bytes[start] == Self.tab { start += 1 }
        while end > start, bytes[end - 1] == Self.space || bytes[end - 1] == Self.tab { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }

    /// Calls a body with each element of a comma-separated list, trimmed; empty ones are skipped.
    static func forEachElement(of list: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
        var start = 0
        for index in 0...list.count where index == list.count || list[index] == UInt8(ascii: ",") {
            let element = Self.trimmed(UnsafeRawBufferPointer(rebasing: list[start..<index]))
            if !element.isEmpty { body(element) }
            start = index + 1
        }
    }

    /// Whether a media type is the one of event streams, with or without parameters.
    static func isEventStream(_ value: UnsafeRawBufferPointer) -> Bool {
        let end = value.firstIndex { $0 == UInt8(ascii: ";") } ?? value.count
        return Self.equal(Self.trimmed(UnsafeRawBufferPointer(rebasing: value[..<end])), "text/event-stream")
    }

    /// A decimal number without sign; nil for anything else, and for more than 18 digits.
    static func decimal(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard (1...18).contains(bytes.count) else { return nil }
        var value = 0
        for byte in bytes {
            guard Self.isDigit(byte) else { return nil }
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return value
    }

    /// The next line feed at or after an offset.
    @inline(__always)
    static func lineFeed(in bytes: UnsafeRawBufferPointer, from offset: Int) -> Int? {
        guard offset < bytes.count, let base = bytes.baseAddress else { return nil }
        guard let found = memchr(base + offset, Int32(Self.lf), bytes.count - offset) else { return nil }
        return UnsafeRawPointer(found) - base
    }
}
