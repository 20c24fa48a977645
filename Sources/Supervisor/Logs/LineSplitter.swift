/// Cuts a stream of bytes into lines.
///
/// A line longer than the limit is cut into several, never inside a UTF-8 character.
struct LineSplitter: Sendable {
    /// The bytes of a line without its end.
    struct Line: Sendable, Equatable {
        var bytes: [UInt8]
        /// The line goes on in the next one.
        var isPartial: Bool
    }

    static let defaultLimit = 64 * 1024

    let limit: Int
    private var rest: [UInt8] = []

    init(limit: Int = Self.defaultLimit) {
        self.limit = max(8, limit)
    }

    /// Takes more bytes; returns the lines that are complete.
    mutating func append(_ bytes: some Collection<UInt8>) -> [Line] {
        var lines: [Line] = []
        var start = bytes.startIndex
        while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
            self.rest.append(contentsOf: bytes[start..<end])
            self.cut(into: &lines)
            if self.rest.last == UInt8(ascii: "\r") { self.rest.removeLast() }
            lines.append(Line(bytes: self.rest, isPartial: false))
            self.rest.removeAll(keepingCapacity: self.rest.capacity <= 4096)
            start = bytes.index(after: end)
        }
        self.rest.append(contentsOf: bytes[start...])
        self.cut(into: &lines)
        return lines
    }

    /// The stream has ended: what is left is a line too.
    mutating func finish() -> Line? {
        defer { self.rest = [] }
        return self.rest.isEmpty ? nil : Line(bytes: self.rest, isPartial: false)
    }

    private mutating func cut(into lines: inout [Line]) {
        var start = 0
        while self.rest.count - start > self.limit {
            var end = start + self.limit
            // Back to the first byte of a character; bytes that are no UTF-8 at all are cut anywhere.
            for back in 0..<4 where self.rest[end - back] & 0xc0 != 0x80 {
                end -= back
                break
            }
            lines.append(Line(bytes: Array(self.rest[start..<end]), isPartial: true))
            start = end
        }
        if start > 0 { self.rest.removeFirst(start) }
    }
}
