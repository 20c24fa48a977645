/// What Python does with texts, on UTF-8 or scalars, so that no grapheme hides a character.
enum TemplateText {
    /// Where a part first stands in a text.
    static func find(_ part: [UInt8], in text: ArraySlice<UInt8>) -> Int? {
        guard let first = part.first else { return text.startIndex }
        guard part.count <= text.count else { return nil }
        var place = text.startIndex
        while place + part.count <= text.endIndex {
            if text[place] == first, text[place..<(place + part.count)].elementsEqual(part) { return place }
            place += 1
        }
        return nil
    }

    /// Cuts a text at each place where a separator stands, `most` times at most.
    static func split(_ text: String, _ separator: String, most: Int = .max) -> [String] {
        let (bytes, part) = (Array(text.utf8), Array(separator.utf8))
        var pieces: [String] = []
        var rest = bytes[...]
        while !part.isEmpty, pieces.count < most, let place = self.find(part, in: rest) {
            pieces.append(String(decoding: rest[..<place], as: UTF8.self))
            rest = rest[(place + part.count)...]
        }
        return pieces + [String(decoding: rest, as: UTF8.self)]
    }

    /// The same from the end.
    static func splitFromEnd(_ text: String, _ separator: String, most: Int = .max) -> [String] {
        let (bytes, part) = (Array(text.utf8), Array(separator.utf8))
        var pieces: [String] = []
        var end = bytes.count
        var place = end - part.count
        while !part.isEmpty, pieces.count < most, place >= 0 {
            if bytes[place..<(place + part.count)].elementsEqual(part) {
                pieces.append(String(decoding: bytes[(place + part.count)..<end], as: UTF8.self))
                end = place
                place -= part.count
            } else {
                place -= 1
            }
        }
        return [String(decoding: bytes[..<end], as: UTF8.self)] + pieces.reversed()
    }

    /// Words between white space, `most` cuts at most.
    static func words(_ text: String, most: Int = .max) -> [String] {
        var words: [String] = []
        var rest = text.unicodeScalars[...]
        while true {
            rest = rest.drop { $0.properties.isWhitespace }
            if rest.isEmpty { return words }
            if words.count >= most { return words + [self.stripEnd(String(rest), nil)] }
            let word = rest.prefix { !$0.properties.isWhitespace }
            words.append(String(word))
            rest = rest[word.endIndex...]
        }
    }

    static func stripStart(_ text: String, _ characters: String?) -> String {
        String(text.unicodeScalars.drop { self.isStripped($0, characters) })
    }

    static func stripEnd(_ text: String, _ characters: String?) -> String {
        var rest = text.unicodeScalars[...]
        while let last = rest.last, self.isStripped(last, characters) { rest.removeLast() }
        return String(rest)
    }

    private static func isStripped(_ scalar: Unicode.Scalar, _ characters: String?) -> Bool {
        guard let characters else {
            return scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
        }
        return characters.unicodeScalars.contains(scalar)
    }

    /// The first letter of each word large, the others small.
    static func title(_ text: String) -> String {
        var result = ""
        var isInWord = false
        for scalar in text.unicodeScalars {
            let isLetter = scalar.properties.isAlphabetic
            let properties = scalar.properties
            result += isLetter ? (isInWord ? properties.lowercaseMapping : properties.titlecaseMapping) : String(scalar)
            isInWord = isLetter
        }
        return result
    }

    static func capitalized(_ text: String) -> String {
        guard let first = text.unicodeScalars.first else { return "" }
        return first.properties.titlecaseMapping + String(text.unicodeScalars.dropFirst()).lowercased()
    }
}
