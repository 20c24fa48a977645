/// `$((...))`, with whole numbers.
enum ShellArithmetic {
    /// The value, or an expression of a manifest where a number comes from the shell that calls the launcher.
    ///
    /// - Parameters:
    ///   - text: what stands between the parentheses.
    ///   - variable: what a name stands for, as manifests have it.
    /// - Returns: nil: it is not understood.
    static func value(_ text: String, variable: (String) -> ScriptText?) -> ScriptText? {
        var pieces: [String] = []
        var isPlain = true
        var rest = text[...]
        while let character = rest.first {
            if character.isWhitespace {
                rest.removeFirst()
            } else if character.isNumber {
                pieces.append(String(rest.prefix { $0.isNumber }))
                rest = rest.drop { $0.isNumber }
            } else if "+-*/%()".contains(character) {
                pieces.append(String(character))
                rest.removeFirst()
            } else {
                if character == "$" { rest.removeFirst() }
                let isBraced = rest.first == "{"
                if isBraced { rest.removeFirst() }
                let name = rest.prefix { $0 == "_" || $0.isLetter || $0.isNumber }
                rest = rest[name.endIndex...]
                if isBraced {
                    guard rest.first == "}" else { return nil }
                    rest.removeFirst()
                }
                guard !name.isEmpty, let value = variable(String(name)), value.unknown.isEmpty else { return nil }
                if let plain = value.plain {
                    guard Int(plain) != nil else { return nil }
                    pieces.append(plain)
                } else {
                    isPlain = false
                    pieces.append(value.text)
                }
            }
        }
        guard isPlain else {
            return ScriptText(text: "{{\(pieces.joined(separator: " "))}}", plain: nil, assumed: nil)
        }
        guard !Self.isTooDeep(pieces) else { return nil }
        var tokens = pieces[...]
        guard let number = Self.sum(&tokens), tokens.isEmpty else { return nil }
        return ScriptText(literal: String(number))
    }

    /// Whether reading it could take more of the stack than there is.
    private static func isTooDeep(_ tokens: [String]) -> Bool {
        var depth = 0
        return tokens.contains { token in
            depth += token == "(" ? 1 : token == ")" ? -1 : 0
            return depth > 64
        }
    }

    private static func sum(_ tokens: inout ArraySlice<String>) -> Int? {
        guard var value = self.product(&tokens) else { return nil }
        while let sign = tokens.first, sign == "+" || sign == "-" {
            tokens.removeFirst()
            guard let other = self.product(&tokens) else { return nil }
            let (result, overflow) =
                sign == "+" ? value.addingReportingOverflow(other) : value.subtractingReportingOverflow(other)
            guard !overflow else { return nil }
            value = result
        }
        return value
    }

    private static func product(_ tokens: inout ArraySlice<String>) -> Int? {
        guard var value = self.factor(&tokens) else { return nil }
        while let sign = tokens.first, ["*", "/", "%"].contains(sign) {
            tokens.removeFirst()
            guard let other = self.factor(&tokens) else { return nil }
            let (result, overflow) =
                switch sign {
                case "*": value.multipliedReportingOverflow(by: other)
                case "/": value.dividedReportingOverflow(by: other)
                default: value.remainderReportingOverflow(dividingBy: other)
                }
            guard !overflow else { return nil }
            value = result
        }
        return value
    }

    private static func factor(_ tokens: inout ArraySlice<String>) -> Int? {
        var isNegative = false
        while let sign = tokens.first, sign == "-" || sign == "+" {
            tokens.removeFirst()
            if sign == "-" { isNegative.toggle() }
        }
        guard let token = tokens.popFirst() else { return nil }
        var value = Int(token)
        if token == "(" {
            value = self.sum(&tokens)
            guard tokens.popFirst() == ")" else { return nil }
        }
        return isNegative ? value.flatMap { $0 == .min ? nil : -$0 } : value
    }

    /// The variable and the numbers of `i=0; i<4; i++`.
    static func count(_ head: String) -> (name: String, values: [Int])? {
        let text = head.filter { !$0.isWhitespace }
        guard
            let match = text.wholeMatch(
                of: /([A-Za-z_]+)=(\d{1,6});([A-Za-z_]+)(<=?)(\d{1,6});(?:([A-Za-z_]+)\+\+|\+\+([A-Za-z_]+))/
            ),
            match.1 == match.3, match.1 == match.6 ?? match.7 ?? "", let first = Int(match.2), let last = Int(match.5)
        else { return nil }
        let end = match.4 == "<" ? last : last + 1
        guard end >= first, end - first <= 1024 else { return nil }
        return (String(match.1), Array(first..<end))
    }
}
