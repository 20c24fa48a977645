extension TemplateRenderer {
    static let stringMethods: Set<String> = [
        "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "upper", "lower",
        "title",
        "capitalize", "replace", "find", "rfind", "count", "join", "isdigit", "isspace", "isupper", "islower",
        "partition",
        "rpartition", "removeprefix", "removesuffix",
    ]
    static let dictionaryMethods: Set<String> = ["items", "keys", "values", "get"]

    /// All that can be called on a value.
    static let methods = Self.stringMethods.union(Self.dictionaryMethods).union(["cycle"])

    func method(_ value: TemplateValue, _ name: String, _ arguments: Arguments) throws(Failure) -> TemplateValue {
        switch value {
        case .string(let text) where Self.stringMethods.contains(name): return try self.method(text, name, arguments)
        case .list(let elements) where name == "count":
            guard let element = arguments.positional.first else { break }
            return .int(elements.count { $0.equals(element) })
        case .dictionary(let dictionary):
            switch name {
            case "items": return .list(dictionary.members.map { .list([.string($0.key), $0.value]) })
            case "keys": return .list(dictionary.members.map { .string($0.key) })
            case "values": return .list(dictionary.members.map(\.value))
            case "get":
                let key = Self.text(arguments.positional.first)
                return key.flatMap { dictionary[$0] } ?? arguments.value(1, "default") ?? .none
            case "cycle":
                guard let index = dictionary["index0"]?.integer, !arguments.positional.isEmpty else { break }
                return arguments.positional[index % arguments.positional.count]
            default: break
            }
        default: break
        }
        throw Failure(description: "\(value.kind) has no method '\(name)'")
    }

    private func method(_ text: String, _ name: String, _ arguments: Arguments) throws(Failure) -> TemplateValue {
        let first = Self.text(arguments.positional.first)
        func needed() throws(Failure) -> String {
            guard let first else { throw Failure(description: "the method '\(name)' needs a string") }
            return first
        }
        func list(_ texts: [String]) -> TemplateValue { .list(texts.map(TemplateValue.string)) }
        switch name {
        case "strip": return .string(TemplateText.stripEnd(TemplateText.stripStart(text, first), first))
        case "lstrip": return .string(TemplateText.stripStart(text, first))
        case "rstrip": return .string(TemplateText.stripEnd(text, first))
        case "split", "rsplit":
            let count = arguments.value(1, "maxsplit")?.integer ?? -1
            let most = count < 0 ? Int.max : count
            guard let separator = first ?? Self.text(arguments.named["sep"]) else {
                guard name == "split" || most == .max else {
                    throw Failure(description: "'rsplit' by white space with a limit is not supported")
                }
                return list(TemplateText.words(text, most: most))
            }
            guard !separator.isEmpty else { throw Failure(description: "an empty separator") }
            return list(
                name == "split"
                    ? TemplateText.split(text, separator, most: most)
                    : TemplateText.splitFromEnd(text, separator, most: most)
            )
        case "splitlines":
            var lines = TemplateText.split(TemplateText.replaced(text, "\r\n", "\n"), "\n")
            if lines.last == "" { lines.removeLast() }
            return list(lines)
        case "startswith", "endswith":
            let options: [String]
            if case .list(let elements)? = arguments.positional.first {
                options = elements.compactMap { Self.text($0) }
            } else {
                options = [try needed()]
            }
            let bytes = Array(text.utf8)
            return .bool(
                options.contains { option in
                    let part = Array(option.utf8)
                    let side = name == "startswith" ? bytes.prefix(part.count) : bytes.suffix(part.count)
                    return side.elementsEqual(part)
                }
            )
        case "upper": return .string(text.uppercased())
        case "lower": return .string(text.lowercased())
        case "title": return .string(TemplateText.title(text))
        case "capitalize": return .string(TemplateText.capitalized(text))
        case "replace":
            guard let new = Self.text(arguments.value(1, "new")) else {
                throw Failure(description: "the method 'replace' needs two strings")
            }
            let most = arguments.value(2, "count")?.integer ?? .max
            return .string(TemplateText.replaced(text, try needed(), new, most: most))
        case "find", "rfind":
            let pieces =
                name == "find"
                ? TemplateText.split(text, try needed(), most: 1)
                : TemplateText.splitFromEnd(text, try needed(), most: 1)
            return .int(pieces.count == 2 ? pieces[0].unicodeScalars.count : -1)
        case "count": return .int(TemplateText.split(text, try needed()).count - 1)
        case "partition", "rpartition":
            let separator = try needed()
            let isLast = name == "rpartition"
            let pieces =
                isLast
                ? TemplateText.splitFromEnd(text, separator, most: 1) : TemplateText.split(text, separator, most: 1)
            if pieces.count == 2 { return list([pieces[0], separator, pieces[1]]) }
            return list(isLast ? ["", "", text] : [text, "", ""])
        case "removeprefix", "removesuffix":
            let part = Array(try needed().utf8)
            let bytes = Array(text.utf8)
            let isPrefix = name == "removeprefix"
            let side = isPrefix ? bytes.prefix(part.count) : bytes.suffix(part.count)
            guard side.elementsEqual(part) else { return .string(text) }
            let rest = isPrefix ? bytes.dropFirst(part.count) : bytes.dropLast(part.count)
            return .string(String(decoding: rest, as: UTF8.self))
        case "join":
            guard let elements = arguments.positional.first else { return .string("") }
            return .string(try self.elements(of: elements).map(\.text).joined(separator: text))
        case "isdigit":
            return .bool(
                !text.isEmpty && text.unicodeScalars.allSatisfy { $0.properties.generalCategory == .decimalNumber }
            )
        case "isspace": return .bool(!text.isEmpty && text.unicodeScalars.allSatisfy { $0.properties.isWhitespace })
        case "isupper": return .bool(text == text.uppercased() && text != text.lowercased())
        case "islower": return .bool(text == text.lowercased() && text != text.uppercased())
        default: throw Failure(description: "the method '\(name)' is not supported")
        }
    }
}
