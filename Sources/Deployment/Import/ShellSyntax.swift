/// A word of a shell script, as it is written.
struct ShellWord: Sendable, Hashable {
    enum Part: Sendable, Hashable {
        case literal(String, isQuoted: Bool)
        /// `$NAME`, `${NAME}`, `${NAME[@]}`, `$1`, `$@`.
        case variable(ShellVariable, isQuoted: Bool)
        /// `$((...))`
        case arithmetic(String)
        /// `$(...)`
        case output(String, isQuoted: Bool)
    }

    var parts: [Part] = []
    var line: Int

    /// The text when nothing in it is replaced.
    var literal: String? {
        var text = ""
        for part in self.parts {
            guard case .literal(let piece, _) = part else { return nil }
            text += piece
        }
        return text
    }

    /// A word of the language itself: without quotes.
    var keyword: String? {
        guard self.parts.count == 1, case .literal(let text, isQuoted: false) = self.parts[0] else { return nil }
        return text
    }
}

struct ShellVariable: Sendable, Hashable {
    var name: String
    /// What stands in brackets.
    var subscript_: String?
    /// `:-`, `-`, `:?`, `:+`, ...; empty: none.
    var form = ""
    /// What follows the form.
    var operand: ShellWord?
}

struct ShellAssignment: Sendable, Hashable {
    enum Value: Sendable, Hashable {
        case word(ShellWord)
        case list([ShellWord])
    }

    var name: String
    var value: Value
    /// Whether it is `+=`.
    var isAppended: Bool
}

indirect enum ShellCommand: Sendable, Hashable {
    struct Branch: Sendable, Hashable {
        var condition: [ShellStatement]
        var body: [ShellStatement]
    }

    struct Choice: Sendable, Hashable {
        var patterns: [ShellWord]
        var body: [ShellStatement]
    }

    case simple(assignments: [ShellAssignment], words: [ShellWord])
    case branches([Branch], otherwise: [ShellStatement])
    case choices(ShellWord, [Choice])
    /// `while` and `until`.
    case loop(condition: [ShellStatement], body: [ShellStatement])
    case each(name: String, words: [ShellWord], body: [ShellStatement])
    case function(name: String, body: [ShellStatement])
    case group([ShellStatement])
    case subshell([ShellStatement])
    /// `[[ ... ]]`
    case test([ShellWord])
    /// `(( ... ))` and the head of a `for ((...))`
    case arithmetic(String)
}

/// Commands that are joined by `&&`, `||` and `|`, up to the end of the statement.
struct ShellStatement: Sendable, Hashable {
    enum Link: Sendable, Hashable {
        case first
        case and
        case or
        case pipe
    }

    struct Member: Sendable, Hashable {
        var link: Link
        var isNegated: Bool
        var command: ShellCommand
        var line: Int
        /// The files that its output goes to and its input comes from.
        var redirections: [String]
    }

    var members: [Member]
    var isBackground = false
    var line: Int
}

/// Why a script cannot be read.
package struct ShellSyntaxError: Error, Sendable, Hashable, CustomStringConvertible {
    package var line: Int
    package var message: String

    package var description: String { "line \(self.line): \(self.message)" }
}
