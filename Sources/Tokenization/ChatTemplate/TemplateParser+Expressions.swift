extension TemplateParser {
    /// One expression, or several with commas between them, which make a list.
    mutating func expressions() throws(TokenizationError) -> TemplateExpression {
        let first = try self.expression()
        guard self.peek == .sign(",") else { return first }
        var all = [first]
        while self.take(.sign(",")) {
            if self.peek == .endBlock || self.peek == .endOutput { break }
            all.append(try self.expression())
        }
        return .list(all)
    }

    mutating func expression() throws(TokenizationError) -> TemplateExpression {
        try self.nested { (parser) throws(TokenizationError) in try parser.condition() }
    }

    private mutating func condition() throws(TokenizationError) -> TemplateExpression {
        var value = try self.choices()
        while self.take(.name("if")) {
            let condition = try self.choices()
            let otherwise = self.take(.name("else")) ? try self.expression() : nil
            value = .conditional(condition, then: value, otherwise: otherwise)
        }
        return value
    }

    /// An expression without `if`.
    mutating func choices() throws(TokenizationError) -> TemplateExpression {
        var value = try self.conjunction()
        while self.take(.name("or")) { value = .or(value, try self.conjunction()) }
        return value
    }

    private mutating func conjunction() throws(TokenizationError) -> TemplateExpression {
        var value = try self.negation()
        while self.take(.name("and")) { value = .and(value, try self.negation()) }
        return value
    }

    private mutating func negation() throws(TokenizationError) -> TemplateExpression {
        guard self.take(.name("not")) else { return try self.comparison() }
        return .not(try self.nested { (parser) throws(TokenizationError) in try parser.negation() })
    }

    private mutating func comparison() throws(TokenizationError) -> TemplateExpression {
        let value = try self.sum()
        var comparisons: [TemplateExpression.Comparison] = []
        while let sign = self.comparisonSign() {
            comparisons.append(TemplateExpression.Comparison(sign: sign, value: try self.sum()))
        }
        return comparisons.isEmpty ? value : .compare(value, comparisons)
    }

    private mutating func comparisonSign() -> String? {
        switch self.peek {
        case .sign(let sign)? where ["==", "!=", "<", "<=", ">", ">="].contains(sign):
            self.step()
            return sign
        case .name("in")?:
            self.step()
            return "in"
        case .name("not")?:
            let mark = self.mark
            self.step()
            if self.take(.name("in")) { return "not in" }
            self.back(to: mark)
            return nil
        default: return nil
        }
    }

    private mutating func sum() throws(TokenizationError) -> TemplateExpression {
        var value = try self.joined()
        while case .sign(let sign)? = self.peek, sign == "+" || sign == "-" {
            self.step()
            value = .arithmetic(value, sign, try self.joined())
        }
        return value
    }

    private mutating func joined() throws(TokenizationError) -> TemplateExpression {
        var value = try self.product()
        while self.take(.sign("~")) { value = .arithmetic(value, "~", try self.product()) }
        return value
    }

    private mutating func product() throws(TokenizationError) -> TemplateExpression {
        var value = try self.signed(withFilters: true)
        while case .sign(let sign)? = self.peek, ["*", "/", "//", "%", "**"].contains(sign) {
            if sign == "**" { throw self.fault("a power, which is not supported") }
            self.step()
            value = .arithmetic(value, sign, try self.signed(withFilters: true))
        }
        return value
    }

    private mutating func signed(withFilters: Bool) throws(TokenizationError) -> TemplateExpression {
        var value: TemplateExpression
        if self.take(.sign("-")) {
            value = .negative(
                try self.nested { (parser) throws(TokenizationError) in try parser.signed(withFilters: false) }
            )
        } else if self.take(.sign("+")) {
            value = try self.nested { (parser) throws(TokenizationError) in try parser.signed(withFilters: false) }
        } else {
            value = try self.suffixes(try self.primary())
        }
        if withFilters { value = try self.filters(value) }
        return value
    }

    // MARK: Parts

    private mutating func primary() throws(TokenizationError) -> TemplateExpression {
        guard let token = self.peek else { throw self.fault("an end") }
        switch token {
        case .name(let name):
            let constant: TemplateValue? =
                switch name {
                case "true", "True": .bool(true)
                case "false", "False": .bool(false)
                case "none", "None": TemplateValue.none
                default: nil
                }
            if constant == nil, ["if", "else", "in", "is", "and", "or", "not"].contains(name) {
                throw self.fault("an unexpected '\(name)'")
            }
            self.step()
            return constant.map(TemplateExpression.constant) ?? .name(name)
        case .string:
            var text = ""
            while case .string(let part)? = self.peek {
                text += part
                self.step()
            }
            return .constant(.string(text))
        case .integer(let value):
            self.step()
            return .constant(.int(value))
        case .float(let value):
            self.step()
            return .constant(.float(value))
        case .sign("("):
            self.step()
            if self.take(.sign(")")) { return .list([]) }
            let first = try self.expression()
            if self.take(.sign(")")) { return first }
            try self.expect(.sign(","), "','")
            return .list([first] + (try self.list(until: ")")))
        case .sign("["):
            self.step()
            return .list(try self.list(until: "]"))
        case .sign("{"):
            self.step()
            var pairs: [TemplateExpression.Pair] = []
            while !self.take(.sign("}")) {
                let key = try self.expression()
                try self.expect(.sign(":"), "':'")
                pairs.append(TemplateExpression.Pair(key: key, value: try self.expression()))
                if !self.take(.sign(",")), self.peek != .sign("}") { throw self.fault("no ','") }
            }
            return .dictionary(pairs)
        default: throw self.fault("an unexpected token in an expression")
        }
    }

    private mutating func list(until end: String) throws(TokenizationError) -> [TemplateExpression] {
        var elements: [TemplateExpression] = []
        while !self.take(.sign(end)) {
            elements.append(try self.expression())
            if !self.take(.sign(",")), self.peek != .sign(end) { throw self.fault("no ','") }
        }
        return elements
    }

    private mutating func suffixes(_ value: TemplateExpression) throws(TokenizationError) -> TemplateExpression {
        var value = value
        while true {
            if self.take(.sign(".")) {
                if case .integer(let index)? = self.peek {
                    self.step()
                    value = .item(value, .constant(.int(index)))
                } else {
                    value = .attribute(value, try self.name())
                }
            } else if self.take(.sign("[")) {
                value = try self.subscripted(value)
            } else if self.peek == .sign("(") {
                try self.checkCall(value)
                value = .call(value, try self.arguments())
            } else {
                return value
            }
        }
    }

    /// Only what is known can be called, so that a template that needs more is found out when it is read.
    private func checkCall(_ value: TemplateExpression) throws(TokenizationError) {
        switch value {
        case .name(let name):
            guard TemplateRenderer.functions.contains(name) || self.isMacro(name) else {
                throw self.fault("a call of '\(name)', which is not supported,")
            }
        case .attribute(_, let name), .item(_, .constant(.string(let name))):
            guard TemplateRenderer.methods.contains(name) else {
                throw self.fault("a call of the method '\(name)', which is not supported,")
            }
        default: throw self.fault("a call of something without a name, which is not supported,")
        }
    }

    private mutating func subscripted(_ value: TemplateExpression) throws(TokenizationError) -> TemplateExpression {
        var parts: [TemplateExpression?] = []
        while true {
            let isEmpty = self.peek == .sign(":") || self.peek == .sign("]")
            parts.append(isEmpty ? nil : try self.expression())
            if self.take(.sign(":")) { continue }
            try self.expect(.sign("]"), "']'")
            break
        }
        if parts.count == 1 {
            guard let index = parts[0] else { throw self.fault("an empty index") }
            return .item(value, index)
        }
        guard parts.count <= 3 else { throw self.fault("a slice of too many parts") }
        return .slice(value, parts[0], parts[1], parts.count == 3 ? parts[2] : nil)
    }

    private mutating func arguments() throws(TokenizationError) -> TemplateExpression.Arguments {
        var arguments = TemplateExpression.Arguments()
        try self.expect(.sign("("), "'('")
        while !self.take(.sign(")")) {
            if self.peek == .sign("*") || self.peek == .sign("**") {
                throw self.fault("spread arguments, which are not supported,")
            }
            let mark = self.mark
            if case .name(let name)? = self.peek {
                self.step()
                if self.take(.sign("=")) {
                    let value = try self.expression()
                    arguments.named.append(TemplateExpression.Named(name: name, value: value))
                    if !self.take(.sign(",")), self.peek != .sign(")") { throw self.fault("no ','") }
                    continue
                }
                self.back(to: mark)
            }
            arguments.positional.append(try self.expression())
            if !self.take(.sign(",")), self.peek != .sign(")") { throw self.fault("no ','") }
        }
        return arguments
    }

    private mutating func filters(_ value: TemplateExpression) throws(TokenizationError) -> TemplateExpression {
        var value = value
        while true {
            if self.take(.sign("|")) {
                guard case .name(let name)? = self.peek, TemplateRenderer.filters.contains(name) else {
                    throw self.fault("a filter that is not supported")
                }
                self.step()
                let arguments = self.peek == .sign("(") ? try self.arguments() : TemplateExpression.Arguments()
                value = .filter(value, name, arguments)
            } else if self.take(.name("is")) {
                let isNegated = self.take(.name("not"))
                guard case .name(let name)? = self.peek, TemplateRenderer.tests.contains(name) else {
                    throw self.fault("a test that is not supported")
                }
                self.step()
                var arguments = TemplateExpression.Arguments()
                if self.peek == .sign("(") {
                    arguments = try self.arguments()
                } else if self.beginsArgument {
                    arguments.positional = [try self.suffixes(try self.primary())]
                }
                value = .test(value, name, arguments, isNegated: isNegated)
            } else {
                return value
            }
        }
    }

    /// Whether what follows a test is its argument without brackets.
    private var beginsArgument: Bool {
        switch self.peek {
        case .name(let name)?: !["else", "or", "and", "is", "if", "in", "not", "recursive"].contains(name)
        case .string?, .integer?, .float?, .sign("[")?, .sign("{")?: true
        default: false
        }
    }
}
