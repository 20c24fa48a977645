// What words become.

extension ScriptReading {
    /// The fields of a word, as bash would split it.
    func fields(_ word: ShellWord) -> [ScriptText] {
        var fields: [ScriptText] = []
        var current: ScriptText?
        for part in word.parts {
            switch part {
            case .literal(let text, _):
                current = (current ?? ScriptText(literal: "")) + ScriptText(literal: text)
            case .arithmetic(let text):
                current = (current ?? ScriptText(literal: "")) + self.arithmetic(text, line: word.line)
            case .output(let text, _):
                current = (current ?? ScriptText(literal: "")) + self.output(text, line: word.line)
            case .variable(let variable, let isQuoted):
                let values = self.values(of: variable, line: word.line)
                let isList = variable.subscript_ == "@" || variable.name == "@" || variable.name == "*"
                if isList {
                    guard let first = values.first else { continue }
                    fields += values.dropLast().enumerated().map {
                        $0.offset == 0 ? (current.map { $0 + first } ?? first) : $0.element
                    }
                    current = values.count == 1 ? (current.map { $0 + first } ?? first) : values.last
                } else if let value = values.first {
                    guard !isQuoted, let plain = value.plain else {
                        current = (current ?? ScriptText(literal: "")) + value
                        continue
                    }
                    let pieces = plain.split { $0 == " " || $0 == "\t" || $0 == "\n" }.map(String.init)
                    // Nothing at all is no field.
                    guard let first = pieces.first else { continue }
                    current = (current ?? ScriptText(literal: "")) + ScriptText(literal: first)
                    for piece in pieces.dropFirst() {
                        if let done = current { fields.append(done) }
                        current = ScriptText(literal: piece)
                    }
                }
            }
        }
        if let current { fields.append(current) }
        return fields
    }

    /// One text, without splitting.
    func text(_ word: ShellWord) -> ScriptText {
        var result = ScriptText(literal: "")
        for part in word.parts {
            switch part {
            case .literal(let text, _): result = result + ScriptText(literal: text)
            case .arithmetic(let text): result = result + self.arithmetic(text, line: word.line)
            case .output(let text, _): result = result + self.output(text, line: word.line)
            case .variable(let variable, _):
                let values = self.values(of: variable, line: word.line)
                for (index, value) in values.enumerated() {
                    result = result + (index > 0 ? ScriptText(literal: " ") : ScriptText(literal: "")) + value
                }
            }
        }
        return result
    }

    /// A word that a variable gets; what is not known is taken from the shell that calls the launcher, under the same name.
    func value(of word: ShellWord, named name: String, line: Int) -> ScriptText {
        let text = self.text(word)
        guard !text.unknown.isEmpty else { return text }
        return ScriptText(
            text: "${\(name):?line \(line) of \(self.name) computes it}",
            plain: nil,
            assumed: nil,
            unknown: ["\(name) is known only when the script runs (line \(line)): the manifest takes it from the shell"]
        )
    }

    mutating func assign(_ assignment: ShellAssignment, line: Int) {
        let before = self.variables[assignment.name]
        switch assignment.value {
        case .word(let word):
            let value = self.value(of: word, named: assignment.name, line: line)
            if assignment.isAppended, case .text(let old)? = before {
                self.variables[assignment.name] = .text(old + value)
            } else {
                self.variables[assignment.name] = .text(value)
            }
        case .list(let words):
            let values = words.flatMap { self.fields(Self.braces($0)) }
            if assignment.isAppended, case .list(let old)? = before {
                self.variables[assignment.name] = .list(old + values)
            } else {
                self.variables[assignment.name] = .list(values)
            }
        }
    }

    /// `{0..3}` and `{a,b}` as the words that they stand for.
    static func braces(_ word: ShellWord) -> [ShellWord] {
        guard let text = word.keyword else { return [word] }
        func words(_ texts: [String]) -> [ShellWord] {
            texts.map { ShellWord(parts: [.literal($0, isQuoted: false)], line: word.line) }
        }
        if let match = text.wholeMatch(of: /\{(\d{1,5})\.\.(\d{1,5})\}/), let first = Int(match.1),
            let last = Int(match.2),
            abs(last - first) <= 1024
        {
            return words((first <= last ? Array(first...last) : Array((last...first).reversed())).map(String.init))
        }
        if let match = text.wholeMatch(of: /\{([^{}]*,[^{}]*)\}/) {
            return words(match.1.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
        }
        return [word]
    }

    func fields(_ words: [ShellWord]) -> [ScriptText] { words.flatMap { self.fields($0) } }

    // MARK: Parts

    private func arithmetic(_ text: String, line: Int) -> ScriptText {
        let value = ShellArithmetic.value(text) { name in
            if case .text(let text)? = self.variables[name] { return text }
            return self.variables[name] == nil ? self.caller(ShellVariable(name: name), line: line) : nil
        }
        return value ?? self.unknown("'$((\(Spelling.excerpt(text, limit: 60))))' is not understood", line: line)
    }

    /// `seq` is known; any other command would have to run.
    private func output(_ text: String, line: Int) -> ScriptText {
        if let match = text.wholeMatch(of: /\s*seq\s+(\d{1,5})(?:\s+(\d{1,5}))?\s*/), let number = Int(match.1) {
            let (first, last) = match.2.flatMap { Int($0) }.map { (number, $0) } ?? (1, number)
            if last >= first, last - first <= 1024 {
                return ScriptText(literal: (first...last).map(String.init).joined(separator: " "))
            }
        }
        return self.unknown(
            "what '\(Spelling.excerpt(text, limit: 60))' prints is known only when the script runs",
            line: line
        )
    }

    /// A value that the caller has to give, under the name of the variable or of the line.
    private func unknown(_ reason: String, name: String? = nil, line: Int) -> ScriptText {
        let text = "${\(name ?? "IMPORT_LINE_\(line)"):?see line \(line) of \(self.name)}"
        return ScriptText(text: text, plain: nil, assumed: nil, unknown: [reason])
    }

    /// The values of a variable: several for a list.
    private func values(of variable: ShellVariable, line: Int) -> [ScriptText] {
        switch variable.name {
        case "#": return [ScriptText(literal: "0")]
        case "@", "*": return variable.form.isEmpty || variable.form.hasSuffix("+") ? [.passthrough] : []
        case "0": return [ScriptText(literal: self.name)]
        case "?", "!", "$", "-":
            return [self.unknown("'$\(variable.name)' is known only when the script runs", line: line)]
        case let name where name.first?.isNumber ?? false:
            return [variable.operand.map { self.text($0) } ?? ScriptText(literal: "")]
        default: break
        }
        if variable.form == "#", case .list(let values)? = self.variables[variable.name],
            !values.contains(where: \.isPassthrough)
        {
            return [ScriptText(literal: "\(values.count)")]
        }
        let forms: Set<String> = ["", ":-", "-", ":=", "=", ":?", "?", ":+", "+"]
        guard forms.contains(variable.form) else {
            return [
                self.unknown("'${\(variable.name)\(variable.form)...}' is known only when the script runs", line: line)
            ]
        }
        switch self.variables[variable.name] {
        case nil: return [self.caller(variable, line: line)]
        case .text(let value): return [self.known(value, variable)]
        case .list(let values):
            if variable.subscript_ == "@" || variable.subscript_ == "*" { return values }
            let index = variable.subscript_.map { Int($0) ?? -1 } ?? 0
            return [values[safe: index] ?? ScriptText(literal: "")]
        }
    }

    /// What the script itself has assigned.
    private func known(_ value: ScriptText, _ variable: ShellVariable) -> ScriptText {
        let operand = variable.operand.map { self.text($0) } ?? ScriptText(literal: "")
        switch variable.form {
        case ":-", ":=": return value.plain == "" ? operand : value
        case ":+": return value.plain == "" ? ScriptText(literal: "") : operand
        case "+": return operand
        default: return value
        }
    }

    /// What comes from the caller.
    private func caller(_ variable: ShellVariable, line: Int) -> ScriptText {
        let name = variable.name
        let operand = variable.operand.map { self.text($0) } ?? ScriptText(literal: "")
        guard operand.unknown.isEmpty else { return self.unknown(operand.unknown[0], name: name, line: line) }
        // A manifest would take it for the end of the default.
        let rest = operand.text.replacing(/\$\{[^{}]*\}/, with: "").replacing(/\$\{[^{}]*\}/, with: "")
        guard !rest.contains("}") else {
            return self.unknown(
                "the default of \(name) (line \(line)) has a '}', which no manifest can say",
                name: name,
                line: line
            )
        }
        switch variable.form {
        case ":-", ":=": return ScriptText(text: "${\(name):-\(operand.text)}", plain: nil, assumed: operand.assumed)
        case "-", "=": return ScriptText(text: "${\(name)-\(operand.text)}", plain: nil, assumed: operand.assumed)
        case ":?", "?": return ScriptText(text: "${\(name)\(variable.form)\(operand.text)}", plain: nil, assumed: nil)
        case ":+", "+": return ScriptText(text: "${\(name)\(variable.form)\(operand.text)}", plain: nil, assumed: "")
        default: return ScriptText(text: "${\(name):-}", plain: nil, assumed: "")
        }
    }

    // MARK: Conditions

    /// Whether `[ ... ]` or `[[ ... ]]` holds when nobody sets anything; nil: not known, which has been said.
    mutating func holds(_ words: [ShellWord], line: Int) -> Bool? {
        for (sign, isAnd) in [("||", false), ("&&", true)] {
            // Not one within the other: a condition may have thousands of parts.
            let parts = words.split(omittingEmptySubsequences: false) { $0.keyword == sign }
            guard parts.count > 1 else { continue }
            var isKnown = true
            for part in parts {
                let holds = self.holds(Array(part), line: line)
                if holds == !isAnd { return holds }
                isKnown = isKnown && holds != nil
            }
            return isKnown ? isAnd : nil
        }
        let negations = words.prefix { $0.keyword == "!" }.count
        if negations > 0 {
            return self.holds(Array(words.dropFirst(negations)), line: line).map { $0 == negations.isMultiple(of: 2) }
        }
        let values = words.map { self.text($0) }
        func operand(_ index: Int) -> String? { values[index].assumed }
        var result: Bool?
        switch (values.count, values.count > 1 ? words[values.count == 2 ? 0 : 1].keyword : nil) {
        case (1, _): result = operand(0).map { !$0.isEmpty }
        case (2, "-z"): result = operand(1).map(\.isEmpty)
        case (2, "-n"): result = operand(1).map { !$0.isEmpty }
        case (3, "="), (3, "=="): result = Self.both(operand(0), operand(2)) { Self.matches($0, $1) }
        case (3, "!="): result = Self.both(operand(0), operand(2)) { !Self.matches($0, $1) }
        case (3, let sign?):
            let signs: [String: (Int, Int) -> Bool] = [
                "-eq": (==), "-ne": (!=), "-lt": (<), "-le": (<=), "-gt": (>), "-ge": (>=),
            ]
            if let compare = signs[sign], let first = operand(0).flatMap({ Int($0) }),
                let second = operand(2).flatMap({ Int($0) })
            {
                result = compare(first, second)
            }
        default: break
        }
        guard let result else {
            self.lose(line, "a condition is known only when the script runs: what stands under it is left out")
            return nil
        }
        for value in values where value.plain == nil { self.assume(value, line: line) }
        return result
    }

    private static func both(_ first: String?, _ second: String?, _ compare: (String, String) -> Bool) -> Bool? {
        first.flatMap { first in second.map { compare(first, $0) } }
    }

    mutating func assume(_ value: ScriptText, line: Int) {
        self.lose(line, "what depends on \(value.text) is as it is when nobody sets that variable")
    }
}
