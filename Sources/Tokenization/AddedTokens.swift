/// The tokens that are found in a text before all else, as they stand: special ones and others.
struct AddedTokens: Hashable, Sendable {
    struct Token: Hashable, Sendable {
        var id: UInt32
        var content: String
        /// Only where no letter stands next to it.
        var isSingleWord = false
        /// Takes the white space before it.
        var stripsLeft = false
        var stripsRight = false
        /// Looked for after the text was normalized.
        var isNormalized = false
        var isSpecial = false
    }

    /// A part of a text.
    enum Piece: Hashable, Sendable {
        case text(String)
        case token(UInt32)
    }

    /// A node of the tree of the tokens' bytes.
    private struct Node: Hashable, Sendable {
        var next: [UInt8: Int] = [:]
        var token: Int?
    }

    private let tokens: [Token]
    private var nodes = [Node()]

    init(_ tokens: [Token]) {
        self.tokens = tokens
        for (index, token) in tokens.enumerated() where !token.content.isEmpty {
            var node = 0
            for byte in token.content.utf8 {
                if let next = self.nodes[node].next[byte] {
                    node = next
                } else {
                    self.nodes.append(Node())
                    self.nodes[node].next[byte] = self.nodes.count - 1
                    node = self.nodes.count - 1
                }
            }
            if self.nodes[node].token == nil { self.nodes[node].token = index }
        }
    }

    /// Cuts a text where tokens stand in it; of several that begin at one place the longest counts.
    func split(_ text: String) -> [Piece] {
        guard self.nodes.count > 1 else { return text.isEmpty ? [] : [.text(text)] }
        let bytes = Array(text.utf8)
        var pieces: [Piece] = []
        var (begin, place) = (0, 0)
        func append(_ range: Range<Int>) {
            if !range.isEmpty { pieces.append(.text(String(decoding: bytes[range], as: UTF8.self))) }
        }
        while place < bytes.count {
            guard let (index, end) = self.match(bytes, at: place) else {
                place += 1
                continue
            }
            let token = self.tokens[index]
            if token.isSingleWord, Self.endsWithWord(bytes[..<place]) || Self.startsWithWord(bytes[end...]) {
                place = end
                continue
            }
            var (first, last) = (place, end)
            if token.stripsLeft { first = max(begin, first - Self.trailingSpace(bytes[..<first])) }
            if token.stripsRight { last += Self.leadingSpace(bytes[last...]) }
            append(begin..<first)
            pieces.append(.token(token.id))
            (begin, place) = (last, last)
        }
        append(begin..<bytes.count)
        return pieces
    }

    private func match(_ bytes: [UInt8], at start: Int) -> (token: Int, end: Int)? {
        var (node, place) = (0, start)
        var found: (Int, Int)?
        while place < bytes.count, let next = self.nodes[node].next[bytes[place]] {
            node = next
            place += 1
            if let token = self.nodes[node].token { found = (token, place) }
        }
        return found
    }

    // MARK: Neighbours

    private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.properties.isAlphabetic || scalar.properties.isJoinControl { return true }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
        default: return false
        }
    }

    private static func endsWithWord(_ bytes: ArraySlice<UInt8>) -> Bool {
        String(decoding: bytes.suffix(4), as: UTF8.self).unicodeScalars.last.map(self.isWord) ?? false
    }

    private static func startsWithWord(_ bytes: ArraySlice<UInt8>) -> Bool {
        String(decoding: bytes.prefix(4), as: UTF8.self).unicodeScalars.first.map(self.isWord) ?? false
    }

    private static func leadingSpace(_ bytes: ArraySlice<UInt8>) -> Int {
        var (decoder, iterator) = (UTF8(), bytes.makeIterator())
        var count = 0
        while case .scalarValue(let scalar) = decoder.decode(&iterator), scalar.properties.isWhitespace {
            count += UTF8.width(scalar)
        }
        return count
    }

    private static func trailingSpace(_ bytes: ArraySlice<UInt8>) -> Int {
        var end = bytes.endIndex
        while end > bytes.startIndex {
            var start = end - 1
            while start > bytes.startIndex, UTF8.isContinuation(bytes[start]) { start -= 1 }
            guard self.leadingSpace(bytes[start..<end]) == end - start else { break }
            end = start
        }
        return bytes.endIndex - end
    }
}
