/// Gives the tokens of a template their structure, and refuses by name and place what is not supported.
struct TemplateParser {
    private static let deepest = 64

    private let tokens: [(token: TemplateToken, place: TemplatePlace)]
    private var position = 0
    private var depth = 0
    private var macros: Set<String> = []

    init(_ tokens: [(token: TemplateToken, place: TemplatePlace)]) { self.tokens = tokens }

    mutating func parse() throws(TokenizationError) -> [TemplateNode] {
        let nodes = try self.nodes(until: [])
        guard self.position == self.tokens.count else { throw self.fault("an unexpected end of a block") }
        return nodes
    }

    // MARK: Tokens

    var peek: TemplateToken? { self.position < self.tokens.count ? self.tokens[self.position].token : nil }

    func fault(_ what: String) -> TokenizationError {
        let place =
            self.position < self.tokens.count
            ? self.tokens[self.position].place : self.tokens.last?.place ?? TemplatePlace(line: 1, column: 1)
        return TokenizationError("the chat template has \(what) at line \(place.line), column \(place.column)")
    }

    mutating func take(_ token: TemplateToken) -> Bool {
        guard self.peek == token else { return false }
        self.position += 1
        return true
    }

    mutating func expect(_ token: TemplateToken, _ what: String) throws(TokenizationError) {
        guard self.take(token) else { throw self.fault("no \(what)") }
    }

    mutating func name() throws(TokenizationError) -> String {
        guard case .name(let name)? = self.peek else { throw self.fault("no name") }
        self.position += 1
        return name
    }

    mutating func nested<Value>(
        _ body: (inout TemplateParser) throws(TokenizationError) -> Value
    ) throws(TokenizationError) -> Value {
        guard self.depth < Self.deepest else { throw self.fault("too deep a nesting") }
        self.depth += 1
        defer { self.depth -= 1 }
        return try body(&self)
    }

    /// The constants and the other names that tokens have; moves on when it was one.
    mutating func step() { self.position += 1 }

    mutating func back(to position: Int) { self.position = position }

    var mark: Int { self.position }

    func isMacro(_ name: String) -> Bool { self.macros.contains(name) }

    // MARK: Statements

    private mutating func nodes(until ends: Set<String>) throws(TokenizationError) -> [TemplateNode] {
        try self.nested { (parser) throws(TokenizationError) in try parser.body(until: ends) }
    }

    private mutating func body(until ends: Set<String>) throws(TokenizationError) -> [TemplateNode] {
        var nodes: [TemplateNode] = []
        while let token = self.peek {
            switch token {
            case .text(let text):
                self.step()
                nodes.append(.text(text))
            case .beginOutput:
                self.step()
                nodes.append(.output(try self.expressions()))
                try self.expect(.endOutput, "end of the output")
            case .beginBlock:
                self.step()
                guard case .name(let word)? = self.peek else { throw self.fault("a block without a name") }
                if ends.contains(word) {
                    self.position -= 1
                    return nodes
                }
                nodes += try self.statement(word)
            default: throw self.fault("an unexpected token")
            }
        }
        guard ends.isEmpty else { throw self.fault("a block without '\(ends.sorted().joined(separator: "' or '"))'") }
        return nodes
    }

    private mutating func statement(_ word: String) throws(TokenizationError) -> [TemplateNode] {
        switch word {
        case "if": return [try self.conditional()]
        case "for": return [try self.loop()]
        case "set": return [try self.set()]
        case "macro": return [try self.macro()]
        case "break", "continue":
            self.step()
            try self.expect(.endBlock, "end of the block")
            return [word == "break" ? .stop : .skip]
        case "generation":
            self.step()
            try self.expect(.endBlock, "end of the block")
            let body = try self.nodes(until: ["endgeneration"])
            try self.end("endgeneration")
            return body
        default: throw self.fault("the statement '\(word)', which is not supported")
        }
    }

    /// Stands before the block that ends another.
    private mutating func end(_ word: String) throws(TokenizationError) {
        try self.expect(.beginBlock, "'\(word)'")
        try self.expect(.name(word), "'\(word)'")
        try self.expect(.endBlock, "end of the block")
    }

    private mutating func conditional() throws(TokenizationError) -> TemplateNode {
        var branches: [TemplateNode.Branch] = []
        var otherwise: [TemplateNode] = []
        self.step()
        while true {
            let condition = try self.expression()
            try self.expect(.endBlock, "end of the block")
            let body = try self.nodes(until: ["elif", "else", "endif"])
            branches.append(TemplateNode.Branch(condition: condition, body: body))
            try self.expect(.beginBlock, "'endif'")
            if self.take(.name("elif")) { continue }
            if self.take(.name("else")) {
                try self.expect(.endBlock, "end of the block")
                otherwise = try self.nodes(until: ["endif"])
                try self.expect(.beginBlock, "'endif'")
            }
            try self.expect(.name("endif"), "'endif'")
            try self.expect(.endBlock, "end of the block")
            return .conditional(branches, otherwise: otherwise)
        }
    }

    private mutating func target() throws(TokenizationError) -> TemplateNode.Target {
        let isWrapped = self.take(.sign("("))
        var names = [try self.name()]
        if !isWrapped, self.take(.sign(".")) { return .member(names[0], try self.name()) }
        var isTuple = false
        while self.take(.sign(",")) {
            isTuple = true
            guard case .name(let name)? = self.peek else { break }
            self.step()
            names.append(name)
        }
        if isWrapped { try self.expect(.sign(")"), "')'") }
        return isTuple ? .names(names) : .name(names[0])
    }

    private mutating func loop() throws(TokenizationError) -> TemplateNode {
        self.step()
        let target = try self.target()
        if case .member = target { throw self.fault("a loop over a namespace's member, which is not supported") }
        try self.expect(.name("in"), "'in'")
        let over = try self.choices()
        let filter = self.take(.name("if")) ? try self.expression() : nil
        if self.peek == .name("recursive") { throw self.fault("a recursive loop, which is not supported") }
        try self.expect(.endBlock, "end of the block")
        let body = try self.nodes(until: ["else", "endfor"])
        var otherwise: [TemplateNode] = []
        try self.expect(.beginBlock, "'endfor'")
        if self.take(.name("else")) {
            try self.expect(.endBlock, "end of the block")
            otherwise = try self.nodes(until: ["endfor"])
            try self.expect(.beginBlock, "'endfor'")
        }
        try self.expect(.name("endfor"), "'endfor'")
        try self.expect(.endBlock, "end of the block")
        return .loop(TemplateNode.Loop(target: target, over: over, filter: filter, body: body, otherwise: otherwise))
    }

    private mutating func set() throws(TokenizationError) -> TemplateNode {
        self.step()
        let target = try self.target()
        if self.take(.sign("=")) {
            let value = try self.expressions()
            try self.expect(.endBlock, "end of the block")
            return .set(target, value)
        }
        if self.peek == .sign("|") { throw self.fault("a filtered 'set', which is not supported") }
        try self.expect(.endBlock, "'='")
        let body = try self.nodes(until: ["endset"])
        try self.end("endset")
        return .capture(target, body)
    }

    private mutating func macro() throws(TokenizationError) -> TemplateNode {
        self.step()
        let name = try self.name()
        self.macros.insert(name)
        try self.expect(.sign("("), "'('")
        var parameters: [TemplateNode.Parameter] = []
        while !self.take(.sign(")")) {
            let parameter = try self.name()
            let fallback = self.take(.sign("=")) ? try self.expression() : nil
            parameters.append(TemplateNode.Parameter(name: parameter, fallback: fallback))
            if !self.take(.sign(",")), self.peek != .sign(")") { throw self.fault("no ','") }
        }
        try self.expect(.endBlock, "end of the block")
        let body = try self.nodes(until: ["endmacro"])
        try self.end("endmacro")
        return .macro(TemplateNode.Macro(name: name, parameters: parameters, body: body))
    }
}
