import Foundation
import TestSupport

/// A program on a terminal of its own, with keys that a test presses and a size that it changes.
struct TerminalProgram: Sendable {
    let program: RunningProgram
    private let folder: URL

    /// Starts one, gives it to a body, and waits for its end.
    ///
    /// - Returns: all that it wrote, as the terminal got it, and how it ended.
    static func run(
        _ arguments: [String],
        environment: [String: String?],
        columns: Int,
        rows: Int,
        in folder: URL,
        _ body: (TerminalProgram) async throws -> Void
    ) async throws -> (output: String, exit: ProgramExit) {
        for name in ["keys", "size"] { try Data().write(to: folder.appending(path: name)) }
        let words = ["-c", Self.script, folder.path(), "\(columns)", "\(rows)"] + arguments
        let (output, exit) = try await withProgram("/usr/bin/python3", words, environment: environment) { program in
            try await body(TerminalProgram(program: program, folder: folder))
            try await program.waitForExit()
            return program.output
        }
        return (output, exit)
    }

    func press(_ keys: String) throws { try self.append(keys, to: "keys") }

    func resize(columns: Int, rows: Int) throws { try self.append("\(columns) \(rows)\n", to: "size") }

    private func append(_ text: String, to name: String) throws {
        let file = try FileHandle(forWritingTo: self.folder.appending(path: name))
        try file.seekToEnd()
        try file.write(contentsOf: Data(text.utf8))
        try file.close()
    }

    /// Python has terminals in its library.
    private static let script = """
        import fcntl, os, pty, select, struct, sys, termios
        folder, columns, rows, command = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
        def size(descriptor, columns, rows):
            fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
        pid, terminal = pty.fork()
        if pid == 0:
            size(1, columns, rows)
            os.execv(command[0], command)
        keys, sizes = open(os.path.join(folder, 'keys'), 'rb'), open(os.path.join(folder, 'size'))
        while True:
            os.write(terminal, keys.read())
            for line in sizes: size(terminal, *map(int, line.split()))
            if not select.select([terminal], [], [], 0.02)[0]: continue
            try: data = os.read(terminal, 65536)
            except OSError: break
            if not data: break
            while data: data = data[os.write(1, data):]
        status = os.waitpid(pid, 0)[1]
        sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 100 + os.WTERMSIG(status))
        """
}

/// What a terminal shows that knows only what the live block needs.
struct TerminalScreen {
    let columns: Int
    private(set) var lines: [[Character]] = [[]]
    private(set) var isCursorShown = true
    /// What it does not know, and what is wider than it.
    private(set) var troubles: [String] = []
    private var row = 0
    private var column = 0

    init(columns: Int, output: String) {
        self.columns = columns
        var rest = Array(output.unicodeScalars)[...]
        while let scalar = rest.popFirst() {
            switch scalar {
            case "\r": self.column = 0
            case "\n": self.lineFeed()
            case "\u{1B}":
                guard rest.popFirst() == "[" else {
                    self.troubles.append("an escape sequence of another kind")
                    continue
                }
                var parameters = ""
                while let next = rest.first, !("A"..."z" ~= next) {
                    parameters.unicodeScalars.append(next)
                    rest.removeFirst()
                }
                self.obey(parameters, rest.popFirst() ?? " ")
            default: self.put(Character(scalar))
            }
        }
    }

    /// All lines without spaces at their ends.
    var text: [String] {
        self.lines.map { line in String(line.reversed().drop { $0 == " " }.reversed()) }
    }

    private mutating func lineFeed() {
        self.row += 1
        while self.lines.count <= self.row { self.lines.append([]) }
    }

    private mutating func put(_ character: Character) {
        if self.column >= self.columns {
            // Words beside the block may be longer.
            if !self.isCursorShown { self.troubles.append("line \(self.row) is too wide") }
            self.column = 0
            self.lineFeed()
        }
        while self.lines[self.row].count <= self.column { self.lines[self.row].append(" ") }
        self.lines[self.row][self.column] = character
        self.column += 1
    }

    private mutating func obey(_ parameters: String, _ final: Unicode.Scalar) {
        switch (parameters, final) {
        case ("?25", "l"): self.isCursorShown = false
        case ("?25", "h"): self.isCursorShown = true
        case (_, "m"): break
        case (_, "A"):
            let count = Int(parameters) ?? 1
            if count > self.row { self.troubles.append("\(count) lines up from line \(self.row)") }
            self.row = max(0, self.row - count)
        case ("", "K"): self.lines[self.row] = Array(self.lines[self.row].prefix(self.column))
        case ("", "J"):
            self.lines[self.row] = Array(self.lines[self.row].prefix(self.column))
            self.lines.removeSubrange((self.row + 1)...)
        default: self.troubles.append("the sequence \(parameters)\(final)")
        }
    }
}
