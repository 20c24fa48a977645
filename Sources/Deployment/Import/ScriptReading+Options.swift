// Options of the script itself.

extension ScriptReading {
    /// Options of the script, which nobody has given; any other loop cannot be followed.
    mutating func loop(_ condition: [ShellStatement], _ body: [ShellStatement], line: Int) {
        let isOverArguments = condition.contains { statement in
            statement.members.contains { member in
                let words: [ShellWord] =
                    switch member.command {
                    case .test(let words): words
                    case .simple(_, let words): words
                    default: []
                    }
                return words.contains { $0.parts.contains { Self.isArgument($0) } || $0.literal == "getopts" }
            }
        }
        guard isOverArguments else {
            self.lose(line, "a loop whose end is known only when the script runs: what stands in it is left out")
            return
        }
        self.options(in: body, line: line)
    }

    /// `$#`, `$1`, ...
    static func isArgument(_ part: ShellWord.Part) -> Bool {
        guard case .variable(let variable, _) = part else { return false }
        return variable.name.first.map { $0.isNumber || "#@*".contains($0) } ?? false
    }

    private mutating func options(in body: [ShellStatement], line: Int) {
        var cases: [[ShellCommand.Choice]] = []
        for statement in body {
            for member in statement.members {
                if case .choices(_, let choices) = member.command { cases.append(choices) }
            }
        }
        self.options(cases, line: line)
    }

    mutating func options(_ cases: [[ShellCommand.Choice]], line: Int) {
        for choice in cases.joined() {
            for statement in choice.body {
                for member in statement.members {
                    guard case .simple(let assignments, _) = member.command else { continue }
                    for assignment in assignments { self.collect(assignment) }
                }
            }
            let names = choice.patterns.compactMap(\.literal).filter {
                $0.hasPrefix("-") && !["-h", "--help", "--"].contains($0)
            }
            guard !names.isEmpty else { continue }
            let where_ = choice.patterns.first?.line ?? line
            if names.allSatisfy({ ["--tcp", "--http", "--nats"].contains($0) }) {
                self.note(where_, "\(names.joined(separator: ", ")): a flag of dynamo-launch's own")
            } else {
                self.lose(
                    where_,
                    "the option \(names.joined(separator: ", ")) of the script: the manifest has what holds without it ('--set' changes it)"
                )
            }
        }
    }

    /// A list that gets the arguments which are no options.
    private mutating func collect(_ assignment: ShellAssignment) {
        guard case .list(let words) = assignment.value,
            words.contains(where: { $0.parts.contains(where: Self.isArgument) })
        else { return }
        self.variables[assignment.name] = .list([.passthrough])
    }
}
