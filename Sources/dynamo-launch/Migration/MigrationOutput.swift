import FoundationEssentials
import Glibc
import Supervisor

/// Shows a migration while it is followed: a live block on a terminal, else lines, or JSON.
struct MigrationOutput: Sendable {
    private enum Form: Sendable {
        case live(LiveBlock)
        case plain(PlainProgress)
        case json
    }

    private let hints: MigrationHints
    private var form: Form
    private var timeline = MigrationTimeline()
    private var last: MigrationStatus?
    private var messages: [String] = []
    private let hasColour: Bool
    private let hasUnicode: Bool

    init(json: Bool, hints: MigrationHints, environment: [String: String]) {
        self.hints = hints
        let isTerminal = isatty(STDOUT_FILENO) == 1 && environment["TERM", default: "dumb"] != "dumb"
        self.form = json ? .json : isTerminal ? .live(LiveBlock()) : .plain(PlainProgress(hints: hints))
        self.hasColour = Terminal.colour(on: STDOUT_FILENO, environment: environment)
        self.hasUnicode = Self.showsUnicode(environment)
    }

    /// Whether a person at this terminal can be asked.
    var canAsk: Bool {
        if case .live = self.form { isatty(STDIN_FILENO) == 1 } else { false }
    }

    mutating func show(_ status: MigrationStatus, question: String? = nil) throws {
        self.timeline.take(status)
        self.last = status
        switch self.form {
        case .json: Terminal.print(try JSONText.line(status))
        case .plain(var progress):
            for line in progress.lines(status) { Terminal.print(line) }
            self.form = .plain(progress)
        case .live(let block):
            // What a person types is not drawn over.
            if !block.isAsking || question == nil { self.draw(status, question) }
        }
    }

    /// Something that the command itself has to say.
    mutating func say(_ message: String) {
        switch self.form {
        case .json: Terminal.printError(message)
        case .plain: Terminal.print(message)
        case .live:
            self.messages.append(message)
            if let last { self.draw(last, nil) }
        }
    }

    /// A person has typed a line.
    mutating func answered() {
        guard case .live(var block) = self.form else { return }
        block.answered()
        self.form = .live(block)
    }

    /// The cursor is below everything then.
    mutating func end() {
        guard case .live(var block) = self.form else { return }
        Terminal.printVerbatim(block.end())
        self.form = .live(block)
        if self.last == nil { for message in self.messages { Terminal.print(message) } }
    }

    private mutating func draw(_ status: MigrationStatus, _ question: String?) {
        guard case .live(var block) = self.form else { return }
        let (columns, rows) = TerminalSize.now(environment: ProcessInfo.processInfo.environment)
        var view = MigrationView(hints: self.hints)
        // A line as wide as the terminal would leave the cursor in doubt.
        view.style.width = max(1, columns - 1)
        view.style.height = max(1, rows - 1)
        view.style.colour = self.hasColour
        view.style.unicode = self.hasUnicode
        view.messages = self.messages
        Terminal.printVerbatim(
            block.frame(view.lines(status, self.timeline), columns: columns, question: question)
        )
        self.form = .live(block)
    }

    /// As the C library reads it: `LC_ALL`, else `LC_CTYPE`, else `LANG`.
    static func showsUnicode(_ environment: [String: String]) -> Bool {
        let names = ["LC_ALL", "LC_CTYPE", "LANG"]
        let locale = names.lazy.map { environment[$0, default: ""] }.first { !$0.isEmpty } ?? ""
        let folded = locale.lowercased()
        return folded.hasSuffix("utf-8") || folded.hasSuffix("utf8")
    }
}

/// How large the terminal at standard output is.
enum TerminalSize {
    /// Columns and rows: as the terminal says, else `COLUMNS` and `LINES`, else 80 and 24.
    static func now(environment: [String: String]) -> (columns: Int, rows: Int) {
        var size = winsize()
        let isKnown = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0
        let columns = isKnown && size.ws_col > 0 ? Int(size.ws_col) : self.number(environment["COLUMNS"]) ?? 80
        let rows = isKnown && size.ws_row > 0 ? Int(size.ws_row) : self.number(environment["LINES"]) ?? 24
        return (columns, rows)
    }

    private static func number(_ text: String?) -> Int? {
        text.flatMap(Int.init).flatMap { (1...10_000).contains($0) ? $0 : nil }
    }
}
