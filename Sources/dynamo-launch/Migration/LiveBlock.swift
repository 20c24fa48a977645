/// Lines that are drawn again in the place of those drawn before.
///
/// The cursor is hidden only within one piece of output, so that it is there whenever and however the program ends. Nothing is erased
/// before something is drawn over it, so that nothing flickers.
struct LiveBlock: Sendable {
    /// Columns of each line that stands there.
    private var drawn: [Int] = []
    /// Whether the cursor stands behind a question, on its line.
    private(set) var isAsking = false

    private static let hideCursor = "\u{1B}[?25l"
    private static let showCursor = "\u{1B}[?25h"
    private static let eraseLine = "\u{1B}[K"
    private static let eraseBelow = "\u{1B}[J"

    /// What draws these lines.
    ///
    /// - Parameters:
    ///   - lines: no wider than the terminal less one.
    ///   - columns: of the terminal now; one that became narrower has broken the lines that stand there.
    ///   - question: the last line, behind which a person types.
    /// - Returns: the output.
    mutating func frame(_ lines: [String], columns: Int, question: String? = nil) -> String {
        let height = self.drawn.reduce(0) { $0 + max(1, ($1 + columns - 1) / max(1, columns)) }
        var output = Self.hideCursor + "\r" + (height > 0 ? "\u{1B}[\(height)A" : "")
        for line in lines { output += line + Self.eraseLine + "\n" }
        self.drawn = lines.map { StyledLine.width(of: Self.withoutColours($0)) }
        self.isAsking = question != nil
        output += Self.eraseBelow + (question ?? "") + Self.showCursor
        return output
    }

    /// A person has answered: the line end that was typed has moved the cursor on.
    mutating func answered() {
        guard self.isAsking else { return }
        self.isAsking = false
        self.drawn.append(1)
    }

    /// What moves the cursor below everything.
    mutating func end() -> String {
        guard self.isAsking else { return "" }
        self.answered()
        return "\n"
    }

    private static func withoutColours(_ line: String) -> String {
        var result = ""
        var isSequence = false
        for character in line {
            if character == "\u{1B}" { isSequence = true } else if !isSequence { result.append(character) }
            if isSequence, character == "m" { isSequence = false }
        }
        return result
    }
}
