/// A text with `{{...}}` in it, resolved for each replica.
package struct Template: Sendable, Hashable {
    enum Part: Sendable, Hashable {
        case literal(String)
        case expression(Expression)
    }

    indirect enum Expression: Sendable, Hashable {
        case number(Int)
        case text(String)
        case name(String)
        case negated(Expression)
        case calculation(Expression, Operator, Expression)
    }

    enum Operator: String, Sendable, Hashable {
        case plus = "+"
        case minus = "-"
        case times = "*"
        case dividedBy = "/"
        case modulo = "%"
    }

    enum Value: Sendable, Hashable {
        case number(Int)
        case text(String)

        var text: String {
            switch self {
            case .number(let number): String(number)
            case .text(let text): text
            }
        }
    }

    /// Why a template has no value.
    struct Failure: Error, Hashable {
        var message: String
        var remedy: String
    }

    var parts: [Part]
    /// Whether a part came from a variable whose name sounds like a secret.
    package var isSecret = false
    /// Whether it is a variable that may be missing, and is empty then: `${HF_TOKEN:-}`.
    var isOptional = false
    /// As it stands in the manifest or in `--set`, with its variables; nil: in neither.
    var written: String?

    init(parts: [Part]) {
        self.parts = parts
    }

    /// A text without expressions.
    init(literal: String) {
        self.parts = literal.isEmpty ? [] : [.literal(literal)]
    }

    /// The text if nothing in it depends on the replica.
    package var literal: String? {
        var result = ""
        for part in self.parts {
            guard case .literal(let text) = part else { return nil }
            result += text
        }
        return result
    }

    /// The texts between its expressions.
    var literals: [String] {
        self.parts.compactMap { if case .literal(let text) = $0 { text } else { nil } }
    }

    /// Every name that is used.
    var names: [String] {
        self.parts.flatMap { part -> [String] in
            if case .expression(let expression) = part { Self.names(in: expression) } else { [] }
        }
    }

    private static func names(in expression: Expression) -> [String] {
        switch expression {
        case .number, .text: []
        case .name(let name): [name]
        case .negated(let inner): self.names(in: inner)
        case .calculation(let left, _, let right): self.names(in: left) + self.names(in: right)
        }
    }

    /// The text for one replica.
    ///
    /// - Parameter values: What each name stands for.
    /// - Returns: The text.
    /// - Throws: `Failure` when a name has no value or a calculation has no result.
    func resolved(_ values: [String: Value]) throws(Failure) -> String {
        var result = ""
        for part in self.parts {
            switch part {
            case .literal(let text): result += text
            case .expression(let expression): result += try Self.value(expression, values).text
            }
        }
        return result
    }

    private static func value(_ expression: Expression, _ values: [String: Value]) throws(Failure) -> Value {
        switch expression {
        case .number(let number):
            return .number(number)
        case .text(let text):
            return .text(text)
        case .name(let name):
            guard let value = values[name] else {
                if name.hasPrefix("preflight.") {
                    throw Failure(
                        message: "'{{\(name)}}' has no value",
                        remedy: "have the preflight write a line to its output; in a cluster none is run"
                    )
                }
                throw Failure(message: "'{{\(name)}}' has no value here", remedy: "use a name that this process has")
            }
            return value
        case .negated(let inner):
            return .number(try self.calculate(0, .minus, self.number(inner, values)))
        case .calculation(let left, let symbol, let right):
            return .number(try self.calculate(self.number(left, values), symbol, self.number(right, values)))
        }
    }

    private static func number(_ expression: Expression, _ values: [String: Value]) throws(Failure) -> Int {
        switch try self.value(expression, values) {
        case .number(let number):
            return number
        case .text(let text):
            throw Failure(
                message: "'\(Spelling.excerpt(text))' is not a number, so nothing can be calculated with it",
                remedy: "calculate with numbers, 'index', 'replicas' or 'port.NAME'"
            )
        }
    }

    private static func calculate(_ left: Int, _ symbol: Operator, _ right: Int) throws(Failure) -> Int {
        if symbol == .dividedBy || symbol == .modulo, right == 0 {
            throw Failure(message: "division by zero in '{{...}}'", remedy: "divide by a number other than 0")
        }
        let (value, overflow) =
            switch symbol {
            case .plus: left.addingReportingOverflow(right)
            case .minus: left.subtractingReportingOverflow(right)
            case .times: left.multipliedReportingOverflow(by: right)
            case .dividedBy: left.dividedReportingOverflow(by: right)
            case .modulo: left.remainderReportingOverflow(dividingBy: right)
            }
        guard !overflow else {
            throw Failure(message: "a number in '{{...}}' is too large", remedy: "use smaller numbers")
        }
        return value
    }
}
