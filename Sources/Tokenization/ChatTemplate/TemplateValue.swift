import Discovery

/// A value while a template runs.
indirect enum TemplateValue: Hashable, Sendable {
    case undefined(String)
    case none
    case bool(Bool)
    case int(Int)
    case float(Double)
    case string(String)
    case list([TemplateValue])
    case dictionary(TemplateDictionary)
    /// The number of one in the renderer.
    case namespace(Int)
    case macro(Int)
    /// A method that was named and not called.
    case method(String)

    init(_ json: JSONValue) {
        switch json {
        case .null: self = .none
        case .bool(let value): self = .bool(value)
        case .number(let text): self = Int(text).map(Self.int) ?? .float(Double(text) ?? 0)
        case .string(let text): self = .string(text)
        case .array(let elements): self = .list(elements.map(Self.init))
        case .object(let fields):
            self = .dictionary(TemplateDictionary(fields.members.map { ($0.name, TemplateValue($0.value)) }))
        }
    }

    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .float(let value): value != 0
        case .string(let text): !text.isEmpty
        case .list(let elements): !elements.isEmpty
        case .dictionary(let dictionary): !dictionary.members.isEmpty
        case .namespace, .macro, .method: true
        }
    }

    var number: Double? {
        switch self {
        case .bool(let value): value ? 1 : 0
        case .int(let value): Double(value)
        case .float(let value): value
        default: nil
        }
    }

    var integer: Int? {
        switch self {
        case .bool(let value): value ? 1 : 0
        case .int(let value): value
        default: nil
        }
    }

    /// What the value is, in the words of an error message.
    var kind: String {
        switch self {
        case .undefined(let name): "'\(name)', which is undefined"
        case .none: "none"
        case .bool: "a boolean"
        case .int, .float: "a number"
        case .string: "a string"
        case .list: "a list"
        case .dictionary: "a mapping"
        case .namespace: "a namespace"
        case .macro: "a macro"
        case .method(let name): "the method '\(name)'"
        }
    }

    /// Whether two values are equal to Python.
    func equals(_ other: TemplateValue) -> Bool {
        switch (self, other) {
        case (.undefined, .undefined), (.none, .none): return true
        case (.string(let left), .string(let right)): return left.utf8.elementsEqual(right.utf8)
        case (.list(let left), .list(let right)):
            return left.count == right.count && zip(left, right).allSatisfy { $0.equals($1) }
        case (.dictionary(let left), .dictionary(let right)):
            return left.members.count == right.members.count
                && left.members.allSatisfy { member in right[member.key].map(member.value.equals) ?? false }
        case (.namespace(let left), .namespace(let right)): return left == right
        default:
            guard let left = self.number, let right = other.number else { return false }
            return left == right
        }
    }

    // MARK: Text

    /// As a template writes it.
    var text: String {
        switch self {
        case .undefined: ""
        case .string(let text): text
        default: self.representation
        }
    }

    /// As Python shows a value in a list.
    var representation: String {
        switch self {
        case .undefined: "Undefined"
        case .none: "None"
        case .bool(let value): value ? "True" : "False"
        case .int(let value): String(value)
        case .float(let value): value.description
        case .string(let text): Self.quoted(text)
        case .list(let elements): "[" + elements.map(\.representation).joined(separator: ", ") + "]"
        case .dictionary(let dictionary):
            "{"
                + dictionary.members.map { Self.quoted($0.key) + ": " + $0.value.representation }.joined(
                    separator: ", "
                )
                + "}"
        case .namespace: "<Namespace>"
        case .macro: "<Macro>"
        case .method(let name): "<method \(name)>"
        }
    }

    private static func quoted(_ text: String) -> String {
        let quote: Unicode.Scalar = text.contains("'") && !text.contains("\"") ? "\"" : "'"
        var quoted = String.UnicodeScalarView([quote])
        for scalar in text.unicodeScalars {
            switch scalar {
            case quote, "\\": quoted.append(contentsOf: ["\\", scalar])
            case "\n": quoted.append(contentsOf: "\\n".unicodeScalars)
            case "\r": quoted.append(contentsOf: "\\r".unicodeScalars)
            case "\t": quoted.append(contentsOf: "\\t".unicodeScalars)
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    let digits = String(scalar.value, radix: 16)
                    quoted.append(contentsOf: ("\\x" + (digits.count < 2 ? "0" : "") + digits).unicodeScalars)
                } else {
                    quoted.append(scalar)
                }
            }
        }
        quoted.append(quote)
        return String(quoted)
    }
}

/// Members in the order in which they were written; their names are texts.
struct TemplateDictionary: Hashable, Sendable {
    struct Member: Hashable, Sendable {
        var key: String
        var value: TemplateValue
    }

    private(set) var members: [Member] = []

    init(_ members: [(String, TemplateValue)] = []) {
        for (key, value) in members { self[key] = value }
    }

    subscript(_ key: String) -> TemplateValue? {
        get { self.members.first { $0.key.utf8.elementsEqual(key.utf8) }?.value }
        set {
            let index = self.members.firstIndex { $0.key.utf8.elementsEqual(key.utf8) }
            if let newValue {
                if let index {
                    self.members[index].value = newValue
                } else {
                    self.members.append(Member(key: key, value: newValue))
                }
            } else if let index {
                self.members.remove(at: index)
            }
        }
    }
}
