extension TemplateRenderer {
    static func arithmetic(
        _ left: TemplateValue,
        _ sign: String,
        _ right: TemplateValue
    ) throws(Failure) -> TemplateValue {
        let failure = Failure(description: "'\(sign)' does not go with \(left.kind) and \(right.kind)")
        switch (sign, left, right) {
        case ("~", _, _): return .string(left.text + right.text)
        case ("+", .string(let left), .string(let right)): return .string(left + right)
        case ("+", .list(let left), .list(let right)): return .list(left + right)
        case ("*", .string(let text), .int(let count)), ("*", .int(let count), .string(let text)):
            guard count <= 0 || text.utf8.count <= (1 << 24) / count else {
                throw Failure(description: "a repeated text is too long")
            }
            return .string(String(repeating: text, count: max(0, count)))
        default: break
        }
        if sign != "/", let left = left.integer, let right = right.integer {
            let result: (partialValue: Int, overflow: Bool)
            switch sign {
            case "+": result = left.addingReportingOverflow(right)
            case "-": result = left.subtractingReportingOverflow(right)
            case "*": result = left.multipliedReportingOverflow(by: right)
            default:
                guard right != 0 else { throw Failure(description: "a division by zero") }
                let remainder = left.remainderReportingOverflow(dividingBy: right)
                let isAdjusted = remainder.partialValue != 0 && (remainder.partialValue < 0) != (right < 0)
                if sign == "%" {
                    result = (remainder.partialValue + (isAdjusted ? right : 0), remainder.overflow)
                } else {
                    let quotient = left.dividedReportingOverflow(by: right)
                    result = (quotient.partialValue - (isAdjusted ? 1 : 0), quotient.overflow)
                }
            }
            guard !result.overflow else { throw Failure(description: "a number is too large") }
            return .int(result.partialValue)
        }
        guard let left = left.number, let right = right.number else { throw failure }
        switch sign {
        case "+": return .float(left + right)
        case "-": return .float(left - right)
        case "*": return .float(left * right)
        default:
            guard right != 0 else { throw Failure(description: "a division by zero") }
            if sign == "/" { return .float(left / right) }
            let quotient = (left / right).rounded(.down)
            return .float(sign == "//" ? quotient : left - quotient * right)
        }
    }

    func compare(_ left: TemplateValue, _ sign: String, _ right: TemplateValue) throws(Failure) -> Bool {
        switch sign {
        case "==": return left.equals(right)
        case "!=": return !left.equals(right)
        case "in": return try self.contains(right, left)
        case "not in": return !(try self.contains(right, left))
        default:
            let order = try Self.order(left, right, sign)
            switch sign {
            case "<": return order < 0
            case "<=": return order <= 0
            case ">": return order > 0
            default: return order >= 0
            }
        }
    }

    /// Less than zero when the first comes before the second.
    static func order(_ left: TemplateValue, _ right: TemplateValue, _ sign: String) throws(Failure) -> Int {
        if case .string(let left) = left, case .string(let right) = right {
            if left.unicodeScalars.lexicographicallyPrecedes(right.unicodeScalars) { return -1 }
            return left.utf8.elementsEqual(right.utf8) ? 0 : 1
        }
        guard let left = left.number, let right = right.number else {
            throw Failure(description: "'\(sign)' does not go with \(left.kind) and \(right.kind)")
        }
        return left < right ? -1 : left == right ? 0 : 1
    }

    func contains(_ container: TemplateValue, _ element: TemplateValue) throws(Failure) -> Bool {
        switch container {
        case .undefined: return false
        case .list(let elements): return elements.contains { $0.equals(element) }
        case .dictionary(let dictionary):
            guard case .string(let key) = element else { return false }
            return dictionary[key] != nil
        case .string(let text):
            guard case .string(let part) = element else {
                throw Failure(description: "only a string can be in a string, not \(element.kind)")
            }
            return TemplateText.find(Array(part.utf8), in: Array(text.utf8)[...]) != nil
        default: throw Failure(description: "nothing can be in \(container.kind)")
        }
    }

    static func slice(_ value: TemplateValue, _ from: Int?, _ to: Int?, _ step: Int) throws(Failure) -> TemplateValue {
        guard step != 0 else { throw Failure(description: "the step of a slice is zero") }
        func cut<Element>(_ elements: [Element]) -> [Element] {
            let count = elements.count
            func place(_ index: Int, _ low: Int, _ high: Int) -> Int {
                min(max(index < 0 ? index + count : index, low), high)
            }
            let (low, high) = step > 0 ? (0, count) : (-1, count - 1)
            let begin = from.map { place($0, low, high) } ?? (step > 0 ? 0 : count - 1)
            let end = to.map { place($0, low, high) } ?? (step > 0 ? count : -1)
            return stride(from: begin, to: end, by: step).map { elements[$0] }
        }
        switch value {
        case .list(let elements): return .list(cut(elements))
        case .string(let text): return .string(String(String.UnicodeScalarView(cut(Array(text.unicodeScalars)))))
        case .undefined(let name): throw Failure(description: "'\(name)' is undefined, so it has no parts")
        default: throw Failure(description: "\(value.kind) has no parts")
        }
    }

    // MARK: Tests

    static let tests: Set<String> = [
        "defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping",
        "iterable", "sequence", "callable", "odd", "even", "divisibleby", "in", "eq", "equalto", "ne", "lt",
        "lessthan", "le", "gt", "greaterthan", "ge", "sameas", "lower", "upper",
    ]

    func test(_ value: TemplateValue, _ name: String, _ arguments: Arguments) throws(Failure) -> Bool {
        func argument() throws(Failure) -> TemplateValue {
            guard let value = arguments.positional.first else {
                throw Failure(description: "the test '\(name)' needs a value to compare with")
            }
            return value
        }
        func whole() throws(Failure) -> Int {
            guard let number = value.integer else {
                throw Failure(description: "the test '\(name)' does not go with \(value.kind)")
            }
            return number
        }
        switch (name, value) {
        case ("defined", .undefined): return false
        case ("defined", _): return true
        case ("undefined", .undefined): return true
        case ("none", .none), ("string", .string), ("boolean", .bool), ("integer", .int), ("float", .float): return true
        case ("mapping", .dictionary), ("callable", .macro), ("callable", .method): return true
        case ("number", .int), ("number", .float), ("number", .bool): return true
        case ("iterable", .list), ("iterable", .string), ("iterable", .dictionary), ("iterable", .undefined):
            return true
        case ("sequence", .list), ("sequence", .string), ("sequence", .dictionary), ("sequence", .undefined):
            return true
        case ("true", .bool(let bool)): return bool
        case ("false", .bool(let bool)): return !bool
        case ("odd", _): return try whole() & 1 == 1
        case ("even", _): return try whole() & 1 == 0
        case ("divisibleby", _):
            guard let divisor = try argument().integer, divisor != 0 else {
                throw Failure(description: "'divisibleby' needs a whole number that is not zero")
            }
            return try whole().isMultiple(of: divisor)
        case ("in", _): return try self.contains(try argument(), value)
        case ("eq", _), ("equalto", _): return value.equals(try argument())
        case ("sameas", _): return value == (try argument())
        case ("ne", _): return !value.equals(try argument())
        case ("lt", _), ("lessthan", _): return try self.compare(value, "<", try argument())
        case ("le", _): return try self.compare(value, "<=", try argument())
        case ("gt", _), ("greaterthan", _): return try self.compare(value, ">", try argument())
        case ("ge", _): return try self.compare(value, ">=", try argument())
        case ("lower", .string(let text)): return text == text.lowercased() && text != text.uppercased()
        case ("upper", .string(let text)): return text == text.uppercased() && text != text.lowercased()
        default: return false
        }
    }
}
