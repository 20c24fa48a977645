/// The signs and words of a script, one after the other.
struct ShellLexer {
    private let characters: [Character]
    private var index = 0
    private(set) var line = 1
    private var depth = 0
    private var documents: [(end: String, isIndented: Bool)] = []

    init(_ text: String) {
        // Windows' line ends are one character of their own.
        self.characters = text.map { $0 == "\r\n" ? "\n" : $0 }
    }

    var isAtEnd: Bool { self.index >= self.characters.count }
    private var peek: Character? { self.isAtEnd ? nil : self.characters[self.index] }
    /// What stands here, for messages.
    var next: String { self.peek.map { $0 == "\n" ? "end of line" : String($0) } ?? "end of script" }

    func error(_ message: String) -> ShellSyntaxError { ShellSyntaxError(line: self.line, message: message) }

    func isAt(_ sign: String) -> Bool {
        self.characters[self.index...].prefix(sign.count).elementsEqual(sign)
    }

    private static let ends: Set<Character> = [" ", "\t", "\n", ";", "&", "|", "(", ")", "<", ">"]

    /// Whether a word of the language stands here.
    func isAt(word: String) -> Bool {
        guard self.isAt(word) else { return false }
        let after = self.index + word.count
        return after >= self.characters.count || Self.ends.contains(self.characters[after])
    }

    /// Whether a word begins here.
    var isAtWord: Bool { self.peek.map { !Self.ends.contains($0) } ?? false }

    private mutating func advance() {
        if self.characters[self.index] == "\n" { self.line += 1 }
        self.index += 1
    }

    mutating func take(_ sign: String) -> Bool {
        guard self.isAt(sign) else { return false }
        for _ in sign { self.advance() }
        return true
    }

    mutating func take(word: String) -> Bool { self.isAt(word: word) && self.take(word) }

    /// `()` after the name of a function.
    mutating func takeFunctionSign() -> Bool {
        let before = (self.index, self.line)
        self.skipBlanks()
        if self.take("(") {
            self.skipBlanks()
            if self.take(")") { return true }
        }
        (self.index, self.line) = before
        return false
    }

    // MARK: Between words

    /// Spaces, continued lines and comments.
    mutating func skipBlanks() {
        while let character = self.peek {
            if character == " " || character == "\t" {
                self.advance()
            } else if self.isAt("\\\n") {
                self.advance()
                self.advance()
            } else if character == "#", self.index == 0 || Self.ends.contains(self.characters[self.index - 1]) {
                while let other = self.peek, other != "\n" { self.advance() }
            } else {
                return
            }
        }
    }

    mutating func skipBlanks(andNewlines: Bool) throws(ShellSyntaxError) {
        self.skipBlanks()
        while andNewlines, self.peek == "\n" {
            try self.newline()
            self.skipBlanks()
        }
    }

    mutating func skipSeparators() throws(ShellSyntaxError) {
        while true {
            try self.skipBlanks(andNewlines: true)
            guard self.peek == ";", !self.isAt(";;"), !self.isAt(";&") else { return }
            self.advance()
        }
    }

    /// The end of a line, and the documents that begin after it (`<<`).
    private mutating func newline() throws(ShellSyntaxError) {
        self.advance()
        for document in self.documents {
            while true {
                guard !self.isAtEnd else { throw self.error("the script ends, and '\(document.end)' is missing") }
                let end = self.characters[self.index...].firstIndex(of: "\n") ?? self.characters.endIndex
                var text = String(self.characters[self.index..<end])
                while self.index < end { self.advance() }
                if !self.isAtEnd { self.advance() }
                if document.isIndented { text = String(text.drop { $0 == "\t" }) }
                if text == document.end { break }
            }
        }
        self.documents = []
    }

    /// `> file`, `2>&1`, `<< END` and their relatives; what they name.
    mutating func redirection() throws(ShellSyntaxError) -> String? {
        let before = (self.index, self.line)
        while let character = self.peek, character.isNumber { self.advance() }
        let signs = ["<<<", "<<-", "<<", "&>>", "&>", ">&", "<&", ">>", ">|", "<>", "<", ">"]
        guard let sign = signs.first(where: { self.isAt($0) }) else {
            (self.index, self.line) = before
            return nil
        }
        _ = self.take(sign)
        self.skipBlanks()
        if self.take("(") || self.take(">(") || self.take("<(") { return "(\(try self.enclosed()))" }
        let word = try self.word()
        if sign == "<<" || sign == "<<-" { self.documents.append((word.literal ?? "", sign == "<<-")) }
        return word.literal ?? ""
    }

    /// `NAME=value`, `NAME+=(a b)`.
    mutating func assignment() throws(ShellSyntaxError) -> ShellAssignment? {
        let before = (self.index, self.line)
        let name = self.name()
        let isAppended = self.isAt("+=")
        guard !name.isEmpty, self.take("+=") || self.take("=") else {
            (self.index, self.line) = before
            return nil
        }
        guard self.take("(") else {
            let value = self.isAtWord ? try self.word() : ShellWord(line: self.line)
            return ShellAssignment(name: name, value: .word(value), isAppended: isAppended)
        }
        var words: [ShellWord] = []
        while true {
            try self.skipBlanks(andNewlines: true)
            if self.take(")") { break }
            guard self.isAtWord else { throw self.error("')' of the list of '\(name)' is missing") }
            words.append(try self.word())
        }
        return ShellAssignment(name: name, value: .list(words), isAppended: isAppended)
    }

    /// The words up to `]]`.
    mutating func testWords() throws(ShellSyntaxError) -> [ShellWord] {
        var words: [ShellWord] = []
        while true {
            try self.skipBlanks(andNewlines: true)
            if self.take(word: "]]") { return words }
            guard let character = self.peek else { throw self.error("']]' is missing") }
            if self.isAtWord {
                words.append(try self.word())
            } else {
                let sign = self.take("&&") ? "&&" : self.take("||") ? "||" : String(character)
                if sign.count == 1 { self.advance() }
                words.append(ShellWord(parts: [.literal(sign, isQuoted: false)], line: self.line))
            }
        }
    }

    // MARK: Words

    private mutating func name() -> String {
        var name = ""
        while let character = self.peek, character.isASCII,
            character == "_" || character.isLetter || (!name.isEmpty && character.isNumber)
        {
            name.append(character)
            self.advance()
        }
        return name
    }

    mutating func word() throws(ShellSyntaxError) -> ShellWord {
        var word = ShellWord(line: self.line)
        while let character = self.peek, !Self.ends.contains(character) {
            try self.part(&word, isQuoted: false)
        }
        guard !word.parts.isEmpty else { throw self.error("a word is missing before '\(self.next)'") }
        return word
    }

    private mutating func part(_ word: inout ShellWord, isQuoted: Bool) throws(ShellSyntaxError) {
        guard let character = self.peek else { return }
        switch character {
        case "\\":
            self.advance()
            guard let next = self.peek else { return }
            self.advance()
            if next == "\n" { return }
            let isKept = isQuoted && !["$", "`", "\"", "\\"].contains(next)
            Self.append(isKept ? "\\\(next)" : String(next), &word, isQuoted: true)
        case "'" where !isQuoted:
            self.advance()
            Self.append(try self.text(until: "'"), &word, isQuoted: true)
        case "\"" where !isQuoted:
            self.advance()
            while self.peek != "\"" {
                guard !self.isAtEnd else { throw self.error("a '\"' is missing") }
                try self.part(&word, isQuoted: true)
            }
            self.advance()
            // Quotes around nothing are a word as well.
            if word.parts.isEmpty { Self.append("", &word, isQuoted: true) }
        case "`":
            self.advance()
            word.parts.append(.output(try self.text(until: "`"), isQuoted: isQuoted))
        case "$":
            self.advance()
            try self.dollar(&word, isQuoted: isQuoted)
        default:
            self.advance()
            Self.append(String(character), &word, isQuoted: isQuoted)
        }
    }

    private static func append(_ text: String, _ word: inout ShellWord, isQuoted: Bool) {
        if case .literal(let before, isQuoted)? = word.parts.last {
            word.parts[word.parts.count - 1] = .literal(before + text, isQuoted: isQuoted)
        } else {
            word.parts.append(.literal(text, isQuoted: isQuoted))
        }
    }

    private mutating func text(until end: Character) throws(ShellSyntaxError) -> String {
        var text = ""
        while let character = self.peek, character != end {
            text.append(character)
            self.advance()
        }
        guard !self.isAtEnd else { throw self.error("a '\(end)' is missing") }
        self.advance()
        return text
    }

    private mutating func dollar(_ word: inout ShellWord, isQuoted: Bool) throws(ShellSyntaxError) {
        if self.take("((") {
            word.parts.append(.arithmetic(try self.arithmetic()))
        } else if self.take("(") {
            word.parts.append(.output(try self.enclosed(), isQuoted: isQuoted))
        } else if self.take("{") {
            word.parts.append(.variable(try self.braced(), isQuoted: isQuoted))
        } else if !isQuoted, self.take("'") {
            let text = try self.text(until: "'")
            Self.append(text.replacing("\\n", with: "\n").replacing("\\t", with: "\t"), &word, isQuoted: true)
        } else if let character = self.peek, "@*#?!$-0123456789".contains(character) {
            self.advance()
            word.parts.append(.variable(ShellVariable(name: String(character)), isQuoted: isQuoted))
        } else {
            let name = self.name()
            if name.isEmpty {
                Self.append("$", &word, isQuoted: isQuoted)
            } else {
                word.parts.append(.variable(ShellVariable(name: name), isQuoted: isQuoted))
            }
        }
    }

    /// What follows `${`, with its `}`.
    private mutating func braced() throws(ShellSyntaxError) -> ShellVariable {
        self.depth += 1
        defer { self.depth -= 1 }
        guard self.depth < 32 else { throw self.error("variables are nested too deeply") }
        var variable = ShellVariable(name: "")
        if let character = self.peek, character == "#" || character == "!" {
            // A length or another variable's name: not known without running it.
            variable.form = String(character)
            self.advance()
        }
        if let character = self.peek, "@*0123456789".contains(character) {
            variable.name = String(character)
            self.advance()
        } else {
            variable.name = self.name()
        }
        if self.take("[") { variable.subscript_ = try self.text(until: "]") }
        let forms = [":-", ":=", ":?", ":+", "-", "=", "?", "+"]
        if let form = forms.first(where: { self.isAt($0) }) {
            _ = self.take(form)
            variable.form += form
        } else if let character = self.peek, character != "}" {
            variable.form += String(character)
            self.advance()
        }
        var operand = ShellWord(line: self.line)
        while self.peek != "}" {
            guard !self.isAtEnd else { throw self.error("'}' of '${\(variable.name)' is missing") }
            try self.part(&operand, isQuoted: false)
        }
        self.advance()
        if !operand.parts.isEmpty { variable.operand = operand }
        return variable
    }

    /// Up to `))`, which is taken.
    mutating func arithmetic() throws(ShellSyntaxError) -> String {
        var text = ""
        var open = 0
        while let character = self.peek {
            if open == 0, self.take("))") { return text }
            if character == "(" { open += 1 }
            if character == ")" { open -= 1 }
            text.append(character)
            self.advance()
        }
        throw self.error("'))' is missing")
    }

    /// Up to the `)` of a `$(`, which is taken.
    private mutating func enclosed() throws(ShellSyntaxError) -> String {
        var text = ""
        var open = 1
        var quote: Character?
        while let character = self.peek {
            self.advance()
            if character == "\\", let next = self.peek, quote != "'" {
                text += "\\\(next)"
                self.advance()
                continue
            }
            if let current = quote {
                if character == current { quote = nil }
            } else if character == "'" || character == "\"" {
                quote = character
            } else if character == "(" {
                open += 1
            } else if character == ")" {
                open -= 1
                if open == 0 { return text }
            }
            text.append(character)
        }
        throw self.error("')' of '$(' is missing")
    }
}
