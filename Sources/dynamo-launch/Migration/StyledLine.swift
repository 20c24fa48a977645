import Supervisor

/// A line of text in colours, which can be cut to a width.
struct StyledLine: Sendable, Hashable {
    enum Colour: String, Sendable, Hashable {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
    }

    private struct Span: Sendable, Hashable {
        var text: String
        var colour: Colour?
    }

    private var spans: [Span] = []

    init(_ text: String = "", _ colour: Colour? = nil) {
        self.add(text, colour)
    }

    mutating func add(_ text: String, _ colour: Colour? = nil) {
        let text = text.printable
        if !text.isEmpty { self.spans.append(Span(text: text, colour: colour)) }
    }

    var isEmpty: Bool { self.spans.isEmpty }
    /// Columns on a terminal.
    var width: Int { self.spans.reduce(0) { $0 + Self.width(of: $1.text) } }

    /// The line, no wider than so many columns.
    func rendered(width: Int, colour: Bool, ellipsis: Character) -> String {
        var rest = self.width <= width ? width : max(0, width - 1)
        var result = ""
        for span in self.spans {
            var piece = ""
            var isCut = false
            for character in span.text {
                let columns = Self.width(of: String(character))
                guard columns <= rest else {
                    isCut = true
                    break
                }
                rest -= columns
                piece.append(character)
            }
            if isCut, width > 0 { piece.append(ellipsis) }
            if let code = span.colour, colour, !piece.isEmpty {
                result += "\u{1B}[\(code.rawValue)m\(piece)\u{1B}[0m"
            } else {
                result += piece
            }
            if isCut { break }
        }
        return result
    }

    /// Columns on a terminal.
    static func width(of text: String) -> Int {
        text.reduce(0) { $0 + ($1.unicodeScalars.contains(where: self.isWide) ? 2 : 1) }
    }

    private static func isWide(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x1100...0x115F, 0x2E80...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60,
            0xFFE0...0xFFE6, 0x1F300...0x1FAFF, 0x20000...0x3FFFD:
            true
        default: false
        }
    }

    /// A text in lines of at most so many columns, broken between words where that is possible.
    static func wrapped(_ text: String, width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.printable.split(separator: " ") {
            var word = word
            if !line.isEmpty, self.width(of: line) + 1 + self.width(of: String(word)) > width {
                lines.append(line)
                line = ""
            }
            while line.isEmpty, self.width(of: String(word)) > max(2, width) {
                // Wide characters count twice.
                let piece = word.prefix(max(1, width / 2))
                lines.append(String(piece))
                word = word.dropFirst(piece.count)
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        return line.isEmpty ? lines : lines + [line]
    }
}
