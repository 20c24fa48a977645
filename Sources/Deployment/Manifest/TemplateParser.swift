/// Reads the expressions of a template.
struct TemplateParser {
    private let scalars: [Unicode.Scalar]
    private var index = 0
    /// Of all expressions of the text together.
    private var operands = 0

    private init(_ text: String) {
        self.scalars = Array(text.unicodeScalars)
    }

    /// The template that a text is.
    ///
    /// - Parameter text: What the manifest says, variables replaced.
    /// - Returns: The template.
    /// - Throws: `Template.Failure` when an expression cannot be read.
    static func parse(_ text: String) throws(Template.Failure) -> Template {
        guard text.contains("{{") else { return Template(literal: text) }
        var parser = TemplateParser(text)
        return try parser.template()
    }

    private mutating func template() throws(Template.Failure) -> Template {
        var template = Template(literal: "")
        var literal = String.UnicodeScalarView()
        while self.index < self.scalars.count {
            guard self.scalars[self.index...].starts(with: "{{".unicodeScalars) else {
                literal.append(self.scalars[self.index])
                self.index += 1
                continue
            }
            if !literal.isEmpty {
                template.parts.append(.literal(String(literal)))
                literal = .init()
            }
            self.index += 2
            let expression = try self.sum(depth: 0)
            self.skipSpace()
            guard self.scalars[self.index...].starts(with: "}}".unicodeScalars) else {
                throw self.unexpected(wanted: "'}}'")
            }
            self.index += 2
            if case .text(let text) = expression {
                literal.append(contentsOf: text.unicodeScalars)
            } else {
                template.parts.append(.expression(expression))
            }
        }
        if !literal.isEmpty {
            template.parts.append(.literal(String(literal)))
        }
        return template
    }

    private mutating func sum(depth: Int) throws(Template.Failure) -> Template.Expression {
        var left = try self.product(depth: depth)
        while let symbol = self.symbol([.plus, .minus]) {
            left = .calculation(left, symbol, try self.product(depth: depth))
        }
        return left
    }

    private mutating func product(depth: Int) throws(Template.Failure) -> Template.Expression {
        var left = try self.operand(depth: depth)
        while let symbol = self.symbol([.times, .dividedBy, .modulo]) {
            left = .calculation(left, symbol, try self.operand(depth: depth))
        }
        return left
    }

    private mutating func operand(depth: Int) throws(Template.Failure) -> Template.Expression {
        self.skipSpace()
        self.operands += 1
        guard depth < 32, self.operands <= 100 else {
            throw .init(
                message: "'{{...}}' is too long or nested too deeply",
                remedy: "use fewer parentheses and operators"
            )
        }
        guard let first = self.peek else { throw self.unexpected(wanted: "a name or a number") }
        switch first {
        case "(":
            self.index += 1
            let inner = try self.sum(depth: depth + 1)
            self.skipSpace()
            guard self.peek == ")" else { throw self.unexpected(wanted: "')'") }
            self.index += 1
            return inner
        case "-":
            self.index += 1
            return .negated(try self.operand(depth: depth + 1))
        case "'", "\"":
            return try self.quoted(first)
        case "0"..."9":
            let digits = self.take { ("0"..."9").contains($0) }
            guard let number = Int(digits) else {
                throw .init(
                    message: "the number \(Spelling.excerpt(digits)) in '{{...}}' is too large",
                    remedy: "use a smaller number"
                )
            }
            return .number(number)
        case _ where Interpolation.startsName(first):
            return .name(self.name())
        default:
            throw self.unexpected(wanted: "a name or a number")
        }
    }

    private mutating func quoted(_ quote: Unicode.Scalar) throws(Template.Failure) -> Template.Expression {
        self.index += 1
        let text = self.take { $0 != quote }
        guard self.peek == quote else { throw self.unexpected(wanted: "the closing \(quote)") }
        self.index += 1
        return .text(text)
    }

    private mutating func symbol(_ symbols: [Template.Operator]) -> Template.Operator? {
        self.skipSpace()
        guard let next = self.peek, let symbol = Template.Operator(rawValue: String(next)), symbols.contains(symbol)
        else {
            return nil
        }
        self.index += 1
        return symbol
    }

    private var peek: Unicode.Scalar? { self.index < self.scalars.count ? self.scalars[self.index] : nil }

    /// A name with dots; after a dot, a `-` between letters belongs to it, as in `port.kv-events`.
    private mutating func name() -> String {
        var name = String.UnicodeScalarView()
        while let scalar = self.peek {
            let joins =
                scalar == "-" && name.contains(".") && self.index + 1 < self.scalars.count
                && Interpolation.startsName(self.scalars[self.index + 1])
            guard Interpolation.continuesName(scalar) || scalar == "." || joins else { break }
            name.append(scalar)
            self.index += 1
        }
        return String(name)
    }

    private mutating func take(while accepts: (Unicode.Scalar) -> Bool) -> String {
        var text = String.UnicodeScalarView()
        while let scalar = self.peek, accepts(scalar) {
            text.append(scalar)
            self.index += 1
        }
        return String(text)
    }

    private mutating func skipSpace() {
        while self.peek == " " || self.peek == "\t" {
            self.index += 1
        }
    }

    private func unexpected(wanted: String) -> Template.Failure {
        let found = self.peek.map { "'\(Spelling.excerpt(String($0)))'" } ?? "the end"
        return .init(
            message: "'{{' is followed by something unreadable: \(found) where \(wanted) should be",
            remedy: "write '{{index}}', '{{port.NAME}}' or a calculation such as '{{20080 + index}}'; "
                + "for the braces themselves write {{'{{'}}"
        )
    }
}
