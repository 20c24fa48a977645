internal import Glibc

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
    /// The beginning of a line whose end has not come yet.
    private(set) var rest: [UInt8] = []

    init(limit: Int = Self.defaultLimit) {
        self.limit = max(8, limit)
    }

    /// Takes more bytes; returns the lines that are complete.
    mutating func append(_ bytes: some Collection<UInt8>) -> [Line] {
        let lines = bytes.withContiguousStorageIfAvailable { self.append(UnsafeRawBufferPointer($0)) }
        return lines ?? Array(bytes).withUnsafeBytes { self.append($0) }
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) -> [Line] {
        var lines: [Line] = []
        var rest = bytes
        while let base = rest.baseAddress, let end = memchr(base, Int32(UInt8(ascii: "\n")), rest.count) {
            let length = UnsafeRawPointer(end) - base
            self.rest.append(contentsOf: UnsafeRawBufferPointer(rebasing: rest[..<length]))
            self.cut(into: &lines)
            if self.rest.last == UInt8(ascii: "\r") { self.rest.removeLast() }
            lines.append(Line(bytes: self.rest, isPartial: false))
            self.rest = []
            rest = UnsafeRawBufferPointer(rebasing: rest[(length + 1)...])
        }
        self.rest.append(contentsOf: rest)
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
