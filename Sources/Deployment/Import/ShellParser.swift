/// Reads a script of bash without running it.
struct ShellParser {
    private var lexer: ShellLexer
    private var depth = 0

    private init(_ text: String) { self.lexer = ShellLexer(text) }

    /// The statements of a script.
    ///
    /// - Throws: `ShellSyntaxError` for what bash would refuse, or what is too deep.
    static func parse(_ text: String) throws(ShellSyntaxError) -> [ShellStatement] {
        var parser = Self(text)
        let statements = try parser.statements(until: [])
        guard parser.lexer.isAtEnd else { throw parser.lexer.error("nothing is open that this would close") }
        return statements
    }

    /// Everything up to one of the words or signs, which is not taken.
    private mutating func statements(until ends: Set<String>) throws(ShellSyntaxError) -> [ShellStatement] {
        self.depth += 1
        defer { self.depth -= 1 }
        guard self.depth < 64 else { throw self.lexer.error("the script is nested too deeply") }
        var statements: [ShellStatement] = []
        while true {
            try self.lexer.skipSeparators()
            if self.lexer.isAtEnd {
                if let end = ends.sorted().last { throw self.lexer.error("the script ends, and '\(end)' is missing") }
                return statements
            }
            if ends.contains(where: { self.lexer.isAt(word: $0) }) { return statements }
            guard !self.lexer.isAt(")"), !self.lexer.isAt(";;") else { return statements }
            statements.append(try self.statement())
        }
    }

    private mutating func statement() throws(ShellSyntaxError) -> ShellStatement {
        var statement = ShellStatement(members: [], line: self.lexer.line)
        var link = ShellStatement.Link.first
        while true {
            try self.lexer.skipBlanks(andNewlines: link != .first)
            statement.members.append(try self.member(link))
            self.lexer.skipBlanks()
            if self.lexer.take("&&") {
                link = .and
            } else if self.lexer.take("||") {
                link = .or
            } else if self.lexer.take("|&") || self.lexer.take("|") {
                link = .pipe
            } else if !self.lexer.isAt("&&"), self.lexer.take("&") {
                statement.isBackground = true
                return statement
            } else {
                return statement
            }
        }
    }

    private mutating func member(_ link: ShellStatement.Link) throws(ShellSyntaxError) -> ShellStatement.Member {
        var isNegated = false
        while self.lexer.take(word: "!") {
            isNegated.toggle()
            self.lexer.skipBlanks()
        }
        let line = self.lexer.line
        var redirections: [String] = []
        let command = try self.command(&redirections)
        self.lexer.skipBlanks()
        while let redirection = try self.lexer.redirection() {
            redirections.append(redirection)
            self.lexer.skipBlanks()
        }
        return .init(link: link, isNegated: isNegated, command: command, line: line, redirections: redirections)
    }

    private mutating func command(_ redirections: inout [String]) throws(ShellSyntaxError) -> ShellCommand {
        if self.lexer.take("((") { return .arithmetic(try self.lexer.arithmetic()) }
        if self.lexer.take("(") {
            let body = try self.statements(until: [])
            guard self.lexer.take(")") else { throw self.lexer.error("')' is missing") }
            return .subshell(body)
        }
        if self.lexer.take(word: "{") { return .group(try self.body(until: "}")) }
        if self.lexer.take(word: "if") { return try self.branches() }
        if self.lexer.take(word: "case") { return try self.choices() }
        if self.lexer.take(word: "for") { return try self.each() }
        if self.lexer.take(word: "while") || self.lexer.take(word: "until") {
            let condition = try self.body(until: "do")
            return .loop(condition: condition, body: try self.body(until: "done"))
        }
        if self.lexer.take(word: "[[") { return .test(try self.lexer.testWords()) }
        if self.lexer.take(word: "function") {
            self.lexer.skipBlanks()
            let name = try self.lexer.word()
            self.lexer.skipBlanks()
            if self.lexer.take("(") { _ = self.lexer.take(")") }
            return try self.function(name.literal ?? "")
        }
        return try self.simple(&redirections)
    }

    private mutating func body(until end: String) throws(ShellSyntaxError) -> [ShellStatement] {
        let statements = try self.statements(until: [end])
        guard self.lexer.take(word: end) else { throw self.lexer.error("'\(end)' is missing") }
        return statements
    }

    private mutating func function(_ name: String) throws(ShellSyntaxError) -> ShellCommand {
        try self.lexer.skipBlanks(andNewlines: true)
        guard self.lexer.take(word: "{") else { throw self.lexer.error("the body of '\(name)' is no group in braces") }
        return .function(name: name, body: try self.body(until: "}"))
    }

    private mutating func branches() throws(ShellSyntaxError) -> ShellCommand {
        var branches: [ShellCommand.Branch] = []
        while true {
            let condition = try self.body(until: "then")
            let body = try self.statements(until: ["elif", "else", "fi"])
            branches.append(.init(condition: condition, body: body))
            if self.lexer.take(word: "elif") { continue }
            let otherwise = self.lexer.take(word: "else") ? try self.statements(until: ["fi"]) : []
            guard self.lexer.take(word: "fi") else { throw self.lexer.error("'fi' is missing") }
            return .branches(branches, otherwise: otherwise)
        }
    }

    private mutating func choices() throws(ShellSyntaxError) -> ShellCommand {
        self.lexer.skipBlanks()
        let subject = try self.lexer.word()
        try self.lexer.skipBlanks(andNewlines: true)
        guard self.lexer.take(word: "in") else { throw self.lexer.error("'in' is missing") }
        var choices: [ShellCommand.Choice] = []
        while true {
            try self.lexer.skipSeparators()
            if self.lexer.take(word: "esac") { return .choices(subject, choices) }
            guard !self.lexer.isAtEnd else { throw self.lexer.error("'esac' is missing") }
            _ = self.lexer.take("(")
            var patterns: [ShellWord] = []
            repeat {
                self.lexer.skipBlanks()
                patterns.append(try self.lexer.word())
                self.lexer.skipBlanks()
            } while self.lexer.take("|")
            guard self.lexer.take(")") else { throw self.lexer.error("')' is missing after a pattern") }
            let body = try self.statements(until: ["esac"])
            choices.append(.init(patterns: patterns, body: body))
            _ = self.lexer.take(";;&") || self.lexer.take(";;") || self.lexer.take(";&")
        }
    }

    private mutating func each() throws(ShellSyntaxError) -> ShellCommand {
        self.lexer.skipBlanks()
        let line = self.lexer.line
        if self.lexer.take("((") {
            let head = try self.lexer.arithmetic()
            try self.lexer.skipSeparators()
            guard self.lexer.take(word: "do") else { throw self.lexer.error("'do' is missing") }
            let body = try self.body(until: "done")
            guard let (name, values) = ShellArithmetic.count(head) else {
                let condition = ShellStatement(
                    members: [
                        .init(link: .first, isNegated: false, command: .arithmetic(head), line: line, redirections: [])
                    ],
                    line: line
                )
                return .loop(condition: [condition], body: body)
            }
            let words = values.map { ShellWord(parts: [.literal("\($0)", isQuoted: true)], line: line) }
            return .each(name: name, words: words, body: body)
        }
        guard let name = try self.lexer.word().literal else { throw self.lexer.error("'for' needs a variable's name") }
        try self.lexer.skipBlanks(andNewlines: true)
        var words: [ShellWord] = []
        if self.lexer.take(word: "in") {
            self.lexer.skipBlanks()
            while self.lexer.isAtWord {
                words.append(try self.lexer.word())
                self.lexer.skipBlanks()
            }
        } else {
            words = [ShellWord(parts: [.variable(ShellVariable(name: "@"), isQuoted: true)], line: line)]
        }
        try self.lexer.skipSeparators()
        guard self.lexer.take(word: "do") else { throw self.lexer.error("'do' is missing") }
        return .each(name: name, words: words, body: try self.body(until: "done"))
    }

    /// Words that only end what another one has begun.
    private static let reserved: Set<String> = ["then", "do", "done", "fi", "esac", "elif", "else", "}"]

    private mutating func simple(_ redirections: inout [String]) throws(ShellSyntaxError) -> ShellCommand {
        var assignments: [ShellAssignment] = []
        var words: [ShellWord] = []
        let begin = self.lexer.line
        while true {
            self.lexer.skipBlanks()
            if let redirection = try self.lexer.redirection() {
                redirections.append(redirection)
                continue
            }
            // `export A=(...)` and its relatives assign as well.
            let declares =
                words.first?.keyword.map { ["export", "declare", "local", "readonly"].contains($0) } ?? false
            if words.isEmpty || declares, let assignment = try self.lexer.assignment() {
                assignments.append(assignment)
                continue
            }
            guard self.lexer.isAtWord else { break }
            words.append(try self.lexer.word())
            if words.count == 1, let word = words[0].keyword, Self.reserved.contains(word) {
                throw ShellSyntaxError(line: words[0].line, message: "'\(word)' is not expected here")
            }
            if words.count == 1, assignments.isEmpty, let name = words[0].keyword, self.lexer.takeFunctionSign() {
                return try self.function(name)
            }
        }
        guard !words.isEmpty || !assignments.isEmpty || !redirections.isEmpty else {
            throw ShellSyntaxError(line: begin, message: "'\(self.lexer.next)' is not expected here")
        }
        return .simple(assignments: assignments, words: words)
    }
}
