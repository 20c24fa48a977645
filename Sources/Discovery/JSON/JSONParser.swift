package import NIOCore
import RequestPlane

extension JSONValue {
    /// Reads one JSON value (RFC 8259) and nothing after it.
    ///
    /// - Throws: `JSONError` with the place of the first fault.
    package init(parsing bytes: some Sequence<UInt8>) throws(JSONError) {
        var parser = JSONParser(bytes: Array(bytes))
        self = try parser.document()
    }

    /// Reads the readable bytes of a buffer.
    ///
    /// - Throws: `JSONError` with the place of the first fault.
    package init(parsing buffer: ByteBuffer) throws(JSONError) {
        try self.init(parsing: buffer.readableBytesView)
    }

    /// Reads a text.
    ///
    /// - Throws: `JSONError` with the place of the first fault.
    package init(parsing text: String) throws(JSONError) {
        try self.init(parsing: text.utf8)
    }
}

/// A recursive-descent reader with a limit on nesting, so that hostile input cannot exhaust the stack.
struct JSONParser {
    static let maximumDepth = 128

    private let bytes: [UInt8]
    private var position = 0
    private var depth = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(JSONError) -> JSONValue {
        self.skipSpace()
        let value = try self.value()
        self.skipSpace()
        guard self.position == self.bytes.count else { throw self.fault("trailing characters") }
        return value
    }

    private mutating func value() throws(JSONError) -> JSONValue {
        guard let byte = self.peek else { throw self.fault("EOF while parsing a value") }
        switch byte {
        case UInt8(ascii: "{"): return try self.nested { (parser) throws(JSONError) in try parser.object() }
        case UInt8(ascii: "["): return try self.nested { (parser) throws(JSONError) in try parser.array() }
        case UInt8(ascii: "\""): return .string(try self.string())
        case UInt8(ascii: "t"): return try self.literal("true", .bool(true))
        case UInt8(ascii: "f"): return try self.literal("false", .bool(false))
        case UInt8(ascii: "n"): return try self.literal("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try self.number())
        default: throw self.fault("expected value")
        }
    }

    private mutating func nested(
        _ body: (inout JSONParser) throws(JSONError) -> JSONValue
    ) throws(JSONError) -> JSONValue {
        guard self.depth < Self.maximumDepth else { throw self.fault("nesting deeper than \(Self.maximumDepth)") }
        self.depth += 1
        defer { self.depth -= 1 }
        return try body(&self)
    }

    private mutating func object() throws(JSONError) -> JSONValue {
        self.position += 1
        // Most objects have a few members: room for them at once, not by doubling.
        var object = JSONFields(capacity: 8)
        self.skipSpace()
        if self.take(UInt8(ascii: "}")) { return .object(object) }
        while true {
            self.skipSpace()
            guard self.peek == UInt8(ascii: "\"") else {
                throw self.fault(self.peek == nil ? "EOF while parsing an object" : "key must be a string")
            }
            let name = try self.string()
            self.skipSpace()
            guard self.take(UInt8(ascii: ":")) else { throw self.fault("expected `:`") }
            self.skipSpace()
            object.append(name, try self.value())
            self.skipSpace()
            if self.take(UInt8(ascii: "}")) { return .object(object) }
            guard self.take(UInt8(ascii: ",")) else {
                throw self.fault(self.peek == nil ? "EOF while parsing an object" : "expected `,` or `}`")
            }
        }
    }

    private mutating func array() throws(JSONError) -> JSONValue {
        self.position += 1
        var elements: [JSONValue] = []
        self.skipSpace()
        if self.take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            self.skipSpace()
            elements.append(try self.value())
            self.skipSpace()
            if self.take(UInt8(ascii: "]")) { return .array(elements) }
            guard self.take(UInt8(ascii: ",")) else {
                throw self.fault(self.peek == nil ? "EOF while parsing a list" : "expected `,` or `]`")
            }
        }
    }

    private mutating func literal(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        let matches = word.withUTF8Buffer { word in self.bytes[self.position...].starts(with: word) }
        guard matches else { throw self.fault("expected ident") }
        self.position += word.utf8CodeUnitCount
        return value
    }

    private mutating func number() throws(JSONError) -> String {
        let start = self.position
        _ = self.take(UInt8(ascii: "-"))
        if !self.take(UInt8(ascii: "0")) { try self.digits() }
        if self.take(UInt8(ascii: ".")) { try self.digits() }
        if self.take(UInt8(ascii: "e")) || self.take(UInt8(ascii: "E")) {
            if !self.take(UInt8(ascii: "+")) { _ = self.take(UInt8(ascii: "-")) }
            try self.digits()
        }
        return String(decoding: self.bytes[start..<self.position], as: UTF8.self)
    }

    private mutating func digits() throws(JSONError) {
        let start = self.position
        while let byte = self.peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { self.position += 1 }
        guard self.position > start else { throw self.fault("invalid number") }
    }

    private mutating func string() throws(JSONError) -> String {
        self.position += 1
        let start = self.position
        while let byte = self.peek {
            switch byte {
            case UInt8(ascii: "\""):
                let text = try self.utf8(self.bytes[start..<self.position])
                self.position += 1
                return text
            case UInt8(ascii: "\\"): return try self.escapedString(from: start)
            case 0..<0x20: throw self.fault("control character in a string")
            default: self.position += 1
            }
        }
        throw self.fault("EOF while parsing a string")
    }

    private mutating func escapedString(from start: Int) throws(JSONError) -> String {
        var unescaped = Array(self.bytes[start..<self.position])
        while let byte = self.peek {
            switch byte {
            case UInt8(ascii: "\""):
                let text = try self.utf8(unescaped[...])
                self.position += 1
                return text
            case UInt8(ascii: "\\"):
                self.position += 1
                try self.escape(into: &unescaped)
            case 0..<0x20: throw self.fault("control character in a string")
            default:
                unescaped.append(byte)
                self.position += 1
            }
        }
        throw self.fault("EOF while parsing a string")
    }

    private mutating func escape(into bytes: inout [UInt8]) throws(JSONError) {
        guard let byte = self.peek else { throw self.fault("EOF while parsing a string") }
        self.position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0C)
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "u"): bytes.append(contentsOf: Array(String(Character(try self.escapedScalar())).utf8))
        default: throw self.fault("invalid escape")
        }
    }

    private mutating func escapedScalar() throws(JSONError) -> Unicode.Scalar {
        let high = try self.fourHexDigits()
        if let scalar = Unicode.Scalar(high) { return scalar }
        guard (0xD800..<0xDC00).contains(high), self.take(UInt8(ascii: "\\")), self.take(UInt8(ascii: "u")) else {
            throw self.fault("lone surrogate in a string")
        }
        let low = try self.fourHexDigits()
        guard (0xDC00..<0xE000).contains(low),
            let scalar = Unicode.Scalar(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        else { throw self.fault("lone surrogate in a string") }
        return scalar
    }

    private mutating func fourHexDigits() throws(JSONError) -> UInt32 {
        guard self.position + 4 <= self.bytes.count else { throw self.fault("invalid unicode escape") }
        var value: UInt32 = 0
        // Not Swift's own parsing of integers, which takes a sign.
        for byte in self.bytes[self.position..<self.position + 4] {
            guard let digit = JSONScanner.hexDigit(byte) else { throw self.fault("invalid unicode escape") }
            value = value << 4 | UInt32(digit)
        }
        self.position += 4
        return value
    }

    private func utf8(_ slice: ArraySlice<UInt8>) throws(JSONError) -> String {
        guard let text = String(validating: slice, as: UTF8.self) else { throw self.fault("a string is not UTF-8") }
        return text
    }

    private var peek: UInt8? { self.position < self.bytes.count ? self.bytes[self.position] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard self.peek == byte else { return false }
        self.position += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = self.peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { self.position += 1 }
    }

    private func fault(_ message: String) -> JSONError {
        let before = self.bytes[..<min(self.position, self.bytes.count)]
        let line = before.count { $0 == 0x0A } + 1
        let lineStart = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        return JSONError(message: message, line: line, column: before.count - lineStart + 1)
    }
}
