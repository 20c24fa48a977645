/// Writes values as Python's `json.dumps` does.
struct TemplateJSON {
    var indent: Int?
    var isASCII = false
    var sortsKeys = false
    var itemSeparator: String
    var keySeparator: String

    /// Nil when a value is nothing that JSON has.
    func text(_ value: TemplateValue, depth: Int = 0) -> String? {
        switch value {
        case .none: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .int(let value): return String(value)
        case .float(let value): return value.description
        case .string(let text): return self.quoted(text)
        case .list(let elements):
            var texts: [String] = []
            for element in elements {
                guard let text = self.text(element, depth: depth + 1) else { return nil }
                texts.append(text)
            }
            return self.wrapped(texts, "[", "]", depth)
        case .dictionary(let dictionary):
            var texts: [String] = []
            let members =
                self.sortsKeys
                ? dictionary.members.sorted { $0.key.unicodeScalars.lexicographicallyPrecedes($1.key.unicodeScalars) }
                : dictionary.members
            for member in members {
                guard let text = self.text(member.value, depth: depth + 1) else { return nil }
                texts.append(self.quoted(member.key) + self.keySeparator + text)
            }
            return self.wrapped(texts, "{", "}", depth)
        case .undefined, .namespace, .macro, .method: return nil
        }
    }

    private func wrapped(_ texts: [String], _ open: String, _ close: String, _ depth: Int) -> String {
        guard let indent = self.indent, !texts.isEmpty else {
            return open + texts.joined(separator: self.itemSeparator) + close
        }
        let line = "\n" + String(repeating: " ", count: indent * (depth + 1))
        let last = "\n" + String(repeating: " ", count: indent * depth)
        return open + line + texts.joined(separator: self.itemSeparator + line) + last + close
    }

    private func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case "\u{8}": quoted += "\\b"
            case "\u{C}": quoted += "\\f"
            default:
                if scalar.value < 0x20 || (self.isASCII && scalar.value > 0x7E) {
                    for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
                        let digits = String(unit, radix: 16)
                        quoted += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
                    }
                } else {
                    quoted.unicodeScalars.append(scalar)
                }
            }
        }
        return quoted + "\""
    }
}
