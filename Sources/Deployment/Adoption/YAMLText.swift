/// Texts as YAML.
enum YAMLText {
    /// A text that reads back as itself, also as text: `"8000"` is no number.
    static func scalar(_ text: String) -> String {
        if self.isPlain(text) { return text }
        if text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value < 0x7F }) {
            return "'\(text.replacing("'", with: "''"))'"
        }
        return "\"\(text.unicodeScalars.map(Self.escaped).joined())\""
    }

    /// Whether a text reads back as itself without quotes.
    static func isPlain(_ text: String) -> Bool {
        if text.wholeMatch(of: /(?:[A-Za-z_\/]|\.[A-Za-z_\/.])[A-Za-z0-9_\/.+=-]*|\./) != nil {
            return !Self.words.contains(text.lowercased())
        }
        return text.wholeMatch(of: /--?[A-Za-z][A-Za-z0-9_=.\/-]*/) != nil
    }

    /// Numbers by themselves, texts as `scalar` writes them.
    static func value(_ text: String) -> String {
        text.wholeMatch(of: /0|[1-9][0-9]{0,8}/) != nil ? text : self.scalar(text)
    }

    /// Words with another meaning in some version of YAML, and what looks like a number.
    private static let words: Set<String> = [
        "true", "false", "yes", "no", "on", "off", "y", "n", "null", ".", "...", ".inf", ".nan",
    ]

    private static func escaped(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\"": return "\\\""
        case "\\": return "\\\\"
        case "\n": return "\\n"
        case "\t": return "\\t"
        case _ where scalar.value >= 0x20 && scalar.value < 0x7F: return String(scalar)
        default:
            let digits = String(scalar.value, radix: 16)
            return "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
        }
    }
}
