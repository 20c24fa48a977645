/// Turns the text of an expression into a program.
struct PatternParser {
    private let text: [Unicode.Scalar]
    private var position = 0
    private var depth = 0
    private var program: [Pattern.Instruction] = []
    private var classes: [ScalarClass] = []
    private var indices: [ScalarClass: Int] = [:]

    init(_ text: String) { self.text = Array(text.unicodeScalars) }

    mutating func parse() throws(TokenizationError) -> ([Pattern.Instruction], [ScalarClass]) {
        try self.alternatives(ignoringCase: false)
        guard self.position == self.text.count else { throw self.fault("an unexpected ')'") }
        self.program.append(.accept)
        return (self.program, self.classes)
    }

    private func fault(_ what: String) -> TokenizationError {
        let text = String(String.UnicodeScalarView(self.text))
        return TokenizationError(
            "the pattern \(text) has \(what) at character \(self.position + 1), which is not supported"
        )
    }

    private var peek: Unicode.Scalar? { self.position < self.text.count ? self.text[self.position] : nil }

    private mutating func take(_ word: String) -> Bool {
        let word = Array(word.unicodeScalars)
        guard self.text[self.position...].starts(with: word) else { return false }
        self.position += word.count
        return true
    }

    // MARK: Structure

    private mutating func alternatives(ignoringCase: Bool) throws(TokenizationError) {
        guard self.depth < 32 else { throw self.fault("groups nested too deeply") }
        self.depth += 1
        defer { self.depth -= 1 }
        var ends: [Int] = []
        while true {
            let choice = self.program.count
            self.program.append(.accept)
            try self.sequence(ignoringCase: ignoringCase)
            guard self.take("|") else {
                // The last alternative needs no choice.
                self.program[choice] = .jump(choice + 1)
                break
            }
            ends.append(self.program.count)
            self.program.append(.accept)
            self.program[choice] = .either(choice + 1, self.program.count)
        }
        for end in ends { self.program[end] = .jump(self.program.count) }
    }

    private mutating func sequence(ignoringCase: Bool) throws(TokenizationError) {
        while let scalar = self.peek, scalar != "|", scalar != ")" {
            if scalar == "(" { try self.group(ignoringCase) } else { try self.atom(ignoringCase) }
        }
    }

    private mutating func group(_ ignoringCase: Bool) throws(TokenizationError) {
        let begin = self.program.count
        if self.take("(?!") || self.take("(?=") {
            let isNegative = self.text[self.position - 1] == "!"
            self.program.append(.accept)
            try self.alternatives(ignoringCase: ignoringCase)
            self.program.append(.accept)
            self.program[begin] = .ahead(isNegative: isNegative, end: self.program.count)
            guard self.take(")") else { throw self.fault("a group without end") }
            return
        }
        var ignoringCase = ignoringCase
        if self.take("(?i:") {
            ignoringCase = true
        } else if !self.take("(?:") {
            guard self.take("("), self.peek != "?" else { throw self.fault("a group '(?…'") }
        }
        // Room for a choice, should the group turn out to be optional.
        self.program.append(.jump(begin + 1))
        try self.alternatives(ignoringCase: ignoringCase)
        guard self.take(")") else { throw self.fault("a group without end") }
        switch self.peek {
        case "?"?:
            self.position += 1
            // Giving back an optional group would need a mark on the way; those in use stand at the end of an alternative.
            _ = self.take("+")
            self.program[begin] = .either(begin + 1, self.program.count)
        case "*"?, "+"?, "{"?: throw self.fault("a repeated group")
        default: break
        }
    }

    private mutating func atom(_ ignoringCase: Bool) throws(TokenizationError) {
        let index = self.index(of: try self.scalarClass(ignoringCase))
        var (least, most) = (1, 1)
        switch self.peek {
        case "?"?: (least, most) = (0, 1)
        case "*"?: (least, most) = (0, .max)
        case "+"?: (least, most) = (1, .max)
        case "{"?:
            self.position += 1
            (least, most) = try self.bounds()
            self.program.append(.many(index, least: least, most: try self.repeated(least, most), givesBack: true))
            return
        default:
            self.program.append(.one(index))
            return
        }
        self.position += 1
        let givesBack = !self.take("+")
        guard self.peek != "?" else { throw self.fault("a reluctant repetition") }
        self.program.append(.many(index, least: least, most: most, givesBack: givesBack))
    }

    /// A `+` behind a counted repetition repeats it, as in Oniguruma, where it makes others keep what they have.
    private mutating func repeated(_ least: Int, _ most: Int) throws(TokenizationError) -> Int {
        guard self.peek != "?", self.peek != "*" else { throw self.fault("a repeated repetition") }
        guard self.peek == "+" else { return most }
        guard least <= 1 else { throw self.fault("a repeated repetition") }
        self.position += 1
        return .max
    }

    /// `3}`, `1,3}` or `1,}`; stands behind it.
    private mutating func bounds() throws(TokenizationError) -> (Int, Int) {
        func number() -> Int? {
            var digits = ""
            while let scalar = self.peek, ("0"..."9").contains(scalar), digits.utf8.count < 6 {
                digits.unicodeScalars.append(scalar)
                self.position += 1
            }
            return Int(digits)
        }
        guard let least = number() else { throw self.fault("a repetition without a number") }
        guard self.take(",") else {
            guard self.take("}") else { throw self.fault("a repetition without end") }
            return (least, least)
        }
        let most = number() ?? .max
        guard self.take("}"), most >= least else { throw self.fault("a repetition without sense") }
        return (least, most)
    }

    private mutating func index(of set: ScalarClass) -> Int {
        if let index = self.indices[set] { return index }
        self.classes.append(set)
        self.indices[set] = self.classes.count - 1
        return self.classes.count - 1
    }

    // MARK: Characters

    private mutating func scalarClass(_ ignoringCase: Bool) throws(TokenizationError) -> ScalarClass {
        guard let scalar = self.peek else { throw self.fault("an end") }
        switch scalar {
        case "[": return try self.bracketed(ignoringCase)
        case "\\":
            switch try self.escape() {
            case .scalar(let scalar): return ScalarClass(scalar, ignoringCase: ignoringCase)
            case .item(let item): return ScalarClass([item])
            }
        case ".": throw self.fault("'.'")
        case "^", "$": throw self.fault("an anchor '\(scalar)'")
        case "*", "+", "?", "{": throw self.fault("a repetition of nothing")
        default:
            self.position += 1
            return ScalarClass(scalar, ignoringCase: ignoringCase)
        }
    }

    private mutating func bracketed(_ ignoringCase: Bool) throws(TokenizationError) -> ScalarClass {
        self.position += 1
        let isNegated = self.take("^")
        var items: [ScalarClass.Item] = []
        while let scalar = self.peek, scalar != "]" {
            if scalar == "[" { throw self.fault("a class in a class") }
            if self.text[self.position...].starts(with: "&&".unicodeScalars) {
                throw self.fault("an intersection of classes")
            }
            let low: Unicode.Scalar
            if scalar == "\\" {
                switch try self.escape() {
                case .scalar(let scalar): low = scalar
                case .item(let item):
                    items.append(item)
                    continue
                }
            } else {
                self.position += 1
                low = scalar
            }
            guard self.peek == "-", self.position + 1 < self.text.count, self.text[self.position + 1] != "]" else {
                if ignoringCase, low.properties.isAlphabetic { throw self.fault("a class without regard to case") }
                items.append(.range(low.value...low.value))
                continue
            }
            self.position += 1
            let high: Unicode.Scalar
            if self.peek == "\\" {
                guard case .scalar(let scalar) = try self.escape() else { throw self.fault("a range without sense") }
                high = scalar
            } else {
                high = self.text[self.position]
                self.position += 1
            }
            guard low.value <= high.value else { throw self.fault("a range without sense") }
            items.append(.range(low.value...high.value))
        }
        guard self.take("]") else { throw self.fault("a class without end") }
        return ScalarClass(items, isNegated: isNegated)
    }

    private enum Escape {
        case scalar(Unicode.Scalar)
        case item(ScalarClass.Item)
    }

    private mutating func escape() throws(TokenizationError) -> Escape {
        self.position += 1
        guard let scalar = self.peek else { throw self.fault("an end") }
        self.position += 1
        switch scalar {
        case "s": return .item(.whitespace(isNegated: false))
        case "S": return .item(.whitespace(isNegated: true))
        case "d", "D": return .item(.categories(ScalarClass.categories("Nd") ?? 0, isNegated: scalar == "D"))
        case "r": return .scalar("\r")
        case "n": return .scalar("\n")
        case "t": return .scalar("\t")
        case "p", "P":
            var name = ""
            if self.take("{") {
                while let next = self.peek, next != "}" {
                    name.unicodeScalars.append(next)
                    self.position += 1
                }
                self.position += 1
            } else if let next = self.peek {
                name.unicodeScalars.append(next)
                self.position += 1
            }
            guard let mask = ScalarClass.categories(name) else { throw self.fault("the property '\(name)'") }
            return .item(.categories(mask, isNegated: scalar == "P"))
        default:
            guard !scalar.properties.isAlphabetic, scalar.properties.numericType == nil else {
                throw self.fault("the escape '\\\(scalar)'")
            }
            return .scalar(scalar)
        }
    }
}
