package import NIOCore

// Strings between Swift and JSON text.

extension JSONScanner.Text {
    /// The string that the text stands for.
    ///
    /// Bytes that are not UTF-8, and halves of surrogate pairs, become U+FFFD.
    package func string(in bytes: Span<UInt8>) -> String {
        var utf8: [UInt8] = []
        utf8.reserveCapacity(self.range.count)
        guard self.hasEscapes else {
            for index in self.range { utf8.append(bytes[index]) }
            return String(decoding: utf8, as: UTF8.self)
        }
        var index = self.range.lowerBound
        while index < self.range.upperBound {
            let byte = bytes[index]
            index += 1
            guard byte == UInt8(ascii: "\\") else {
                utf8.append(byte)
                continue
            }
            let escape = bytes[index]
            index += 1
            switch escape {
            case UInt8(ascii: "b"): utf8.append(0x08)
            case UInt8(ascii: "f"): utf8.append(0x0C)
            case UInt8(ascii: "n"): utf8.append(0x0A)
            case UInt8(ascii: "r"): utf8.append(0x0D)
            case UInt8(ascii: "t"): utf8.append(0x09)
            case UInt8(ascii: "u"):
                utf8.append(contentsOf: Self.character(in: bytes, at: &index, end: self.range.upperBound))
            default: utf8.append(escape)
            }
        }
        return String(decoding: utf8, as: UTF8.self)
    }

    /// Whether the text stands for exactly this ASCII word.
    package func equals(_ word: StaticString, in bytes: Span<UInt8>) -> Bool {
        if self.hasEscapes { return self.string(in: bytes) == "\(word)" }
        return word.withUTF8Buffer { word in
            guard word.count == self.range.count else { return false }
            for (index, byte) in word.enumerated() where bytes[self.range.lowerBound + index] != byte { return false }
            return true
        }
    }

    /// Reads the digits of a `\u` escape, and its second half where the first one begins a surrogate pair.
    private static func character(in bytes: Span<UInt8>, at index: inout Int, end: Int) -> [UInt8] {
        let first = Self.codeUnit(in: bytes, at: index)
        index += 4
        if UTF16.isLeadSurrogate(first), index + 6 <= end, bytes[index] == UInt8(ascii: "\\"),
            bytes[index + 1] == UInt8(ascii: "u")
        {
            let second = Self.codeUnit(in: bytes, at: index + 2)
            if UTF16.isTrailSurrogate(second) {
                index += 6
                return Array(String(decoding: [first, second], as: UTF16.self).utf8)
            }
        }
        return Array(String(decoding: [first], as: UTF16.self).utf8)
    }

    private static func codeUnit(in bytes: Span<UInt8>, at index: Int) -> UInt16 {
        var value: UInt16 = 0
        for offset in 0..<4 { value = value << 4 | (JSONScanner.hexDigit(bytes[index + offset]) ?? 0) }
        return value
    }
}

extension ByteBuffer {
    /// Writes a string as JSON text, with its quotes.
    package mutating func writeJSONString(_ string: String) {
        self.writeInteger(UInt8(ascii: "\""))
        let needsEscapes = string.utf8.contains { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }
        if needsEscapes {
            for byte in string.utf8 { self.writeEscaped(byte) }
        } else {
            self.writeString(string)
        }
        self.writeInteger(UInt8(ascii: "\""))
    }

    private mutating func writeEscaped(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): self.writeStaticString("\\\"")
        case UInt8(ascii: "\\"): self.writeStaticString("\\\\")
        case 0x0A: self.writeStaticString("\\n")
        case 0x0D: self.writeStaticString("\\r")
        case 0x09: self.writeStaticString("\\t")
        case 0x00..<0x20:
            let digits = String(byte, radix: 16)
            self.writeString("\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
        default: self.writeInteger(byte)
        }
    }
}
