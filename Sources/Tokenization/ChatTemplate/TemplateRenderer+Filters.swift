extension TemplateRenderer {
    static let filters: Set<String> = [
        "trim", "tojson", "length", "count", "join", "default", "d", "upper", "lower", "capitalize", "title", "replace",
        "string", "int", "float", "list", "first", "last", "items", "dictsort", "map", "select", "reject", "selectattr",
        "rejectattr", "unique", "sort", "reverse", "abs", "safe", "indent", "min", "max", "sum",
    ]

    mutating func filtered(
        _ value: TemplateValue,
        _ name: String,
        _ arguments: Arguments
    ) throws(Failure) -> TemplateValue {
        switch name {
        case "trim":
            let characters = Self.text(arguments.value(0, "chars"))
            return .string(TemplateText.stripEnd(TemplateText.stripStart(value.text, characters), characters))
        case "tojson": return try Self.json(value, arguments)
        case "length", "count":
            switch value {
            case .undefined: return .int(0)
            case .string(let text): return .int(text.unicodeScalars.count)
            case .list(let elements): return .int(elements.count)
            case .dictionary(let dictionary): return .int(dictionary.members.count)
            default: throw Failure(description: "\(value.kind) has no length")
            }
        case "join":
            var elements = try self.elements(of: value)
            if let attribute = arguments.value(1, "attribute") {
                elements = try elements.map { (element) throws(Failure) in try self.item(element, attribute) }
            }
            return .string(elements.map(\.text).joined(separator: Self.text(arguments.value(0, "d")) ?? ""))
        case "default", "d":
            var isMissing = false
            if case .undefined = value { isMissing = true }
            if arguments.value(1, "boolean")?.isTrue == true, !value.isTrue { isMissing = true }
            return isMissing ? arguments.value(0, "default_value") ?? .string("") : value
        case "upper": return .string(value.text.uppercased())
        case "lower": return .string(value.text.lowercased())
        case "capitalize": return .string(TemplateText.capitalized(value.text))
        case "title": return .string(TemplateText.title(value.text))
        case "replace":
            guard let old = Self.text(arguments.value(0, "old")), let new = Self.text(arguments.value(1, "new")) else {
                throw Failure(description: "'replace' needs what to replace and by what")
            }
            let most = arguments.value(2, "count")?.integer ?? .max
            return .string(TemplateText.replaced(value.text, old, new, most: most))
        case "string", "safe": return .string(value.text)
        case "int", "float": return Self.number(value, name, arguments)
        case "abs":
            switch value {
            case .int(let number) where number != .min: return .int(abs(number))
            case .float(let number): return .float(abs(number))
            default: throw Failure(description: "\(value.kind) has no absolute value")
            }
        case "indent":
            let width = arguments.value(0, "width")?.integer ?? 4
            let space = String(repeating: " ", count: max(0, width))
            let lines = TemplateText.split(value.text, "\n")
            let indentsFirst = arguments.value(1, "first")?.isTrue == true
            let indentsBlank = arguments.value(2, "blank")?.isTrue == true
            return .string(
                lines.enumerated().map { index, line in
                    (index == 0 ? indentsFirst : indentsBlank || !line.isEmpty) ? space + line : line
                }.joined(separator: "\n")
            )
        case "items":
            guard case .dictionary(let dictionary) = value else {
                if case .undefined = value { return .list([]) }
                throw Failure(description: "'items' does not go with \(value.kind)")
            }
            return .list(dictionary.members.map { .list([.string($0.key), $0.value]) })
        case "dictsort":
            guard case .dictionary(let dictionary) = value else {
                throw Failure(description: "'dictsort' does not go with \(value.kind)")
            }
            let sorted = dictionary.members.sorted { $0.key.lowercased() < $1.key.lowercased() }
            return .list(sorted.map { .list([.string($0.key), $0.value]) })
        default: return try self.filteredElements(value, name, arguments)
        }
    }

    /// The filters that look at elements.
    private mutating func filteredElements(
        _ value: TemplateValue,
        _ name: String,
        _ arguments: Arguments
    ) throws(Failure) -> TemplateValue {
        if name == "reverse", case .string(let text) = value {
            return .string(String(String.UnicodeScalarView(text.unicodeScalars.reversed())))
        }
        // These look at nothing when there is nothing, whatever kind of nothing it is.
        let isLenient = ["map", "select", "reject", "selectattr", "rejectattr"].contains(name)
        let elements = isLenient && !value.isTrue ? [] : try self.elements(of: value)
        switch name {
        case "list": return .list(elements)
        case "first": return elements.first ?? .undefined("there is no first item")
        case "last": return elements.last ?? .undefined("there is no last item")
        case "reverse": return .list(elements.reversed())
        case "map": return .list(try self.mapped(elements, arguments))
        case "select", "reject", "selectattr", "rejectattr":
            var kept: [TemplateValue] = []
            for element in elements where try self.isSelected(element, name, arguments) { kept.append(element) }
            return .list(kept)
        case "unique":
            var kept: [TemplateValue] = []
            for element in elements where !kept.contains(where: { $0.equals(element) }) { kept.append(element) }
            return .list(kept)
        case "sort", "min", "max":
            var sorted: [TemplateValue] = []
            // An insertion that can throw; lists in templates are short.
            for element in elements {
                var place = sorted.count
                while place > 0, try Self.order(element, sorted[place - 1], "<") < 0 { place -= 1 }
                sorted.insert(element, at: place)
            }
            if name == "sort" {
                return .list(arguments.value(0, "reverse")?.isTrue == true ? sorted.reversed() : sorted)
            }
            return (name == "min" ? sorted.first : sorted.last) ?? .undefined("there is no item")
        case "sum":
            var sum = TemplateValue.int(0)
            for element in elements { sum = try Self.arithmetic(sum, "+", element) }
            return sum
        default: throw Failure(description: "the filter '\(name)' is not supported")
        }
    }

    private mutating func mapped(_ elements: [TemplateValue], _ arguments: Arguments) throws(Failure) -> [TemplateValue]
    {
        var values: [TemplateValue] = []
        for element in elements {
            if let attribute = arguments.named["attribute"] {
                let value = try self.item(element, attribute)
                if case .undefined = value, let fallback = arguments.named["default"] {
                    values.append(fallback)
                } else {
                    values.append(value)
                }
            } else if let filter = Self.text(arguments.positional.first), Self.filters.contains(filter) {
                var rest = arguments
                rest.positional.removeFirst()
                values.append(try self.filtered(element, filter, rest))
            } else {
                throw Failure(description: "'map' needs an attribute, or a filter that is supported")
            }
        }
        return values
    }

    private func isSelected(_ element: TemplateValue, _ name: String, _ arguments: Arguments) throws(Failure) -> Bool {
        var (element, rest) = (element, arguments)
        if name.hasSuffix("attr") {
            guard let attribute = rest.positional.first else {
                throw Failure(description: "'\(name)' needs an attribute")
            }
            element = try self.item(element, attribute)
            rest.positional.removeFirst()
        }
        var holds = element.isTrue
        if let test = Self.text(rest.positional.first) {
            let names = ["==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"]
            let test = names[test] ?? test
            guard Self.tests.contains(test) else { throw Failure(description: "the test '\(test)' is not supported") }
            rest.positional.removeFirst()
            holds = try self.test(element, test, rest)
        }
        return holds == name.hasPrefix("select")
    }

    static func text(_ value: TemplateValue?) -> String? {
        guard case .string(let text)? = value else { return nil }
        return text
    }

    private static func number(_ value: TemplateValue, _ name: String, _ arguments: Arguments) -> TemplateValue {
        let text = self.text(value).map { TemplateText.stripEnd(TemplateText.stripStart($0, nil), nil) }
        let number = value.number ?? text.flatMap(Double.init)
        if name == "float" { return number.map(TemplateValue.float) ?? arguments.value(0, "default") ?? .float(0) }
        if let whole = value.integer ?? text.flatMap({ Int($0) }) { return .int(whole) }
        return number.flatMap { Int(exactly: $0.rounded(.towardZero)) }.map(TemplateValue.int)
            ?? arguments.value(0, "default") ?? .int(0)
    }

    private static func json(_ value: TemplateValue, _ arguments: Arguments) throws(Failure) -> TemplateValue {
        // The order of the parameters is that of `transformers`.
        let indent = arguments.value(1, "indent")?.integer
        var writer = TemplateJSON(
            indent: indent.map { max(0, min($0, 64)) },
            isASCII: arguments.value(0, "ensure_ascii")?.isTrue ?? false,
            sortsKeys: arguments.value(3, "sort_keys")?.isTrue ?? false,
            itemSeparator: indent == nil ? ", " : ",",
            keySeparator: ": "
        )
        if case .list(let separators)? = arguments.value(2, "separators"), separators.count == 2 {
            (writer.itemSeparator, writer.keySeparator) = (separators[0].text, separators[1].text)
        }
        guard let text = writer.text(value) else { throw Failure(description: "\(value.kind) cannot be JSON") }
        return .string(text)
    }
}

extension TemplateText {
    /// Puts a text in the place of another, `most` times at most.
    static func replaced(_ text: String, _ old: String, _ new: String, most: Int = .max) -> String {
        if old.isEmpty {
            let scalars = text.unicodeScalars.map { String($0) }
            return most <= 0 ? text : new + scalars.map { $0 + new }.joined()
        }
        return self.split(text, old, most: most < 0 ? .max : most).joined(separator: new)
    }
}
