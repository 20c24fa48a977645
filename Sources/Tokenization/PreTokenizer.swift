/// Cuts a text into the words that the model looks at one by one.
struct PreTokenizer: Hashable, Sendable {
    enum Step: Hashable, Sendable {
        /// Matches and what lies between them become words; `keeps` says which of the two stay.
        case split(Pattern, keeps: Keeps)
        /// Puts a space before a word that has none.
        case prefixSpace
        /// Runs of digits become words, or each digit does.
        case digits(isEach: Bool)
    }

    enum Keeps: Hashable, Sendable {
        case all
        case matches
        case rest
    }

    /// In GPT-2's way, which the pre-tokenizer ByteLevel has built in.
    static let byteLevelPattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    var steps: [Step]

    /// Calls `word` with each word's bytes in order.
    func words(of text: String, _ word: ([UInt8]) -> Void) {
        var pieces = [text.unicodeScalars.map(\.value)]
        for step in self.steps { pieces = pieces.flatMap { Self.apply(step, to: $0) } }
        for piece in pieces {
            var bytes: [UInt8] = []
            bytes.reserveCapacity(piece.count)
            for value in piece {
                if value < 0x80 {
                    bytes.append(UInt8(value))
                } else if let scalar = Unicode.Scalar(value) {
                    bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
                }
            }
            word(bytes)
        }
    }

    private static func apply(_ step: Step, to piece: [UInt32]) -> [[UInt32]] {
        switch step {
        case .prefixSpace: return [piece.first == 0x20 || piece.isEmpty ? piece : [0x20] + piece]
        case .split(let pattern, let keeps):
            return self.cut(piece, keeps: keeps) { text, place in pattern.match(text, at: place) }
        case .digits(let isEach):
            return self.cut(piece, keeps: .all) { text, place in
                var end = place
                while end < text.count, self.isDigit(text[end]), end == place || !isEach { end += 1 }
                return end
            }
        }
    }

    private static func isDigit(_ value: UInt32) -> Bool {
        switch Unicode.Scalar(value)?.properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: true
        default: false
        }
    }

    private static func cut(
        _ piece: [UInt32],
        keeps: Keeps,
        _ match: (borrowing [UInt32], Int) -> Int?
    ) -> [[UInt32]] {
        var pieces: [[UInt32]] = []
        var (begin, place) = (0, 0)
        while place < piece.count {
            guard let end = match(piece, place), end > place else {
                place += 1
                continue
            }
            if place > begin, keeps != .matches { pieces.append(Array(piece[begin..<place])) }
            if keeps != .rest { pieces.append(Array(piece[place..<end])) }
            (begin, place) = (end, end)
        }
        if begin < piece.count, keeps != .matches { pieces.append(Array(piece[begin...])) }
        return pieces
    }
}
