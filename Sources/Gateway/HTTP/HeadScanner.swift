/// Finds the end of a head in bytes that come piece by piece, and looks at every byte once.
package struct HeadScanner: Sendable {
    package enum Result: Hashable, Sendable {
        case incomplete
        /// With the bytes of the head, its empty line included.
        case complete(Int)
        /// A line feed without carriage return.
        case bareLineFeed
        /// The first line, or all of it, is longer than allowed.
        case tooLarge(isFirstLine: Bool)
    }

    private var scanned = 0
    private var lineStart = 0

    package init() {}

    /// Whether bytes of a head have been seen.
    var hasBegun: Bool { self.scanned > 0 }

    /// Looks at what came since the last time.
    ///
    /// - Parameters:
    ///   - bytes: everything from the head's first byte on.
    ///   - limit: bytes of the largest head.
    ///   - firstLineLimit: bytes of the longest first line.
    /// - Returns: whether the head is there.
    package mutating func scan(_ bytes: UnsafeRawBufferPointer, limit: Int, firstLineLimit: Int) -> Result {
        while let lineFeed = Bytes.lineFeed(in: bytes, from: self.scanned) {
            // The limits first: what an answer says must not depend on how much has come.
            let isFirstLine = self.lineStart == 0
            if isFirstLine, lineFeed > firstLineLimit { return .tooLarge(isFirstLine: true) }
            if lineFeed >= limit { return .tooLarge(isFirstLine: isFirstLine) }
            guard lineFeed > 0, bytes[lineFeed - 1] == Bytes.cr else { return .bareLineFeed }
            let isEmpty = lineFeed - 1 == self.lineStart && self.lineStart > 0
            self.scanned = lineFeed + 1
            if isEmpty { return .complete(self.scanned) }
            self.lineStart = self.scanned
        }
        self.scanned = bytes.count
        if self.lineStart == 0, bytes.count > firstLineLimit { return .tooLarge(isFirstLine: true) }
        return bytes.count > limit ? .tooLarge(isFirstLine: self.lineStart == 0) : .incomplete
    }
}
