/// What a script starts when it is called without arguments, found without running it.
///
/// Assignments, defaults, branches and loops are followed as bash would; what depends on the output of a command or on files is
/// not known. Everything that is not understood is a finding.
struct ScriptReading {
    enum Value: Sendable, Hashable {
        case text(ScriptText)
        case list([ScriptText])
    }

    private(set) var processes: [ScriptedProcess] = []
    private(set) var findings: [ScriptFinding] = []
    /// As messages call the script.
    let name: String

    var variables: [String: Value] = [:]
    private var exported: Set<String> = []
    private var unset: Set<String> = []
    private var functions: [String: [ShellStatement]] = [:]
    private var workingDirectory: String?
    private var depth = 0
    private var steps = 0
    /// Whether the script has waited since it started something.
    private var waits = false
    /// The line of a process whose end the script waits for before it goes on.
    private var foreground: Int?
    private var hasEnded = false

    init(_ text: String, name: String) throws(ShellSyntaxError) {
        self.name = name
        self.run(try ShellParser.parse(text))
        var seen: Set<ScriptFinding> = []
        self.findings = self.findings.filter { seen.insert($0).inserted }.sorted { $0.line < $1.line }
    }

    mutating func note(_ line: Int, _ message: String) {
        self.findings.append(ScriptFinding(.note, line: line, message))
    }
    mutating func lose(_ line: Int, _ message: String) {
        self.findings.append(ScriptFinding(.lost, line: line, message))
    }

    // MARK: Statements

    private mutating func run(_ statements: [ShellStatement]) {
        self.depth += 1
        defer { self.depth -= 1 }
        for statement in statements where !self.hasEnded {
            self.steps += 1
            guard self.depth < 32, self.steps < 10000 else {
                self.lose(statement.line, "the script does too much to be followed further")
                self.hasEnded = true
                return
            }
            self.run(statement)
        }
    }

    private mutating func run(_ statement: ShellStatement) {
        var status: Bool? = true
        for member in statement.members {
            switch member.link {
            case .and where status == false: continue
            case .or where status == true: continue
            case .pipe:
                self.lose(
                    member.line,
                    "what goes through '|' is not followed: the launcher keeps the output of each process in a file"
                )
                continue
            case .or where status == nil: continue
            default: break
            }
            for file in member.redirections where Int(file) == nil && file != "/dev/null" && !file.isEmpty {
                if case .simple(_, let words) = member.command,
                    words.first?.literal.map({ ["echo", "cat", "printf"].contains($0) }) ?? false
                {
                    continue
                }
                self.note(
                    member.line,
                    "output to '\(file)': the launcher keeps the output of each process in a file of its own"
                )
            }
            let before = self.foreground
            status = self.run(member.command, line: member.line, statement)
            if statement.isBackground { self.foreground = before }
            if member.isNegated { status = status.map { !$0 } }
        }
    }

    /// Whether it succeeds; nil: not known.
    private mutating func run(_ command: ShellCommand, line: Int, _ statement: ShellStatement) -> Bool? {
        switch command {
        case .simple(let assignments, let words):
            return self.run(assignments, words, line: line, statement)
        case .function(let name, let body):
            self.functions[name] = body
        case .group(let body):
            self.run(body)
        case .subshell(let body):
            let before = (self.variables, self.exported, self.unset, self.workingDirectory, self.hasEnded)
            self.run(body)
            (self.variables, self.exported, self.unset, self.workingDirectory, self.hasEnded) = before
        case .test(let words):
            return self.holds(words, line: line)
        case .arithmetic(let text):
            self.lose(line, "'((\(Spelling.excerpt(text, limit: 60))))' is not understood")
            return nil
        case .branches(let branches, let otherwise):
            return self.run(branches, otherwise)
        case .choices(let subject, let choices):
            self.run(choices, of: subject, line: line)
        case .each(let name, let words, let body):
            let values = words.flatMap { word in
                self.fields(Self.braces(word))
            }
            guard values.allSatisfy({ $0.unknown.isEmpty && !$0.isPassthrough }) else {
                self.lose(line, "what 'for \(name)' goes through is known only when the script runs")
                return nil
            }
            for value in values where !self.hasEnded {
                self.variables[name] = .text(value)
                self.run(body)
            }
        case .loop(let condition, let body):
            self.loop(condition, body, line: line)
        }
        return true
    }

    private mutating func run(_ branches: [ShellCommand.Branch], _ otherwise: [ShellStatement]) -> Bool? {
        for branch in branches {
            var status: Bool? = true
            let before = self.findings.count
            for statement in branch.condition {
                for member in statement.members {
                    var value = self.condition(member)
                    if member.isNegated { value = value.map { !$0 } }
                    switch member.link {
                    case .or: status = status == true ? true : value == nil && status == false ? nil : value
                    case .first: status = value
                    default: status = status == false ? false : value
                    }
                }
            }
            guard let status else {
                let line = branch.condition.first?.line ?? 0
                if self.findings.count == before {
                    self.lose(line, "a condition is known only when the script runs: what stands under it is left out")
                }
                return nil
            }
            if status {
                self.run(branch.body)
                return true
            }
        }
        self.run(otherwise)
        return true
    }

    private mutating func condition(_ member: ShellStatement.Member) -> Bool? {
        switch member.command {
        case .test(let words): return self.holds(words, line: member.line)
        case .simple(_, let words):
            switch words.first?.literal {
            case "[", "test":
                return self.holds(Array(words.dropFirst().filter { $0.keyword != "]" }), line: member.line)
            case "true", ":": return true
            case "false": return false
            default:
                self.lose(
                    member.line,
                    "whether '\(words.first?.literal ?? "...")' succeeds is known only when the script runs: what depends on it is left out"
                )
                return nil
            }
        default: return nil
        }
    }

    private mutating func run(_ choices: [ShellCommand.Choice], of subject: ShellWord, line: Int) {
        if subject.parts.contains(where: Self.isArgument) {
            self.options([choices], line: line)
            return
        }
        let value = self.text(subject)
        guard let text = value.assumed else {
            self.lose(line, "what 'case' chooses is known only when the script runs: it is left out")
            return
        }
        if value.plain == nil { self.assume(value, line: line) }
        let chosen = choices.first { choice in
            choice.patterns.contains { pattern in
                self.text(pattern).assumed.map { Self.matches(text, $0) } ?? false
            }
        }
        if let chosen { self.run(chosen.body) }
    }

    static func matches(_ text: String, _ pattern: String) -> Bool {
        guard let star = pattern.firstIndex(of: "*") else { return text == pattern }
        guard text.hasPrefix(pattern[..<star]) else { return false }
        let rest = pattern[pattern.index(after: star)...]
        let tail = text.dropFirst(pattern[..<star].count)
        return rest.isEmpty || rest == "*" || (!rest.contains("*") && tail.hasSuffix(rest))
    }

    // MARK: Commands

    private mutating func run(
        _ assignments: [ShellAssignment],
        _ words: [ShellWord],
        line: Int,
        _ statement: ShellStatement
    ) -> Bool? {
        var fields = words.flatMap { self.fields($0) }
        let isDeclaration =
            fields.first?.plain.map { ["export", "declare", "local", "readonly"].contains($0) } ?? false
        if words.isEmpty || isDeclaration {
            for assignment in assignments {
                self.assign(assignment, line: line)
                if fields.first?.plain == "export" { self.exported.insert(assignment.name) }
            }
            if fields.first?.plain == "export" {
                self.exported.formUnion(fields.dropFirst().compactMap(\.plain).filter { !$0.hasPrefix("-") })
            }
            return true
        }
        var environment: [String: ScriptText] = [:]
        for assignment in assignments {
            guard case .word(let word) = assignment.value else { continue }
            environment[assignment.name] = self.value(of: word, named: assignment.name, line: line)
        }
        while let first = fields.first?.plain, ["exec", "nohup", "env", "command", "time"].contains(first) {
            fields.removeFirst()
            while first == "env", let word = fields.first, let equals = word.text.firstIndex(of: "="),
                !word.text.hasPrefix("-")
            {
                let value = String(word.text[word.text.index(after: equals)...])
                environment[String(word.text[..<equals])] = ScriptText(
                    text: value,
                    plain: nil,
                    assumed: value,
                    unknown: word.unknown
                )
                fields.removeFirst()
            }
        }
        guard let first = fields.first else { return true }
        return self.run(first, Array(fields.dropFirst()), environment, words, line: line, statement)
    }

    private mutating func run(
        _ first: ScriptText,
        _ rest: [ScriptText],
        _ environment: [String: ScriptText],
        _ words: [ShellWord],
        line: Int,
        _ statement: ShellStatement
    ) -> Bool? {
        let command = first.assumed ?? ""
        if DynamoInvocation(([first] + rest).filter { !$0.isPassthrough }.map { $0.assumed ?? $0.text }) != nil {
            self.start([first] + rest, environment, line: line)
            return true
        }
        if let body = self.functions[command] {
            if !rest.isEmpty {
                self.lose(line, "the arguments of function '\(command)' are not followed: in it $1 and so on are empty")
            }
            self.run(body)
            return nil
        }
        switch command {
        case "return", "break", "continue":
            self.lose(line, "'\(command)' is not followed: what stands after it is read too")
            return true
        case "echo", "printf", "cat", "true", ":", "shift", "set", "shopt", "umask":
            return true
        case "false": return false
        case "[", "test":
            return self.holds(Array(words.dropFirst().filter { $0.keyword != "]" }), line: line)
        case "unset":
            for name in rest.compactMap(\.plain) where !name.hasPrefix("-") {
                self.variables[name] = .text(ScriptText(literal: ""))
                self.exported.remove(name)
                self.unset.insert(name)
            }
        case "trap", "kill", "wait":
            self.note(
                line,
                "'\(command)': the launcher stops what it has started, and ends when one process ends for good"
            )
        case "sleep":
            self.waits = !self.processes.isEmpty
            if self.waits {
                self.note(line, "'sleep': what is started after it waits until the process before it serves")
            }
        case "exit":
            if self.depth == 1 || statement.members.count == 1 { self.hasEnded = true }
        case "cd":
            if let folder = rest.first, folder.unknown.isEmpty {
                self.workingDirectory = folder.text
            } else {
                self.lose(line, "the folder of 'cd' is known only when the script runs")
            }
        case "nats-server", "etcd":
            self.note(
                line,
                "'\(command)': the launcher starts one when 'planes' or 'discovery' needs it and 'infrastructure' says managed"
            )
        case "source", ".":
            self.lose(line, "'\(command)' of another file is not followed")
        case _ where command.split(separator: "/").last?.hasPrefix("python") ?? false:
            let words = ([first] + rest.prefix(2)).map(\.text).joined(separator: " ")
            self.lose(
                line,
                "'\(Spelling.excerpt(words, limit: 60))' is no module of Dynamo's that is known without running the script: left out"
            )
            return nil
        default:
            self.lose(
                line,
                "'\(Spelling.excerpt(first.assumed ?? first.text, limit: 60))' is not understood and left out"
            )
            return nil
        }
        return true
    }

    private mutating func start(_ words: [ScriptText], _ environment: [String: ScriptText], line: Int) {
        var all: [String: ScriptText] = [:]
        for name in self.exported {
            if case .text(let text)? = self.variables[name] { all[name] = text }
        }
        all.merge(environment) { _, own in own }
        for text in words + all.values {
            for reason in text.unknown { self.lose(line, reason) }
        }
        if let first = self.foreground {
            self.lose(
                first,
                "the script goes on when this process has ended; the manifest starts what follows beside it"
            )
        }
        self.foreground = line
        let waitsFor = self.waits ? self.processes.indices.last : nil
        self.waits = false
        self.processes.append(
            ScriptedProcess(
                line: line,
                words: words.filter { !$0.isPassthrough },
                environment: all,
                unset: self.unset.subtracting(all.keys).sorted(),
                workingDirectory: self.workingDirectory,
                takesArguments: words.contains(where: \.isPassthrough),
                waitsFor: waitsFor
            )
        )
    }
}
