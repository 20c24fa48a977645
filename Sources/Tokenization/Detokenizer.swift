/// Turns the tokens of a stream into text as they come.
///
/// What it gives out is always whole characters: bytes that may be the beginning of one are kept until the rest is there.
package struct Detokenizer: Sendable {
    private let tokenizer: Tokenizer
    private let skipsSpecialTokens: Bool
    /// The beginning of a character.
    private var pending: [UInt8] = []

    /// Starts with nothing.
    ///
    /// - Parameters:
    ///   - tokenizer: of the model.
    ///   - skipsSpecialTokens: whether special tokens leave no text.
    package init(_ tokenizer: Tokenizer, skipsSpecialTokens: Bool) {
        self.tokenizer = tokenizer
        self.skipsSpecialTokens = skipsSpecialTokens
    }

    /// Takes tokens.
    ///
    /// - Parameter tokens: those that follow what was taken before; one that the model does not have leaves no text.
    /// - Returns: the text that is certain now.
    package mutating func append(_ tokens: some Sequence<UInt32>) -> String {
        for token in tokens {
            if self.skipsSpecialTokens, self.tokenizer.isSpecial(token) { continue }
            self.pending += self.tokenizer.bytes(of: token)
        }
        let whole = self.pending.count - Self.openBytes(self.pending)
        if whole == 0 { return "" }
        defer { self.pending.removeFirst(whole) }
        return String(decoding: self.pending[..<whole], as: UTF8.self)
    }

    /// The stream has ended.
    ///
    /// - Returns: a replacement for a character that was never completed.
    package mutating func finish() -> String {
        defer { self.pending = [] }
        return String(decoding: self.pending, as: UTF8.self)
    }

    /// How many bytes at the end are the beginning of a character that is not complete.
    private static func openBytes(_ bytes: [UInt8]) -> Int {
        for count in 1...3 where count <= bytes.count {
            let tail = bytes[(bytes.count - count)...]
            guard let lead = tail.first else { break }
            let length =
                switch lead {
                case 0xC2...0xDF: 2
                case 0xE0...0xEF: 3
                case 0xF0...0xF4: 4
                case 0x80...0xBF: 0
                default: 1
                }
            if length == 0 { continue }
            guard length > count else { return 0 }
            // Only what can still become a character: the second byte is narrower after some first ones.
            guard let second = tail.dropFirst().first else { return count }
            let allowed: ClosedRange<UInt8> =
                switch lead {
                case 0xE0: 0xA0...0xBF
                case 0xED: 0x80...0x9F
                case 0xF0: 0x90...0xBF
                case 0xF4: 0x80...0x8F
                default: 0x80...0xBF
                }
            return allowed.contains(second) ? count : 0
        }
        return 0
    }
}
