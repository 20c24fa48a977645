/// A place in a template; both count from 1.
struct TemplatePlace: Hashable, Sendable {
    var line: Int
    var column: Int
}

/// What a template is made of before it has structure.
enum TemplateToken: Hashable, Sendable {
    case text(String)
    case beginOutput
    case endOutput
    case beginBlock
    case endBlock
    case name(String)
    case string(String)
    case integer(Int)
    case float(Double)
    /// An operator or a bracket.
    case sign(String)
}

/// Cuts the text of a template into tokens, and takes away white space as `transformers` sets Jinja up.
///
/// That is: the line break after a block's end goes (`trim_blocks`), so do blanks before a block that begins a line
/// (`lstrip_blocks`), and a `-` takes all white space on its side.
struct TemplateLexer {
    private let source: [Unicode.Scalar]
    private var position = 0
    private var tokens: [(token: TemplateToken, place: TemplatePlace)] = []
    private var place = TemplatePlace(line: 1, column: 1)
    private var placedAt = 0
    private var startsLine = true

    init(_ text: String) {
        var scalars: [Unicode.Scalar] = []
        for scalar in text.unicodeScalars {
            if scalar == "\n", scalars.last == "\r" { scalars.removeLast() }
            scalars.append(scalar)
        }
        if scalars.last == "\n" { scalars.removeLast() }
        self.source = scalars
    }

    mutating func run() throws(TokenizationError) -> [(token: TemplateToken, place: TemplatePlace)] {
        while self.position < self.source.count { try self.text() }
        return self.tokens
    }

    // MARK: Places

    private mutating func here() -> TemplatePlace {
        while self.placedAt < self.position {
            if self.source[self.placedAt] == "\n" {
                self.place = TemplatePlace(line: self.place.line + 1, column: 1)
            } else {
                self.place.column += 1
            }
            self.placedAt += 1
        }
        return self.place
    }

    private mutating func fault(_ what: String) -> TokenizationError {
        let place = self.here()
        return TokenizationError("the chat template has \(what) at line \(place.line), column \(place.column)")
    }

    private func starts(_ word: String, at position: Int) -> Bool {
        self.source[min(position, self.source.count)...].starts(with: word.unicodeScalars)
    }

    // MARK: Text

    private mutating func text() throws(TokenizationError) {
        let begin = self.position
        let beginPlace = self.here()
        var end = begin
        while end < self.source.count, !["{{", "{%", "{#"].contains(where: { self.starts($0, at: end) }) { end += 1 }
        var text = self.source[begin..<end]
        self.position = end
        guard end < self.source.count else {
            self.append(text, beginPlace)
            return
        }
        let sign = end + 2 < self.source.count ? self.source[end + 2] : " "
        let kind = self.source[end + 1]
        if sign == "-" {
            while let last = text.last, last.properties.isWhitespace { text.removeLast() }
        } else if sign != "+", kind != "{" {
            let lineStart = text.lastIndex(of: "\n").map { $0 + 1 } ?? (self.startsLine ? text.startIndex : nil)
            if let lineStart, text[lineStart...].allSatisfy({ $0 == " " || $0 == "\t" }) { text = text[..<lineStart] }
        }
        self.append(text, beginPlace)
        let place = self.here()
        self.position = end + 2 + (sign == "-" || sign == "+" ? 1 : 0)
        switch kind {
        case "{":
            self.tokens.append((.beginOutput, place))
            try self.expression(until: "}}")
            self.tokens.append((.endOutput, self.here()))
        case "%":
            self.tokens.append((.beginBlock, place))
            try self.expression(until: "%}")
            self.tokens.append((.endBlock, self.here()))
        default: try self.comment()
        }
    }

    private mutating func append(_ text: ArraySlice<Unicode.Scalar>, _ place: TemplatePlace) {
        if !text.isEmpty { self.tokens.append((.text(String(String.UnicodeScalarView(text))), place)) }
    }

    private mutating func comment() throws(TokenizationError) {
        let begin = self.position
        while self.position < self.source.count, !self.starts("#}", at: self.position) { self.position += 1 }
        guard self.position < self.source.count else { throw self.fault("a comment without end") }
        let sign = self.position > begin ? self.source[self.position - 1] : " "
        self.position += 2
        self.afterEnd(sign, isOutput: false)
    }

    /// Takes the white space behind the end of a tag.
    private mutating func afterEnd(_ sign: Unicode.Scalar, isOutput: Bool) {
        let begin = self.position
        if sign == "-" {
            while self.position < self.source.count, self.source[self.position].properties.isWhitespace {
                self.position += 1
            }
        } else if sign != "+", !isOutput, self.position < self.source.count, self.source[self.position] == "\n" {
            self.position += 1
        }
        self.startsLine = self.position > begin && self.source[self.position - 1] == "\n"
    }

    // MARK: Expressions

    private static let signs = [
        "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")", "[", "]", "{", "}",
        ".", ",", ":", "|",
    ]

    private mutating func expression(until end: String) throws(TokenizationError) {
        var depth = 0
        while self.position < self.source.count {
            let scalar = self.source[self.position]
            if scalar.properties.isWhitespace {
                self.position += 1
                continue
            }
            if depth == 0 {
                if scalar == "-" || scalar == "+", self.starts(end, at: self.position + 1) {
                    self.position += 3
                    return self.afterEnd(scalar, isOutput: end == "}}")
                }
                if self.starts(end, at: self.position) {
                    self.position += 2
                    return self.afterEnd(" ", isOutput: end == "}}")
                }
            }
            let place = self.here()
            if scalar == "'" || scalar == "\"" {
                self.tokens.append((.string(try self.string(scalar)), place))
            } else if ("0"..."9").contains(scalar) {
                self.tokens.append((try self.number(), place))
            } else if scalar == "_" || scalar.properties.isXIDStart {
                let begin = self.position
                while self.position < self.source.count, self.source[self.position].properties.isXIDContinue {
                    self.position += 1
                }
                self.tokens.append((.name(String(String.UnicodeScalarView(self.source[begin..<self.position]))), place))
            } else if let sign = Self.signs.first(where: { self.starts($0, at: self.position) }) {
                if ["(", "[", "{"].contains(sign) { depth += 1 }
                if [")", "]", "}"].contains(sign) { depth -= 1 }
                self.position += sign.unicodeScalars.count
                self.tokens.append((.sign(sign), place))
            } else {
                throw self.fault("an unexpected '\(scalar)'")
            }
        }
        throw self.fault("a tag without end")
    }

    private mutating func number() throws(TokenizationError) -> TemplateToken {
        var text = ""
        func digits() {
            while self.position < self.source.count {
                let scalar = self.source[self.position]
                if ("0"..."9").contains(scalar) { text.unicodeScalars.append(scalar) } else if scalar != "_" { break }
                self.position += 1
            }
        }
        digits()
        let next = self.position + 1
        if self.starts(".", at: self.position), next < self.source.count, ("0"..."9").contains(self.source[next]) {
            text += "."
            self.position += 1
            digits()
        }
        if self.starts("e", at: self.position) || self.starts("E", at: self.position) {
            let signed = self.starts("-", at: self.position + 1) || self.starts("+", at: self.position + 1)
            let first = self.position + (signed ? 2 : 1)
            if first < self.source.count, ("0"..."9").contains(self.source[first]) {
                text += self.starts("-", at: self.position + 1) ? "e-" : "e"
                self.position = first
                digits()
            }
        }
        if text.contains(where: { $0 == "." || $0 == "e" }) {
            guard let value = Double(text) else { throw self.fault("a number that is none") }
            return .float(value)
        }
        guard let value = Int(text) else { throw self.fault("a number that is too large") }
        return .integer(value)
    }

    private mutating func string(_ quote: Unicode.Scalar) throws(TokenizationError) -> String {
        self.position += 1
        var text = String.UnicodeScalarView()
        while self.position < self.source.count {
            let scalar = self.source[self.position]
            self.position += 1
            if scalar == quote { return String(text) }
            guard scalar == "\\", self.position < self.source.count else {
                text.append(scalar)
                continue
            }
            let escape = self.source[self.position]
            self.position += 1
            switch escape {
            case "n": text.append("\n")
            case "t": text.append("\t")
            case "r": text.append("\r")
            case "\\", "'", "\"": text.append(escape)
            case "\n": break
            case "u", "x":
                let count = escape == "u" ? 4 : 2
                let digits = self.source[self.position...].prefix(count)
                guard digits.count == count,
                    let value = UInt32(String(String.UnicodeScalarView(digits)), radix: 16),
                    let scalar = Unicode.Scalar(value)
                else { throw self.fault("an escape that is none") }
                text.append(scalar)
                self.position += count
            default: text.append(contentsOf: ["\\", escape])
            }
        }
        throw self.fault("a string without end")
    }
}
