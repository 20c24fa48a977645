/// Splits text into what counts as its tokens here: words with the space before them, cut when long, and single signs.
///
/// Joined again the tokens give the text; none of them ends inside a character.
enum EchoTokens {
    private static let longest = 8

    static func split(_ text: String) -> [Substring] {
        var tokens: [Substring] = []
        var start = text.startIndex
        while start < text.endIndex {
            var end = start
            if text[end] == " " { end = text.index(after: end) }
            var length = 0
            while end < text.endIndex, length < Self.longest, Self.isWordCharacter(text[end]) {
                end = text.index(after: end)
                length += 1
            }
            // A sign, or a space with no word behind it.
            if length == 0, end < text.endIndex, text[end] != " " || end == start { end = text.index(after: end) }
            tokens.append(text[start..<end])
            start = end
        }
        return tokens
    }

    static func count(_ text: String) -> Int { self.split(text).count }

    private static func isWordCharacter(_ character: Character) -> Bool {
        // Most text is ASCII, for which Unicode's tables need not be asked.
        guard let byte = character.asciiValue else { return character.isLetter || character.isNumber }
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            return true
        default: return false
        }
    }
}
