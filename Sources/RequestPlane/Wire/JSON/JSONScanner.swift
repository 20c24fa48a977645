/// Walks over JSON text without building a tree.
///
/// The scanner holds only a position, so that the text can stay where it was received and values can be sliced out of it. It accepts
/// exactly the grammar of RFC 8259, except that the text inside strings is not checked to be UTF-8.
package struct JSONScanner: Sendable {
    /// How deep arrays and objects may be nested, so that hostile text cannot exhaust the stack.
    package static let maximumDepth = 512

    /// The offset of the next byte to read.
    package private(set) var position: Int

    package init(position: Int = 0) { self.position = position }

    /// The content of a string, between its quotes.
    package struct Text: Hashable, Sendable {
        package var range: Range<Int>
        package var hasEscapes: Bool
    }
}

/// Where and why text is not JSON.
package struct JSONSyntaxError: Error, Hashable, CustomStringConvertible {
    package var offset: Int
    package var expected: String
    package var description: String { "not JSON: expected \(self.expected) at byte \(self.offset)" }
}

// MARK: - Structure

extension JSONScanner {
    /// Skips white space and returns the next byte without consuming it.
    package mutating func peek(_ bytes: Span<UInt8>) -> UInt8? {
        let count = bytes.count
        while self.position < count {
            switch bytes[self.position] {
            case 0x20, 0x09, 0x0A, 0x0D: self.position += 1
            case let byte: return byte
            }
        }
        return nil
    }

    /// Consumes the opening brace of an object, if the next value is one.
    package mutating func beginObject(_ bytes: Span<UInt8>) -> Bool {
        guard self.peek(bytes) == UInt8(ascii: "{") else { return false }
        self.position += 1
        return true
    }

    /// Reads the next key of an object and its colon, so that the value is next; nil after the closing brace.
    package mutating func nextKey(_ bytes: Span<UInt8>, isFirst: Bool) throws(JSONSyntaxError) -> Text? {
        switch self.peek(bytes) {
        case UInt8(ascii: "}"):
            self.position += 1
            return nil
        case UInt8(ascii: ",") where !isFirst:
            self.position += 1
        default:
            if !isFirst { throw self.error("',' or '}'") }
        }
        guard self.peek(bytes) == UInt8(ascii: "\"") else { throw self.error("a key") }
        let key = try self.scanString(bytes)
        guard self.peek(bytes) == UInt8(ascii: ":") else { throw self.error("':'") }
        self.position += 1
        return key
    }

    /// Consumes the opening bracket of an array, if the next value is one.
    package mutating func beginArray(_ bytes: Span<UInt8>) -> Bool {
        guard self.peek(bytes) == UInt8(ascii: "[") else { return false }
        self.position += 1
        return true
    }

    /// Moves to the next element of an array, so that it is the next value; false after the closing bracket.
    package mutating func nextElement(_ bytes: Span<UInt8>, isFirst: Bool) throws(JSONSyntaxError) -> Bool {
        switch self.peek(bytes) {
        case UInt8(ascii: "]"):
            self.position += 1
            return false
        case UInt8(ascii: ",") where !isFirst:
            self.position += 1
            return true
        default:
            if !isFirst { throw self.error("',' or ']'") }
            return true
        }
    }

    /// Requires that nothing but white space follows.
    package mutating func finish(_ bytes: Span<UInt8>) throws(JSONSyntaxError) {
        if self.peek(bytes) != nil { throw self.error("the end") }
    }

    package func error(_ expected: String) -> JSONSyntaxError {
        JSONSyntaxError(offset: self.position, expected: expected)
    }
}

// MARK: - Values

extension JSONScanner {
    /// Skips one value of any kind and returns where it was.
    package mutating func skipValue(_ bytes: Span<UInt8>) throws(JSONSyntaxError) -> Range<Int> {
        _ = self.peek(bytes)
        let start = self.position
        try self.skip(bytes, depth: 0)
        return start..<self.position
    }

    /// Reads a string value; the next byte must be its quote.
    package mutating func scanString(_ bytes: Span<UInt8>) throws(JSONSyntaxError) -> Text {
        guard self.position < bytes.count, bytes[self.position] == UInt8(ascii: "\"") else {
            throw self.error("a string")
        }
        self.position += 1
        let start = self.position
        var hasEscapes = false
        while true {
            self.position = Self.plainEnd(bytes, from: self.position)
            guard self.position < bytes.count else { break }
            switch bytes[self.position] {
            case UInt8(ascii: "\""):
                self.position += 1
                return Text(range: start..<(self.position - 1), hasEscapes: hasEscapes)
            case UInt8(ascii: "\\"):
                hasEscapes = true
                try self.skipEscape(bytes)
            default: throw self.error("no control character in a string")
            }
        }
        throw self.error("the end of a string")
    }

    /// Where the bytes end that mean themselves: at a quote, a backslash, a control character, or the end of the text.
    private static func plainEnd(_ bytes: Span<UInt8>, from start: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let tops: UInt64 = 0x8080_8080_8080_8080
        let raw = bytes.bytes
        var position = start
        // Eight at a time. Subtracting sets the top bit of the first byte that is too small, and of none before it.
        while position + 8 <= bytes.count {
            let word = UInt64(littleEndian: raw.unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self))
            let quote = word ^ (ones &* 0x22)
            let backslash = word ^ (ones &* 0x5C)
            let found =
                ((quote &- ones) & ~quote | (backslash &- ones) & ~backslash | (word &- (ones &* 0x20)) & ~word) & tops
            if found != 0 { return position + found.trailingZeroBitCount / 8 }
            position += 8
        }
        while position < bytes.count {
            switch bytes[position] {
            case 0..<0x20, UInt8(ascii: "\""), UInt8(ascii: "\\"): return position
            default: position += 1
            }
        }
        return position
    }

    private mutating func skip(_ bytes: Span<UInt8>, depth: Int) throws(JSONSyntaxError) {
        guard depth < Self.maximumDepth else { throw self.error("at most \(Self.maximumDepth) levels") }
        switch self.peek(bytes) {
        case UInt8(ascii: "\""):
            _ = try self.scanString(bytes)
        case UInt8(ascii: "{"):
            self.position += 1
            var isFirst = true
            while try self.nextKey(bytes, isFirst: isFirst) != nil {
                isFirst = false
                try self.skip(bytes, depth: depth + 1)
            }
        case UInt8(ascii: "["):
            self.position += 1
            var isFirst = true
            while try self.nextElement(bytes, isFirst: isFirst) {
                isFirst = false
                try self.skip(bytes, depth: depth + 1)
            }
        case UInt8(ascii: "t"): try self.skipWord("true", bytes)
        case UInt8(ascii: "f"): try self.skipWord("false", bytes)
        case UInt8(ascii: "n"): try self.skipWord("null", bytes)
        case .some(UInt8(ascii: "-")), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): try self.skipNumber(bytes)
        default: throw self.error("a value")
        }
    }

    private mutating func skipWord(_ word: StaticString, _ bytes: Span<UInt8>) throws(JSONSyntaxError) {
        let matches = word.withUTF8Buffer { word in
            guard bytes.count - self.position >= word.count else { return false }
            for (index, byte) in word.enumerated() where bytes[self.position + index] != byte { return false }
            return true
        }
        guard matches else { throw self.error("true, false or null") }
        self.position += word.utf8CodeUnitCount
    }

    private mutating func skipNumber(_ bytes: Span<UInt8>) throws(JSONSyntaxError) {
        if bytes[self.position] == UInt8(ascii: "-") { self.position += 1 }
        if self.position < bytes.count, bytes[self.position] == UInt8(ascii: "0") {
            self.position += 1
        } else {
            try self.skipDigits(bytes)
        }
        if self.position < bytes.count, bytes[self.position] == UInt8(ascii: ".") {
            self.position += 1
            try self.skipDigits(bytes)
        }
        if self.position < bytes.count, bytes[self.position] | 0x20 == UInt8(ascii: "e") {
            self.position += 1
            if self.position < bytes.count,
                bytes[self.position] == UInt8(ascii: "+") || bytes[self.position] == UInt8(ascii: "-")
            {
                self.position += 1
            }
            try self.skipDigits(bytes)
        }
    }

    private mutating func skipDigits(_ bytes: Span<UInt8>) throws(JSONSyntaxError) {
        let start = self.position
        while self.position < bytes.count, bytes[self.position] &- UInt8(ascii: "0") < 10 { self.position += 1 }
        if self.position == start { throw self.error("a digit") }
    }

    private mutating func skipEscape(_ bytes: Span<UInt8>) throws(JSONSyntaxError) {
        self.position += 1
        guard self.position < bytes.count else { throw self.error("an escape") }
        switch bytes[self.position] {
        case UInt8(ascii: "u"):
            self.position += 1
            for _ in 0..<4 {
                guard self.position < bytes.count, Self.hexDigit(bytes[self.position]) != nil else {
                    throw self.error("a hexadecimal digit")
                }
                self.position += 1
            }
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            self.position += 1
        default:
            throw self.error("an escape")
        }
    }

    package static func hexDigit(_ byte: UInt8) -> UInt16? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt16(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt16(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt16(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }
}
