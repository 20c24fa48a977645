/// `${VAR}` and its relatives, replaced in the values of a manifest from the caller's environment.
struct Interpolation {
    private let environment: [String: String]
    /// Which variables the manifest asked for.
    private(set) var variables: Set<String> = []
    /// Those of them that it has no default for.
    private(set) var neededVariables: Set<String> = []
    private(set) var diagnostics: [Diagnostic] = []

    init(environment: [String: String]) {
        self.environment = environment
    }

    /// The tree with every value resolved; a value that cannot be is `invalid` after a complaint.
    mutating func resolve(_ node: ManifestNode) -> ManifestNode {
        var node = node
        switch node.content {
        case .null, .invalid:
            break
        case .scalar(let scalar):
            guard scalar.text.contains("$") else { break }
            if let resolved = self.resolve(scalar.text, at: node.location) {
                node.content = .scalar(resolved)
            } else {
                node.content = .invalid
            }
        case .sequence(let items):
            node.content = .sequence(items.map { self.resolve($0) })
        case .mapping(let entries):
            node.content = .mapping(
                entries.map { entry in
                    var entry = entry
                    entry.value = self.resolve(entry.value)
                    return entry
                }
            )
        }
        return node
    }

    private mutating func resolve(_ text: String, at location: Location) -> ManifestNode.Scalar? {
        var cursor = Cursor(Array(text.unicodeScalars))
        var isSecret = false
        guard let result = self.expand(&cursor, nested: false, depth: 0, secret: &isSecret, at: location) else {
            return nil
        }
        let isOptional = text.wholeMatch(of: /\$\{[A-Za-z_][A-Za-z0-9_]*:?-\}/) != nil
        return .init(text: result, isSecret: isSecret, isOptional: isOptional, written: text)
    }

    /// Reads to the end, or to the `}` that ends a default.
    private mutating func expand(
        _ cursor: inout Cursor,
        nested: Bool,
        depth: Int,
        secret: inout Bool,
        at location: Location
    ) -> String? {
        var result = String.UnicodeScalarView()
        while let scalar = cursor.next() {
            if nested, scalar == "}" {
                return String(result)
            }
            guard scalar == "$" else {
                result.append(scalar)
                continue
            }
            switch cursor.peek {
            case "$":
                cursor.skip()
                result.append("$")
            case "{":
                cursor.skip()
                guard depth < 16 else {
                    self.complain(
                        at: location,
                        "defaults of variables are nested too deeply",
                        remedy: "name the default itself"
                    )
                    return nil
                }
                guard let value = self.variable(&cursor, depth: depth, secret: &secret, at: location) else {
                    return nil
                }
                result.append(contentsOf: value.unicodeScalars)
            case .some(let next) where Self.startsName(next):
                let name = cursor.name()
                self.complain(
                    at: location,
                    "'$\(name)' is not replaced: a variable is written in braces",
                    remedy: "write '${\(name)}', or '$$\(name)' for the text itself"
                )
                return nil
            default:
                result.append("$")
            }
        }
        guard !nested else {
            self.complain(
                at: location,
                "'${' without its '}'",
                remedy: "close the brace, or write '$${' for the text itself"
            )
            return nil
        }
        return String(result)
    }

    /// What follows `${`.
    private mutating func variable(
        _ cursor: inout Cursor,
        depth: Int,
        secret: inout Bool,
        at location: Location
    ) -> String? {
        let name = cursor.name()
        guard !name.isEmpty else {
            self.complain(
                at: location,
                "'${' is not followed by a variable's name",
                remedy: "write '${NAME}' with letters, digits and '_', or '$${' for the text itself"
            )
            return nil
        }
        self.variables.insert(name)
        secret = secret || Secrets.isSecret(name: name)
        let value = self.environment[name]
        var filled = value.flatMap { $0.isEmpty ? nil : $0 }
        let form = cursor.form()
        if !form.hasSuffix("-") { self.neededVariables.insert(name) }
        switch form {
        case "}":
            guard let value else {
                self.complain(
                    at: location,
                    "the variable '\(name)' is not set",
                    remedy: "set it in the shell, or give a default: '${\(name):-default}'"
                )
                return nil
            }
            return value
        case ":-", "-":
            if form == "-" { filled = value }
            var ignored = false
            guard
                let fallback = self.expandDefault(
                    &cursor,
                    used: filled == nil,
                    depth: depth,
                    secret: &ignored,
                    at: location
                )
            else { return nil }
            secret = secret || (ignored && filled == nil)
            return filled ?? fallback
        case ":?", "?":
            if form == "?" { filled = value }
            var ignored = false
            guard
                let message = self.expandDefault(
                    &cursor,
                    used: filled == nil,
                    depth: depth,
                    secret: &ignored,
                    at: location
                )
            else { return nil }
            guard let filled else {
                let state = value == nil ? "not set" : "empty"
                self.complain(
                    at: location,
                    "the variable '\(name)' is \(state)\(message.isEmpty ? "" : ": \(message)")",
                    remedy: "set it in the shell, for example: \(name)=... dynamo-launch"
                )
                return nil
            }
            return filled
        case ":+", "+":
            if form == "+" { filled = value }
            return self.expandDefault(&cursor, used: filled != nil, depth: depth, secret: &secret, at: location)
        default:
            self.complain(
                at: location,
                "'${\(name)' is followed by '\(Spelling.excerpt(form, limit: 4))', which is no known form",
                remedy:
                    "the forms are ${\(name)}, ${\(name):-default}, ${\(name)-default}, ${\(name):?message} and ${\(name):+text}"
            )
            return nil
        }
    }

    /// A default, message or text that is not used must be well formed, but its variables need not be set.
    private mutating func expandDefault(
        _ cursor: inout Cursor,
        used: Bool,
        depth: Int,
        secret: inout Bool,
        at location: Location
    ) -> String? {
        if used {
            return self.expand(&cursor, nested: true, depth: depth + 1, secret: &secret, at: location)
        }
        var open = 1
        while let scalar = cursor.next() {
            if scalar == "$", cursor.peek == "{" {
                cursor.skip()
                open += 1
            } else if scalar == "}" {
                open -= 1
                if open == 0 { return "" }
            }
        }
        self.complain(
            at: location,
            "'${' without its '}'",
            remedy: "close the brace, or write '$${' for the text itself"
        )
        return nil
    }

    private mutating func complain(at location: Location, _ message: String, remedy: String) {
        self.diagnostics.append(Diagnostic(at: location, message, remedy: remedy))
    }

    static func startsName(_ scalar: Unicode.Scalar) -> Bool {
        ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || scalar == "_"
    }

    static func continuesName(_ scalar: Unicode.Scalar) -> Bool {
        self.startsName(scalar) || ("0"..."9").contains(scalar)
    }
}

/// A place in a text.
private struct Cursor {
    private let scalars: [Unicode.Scalar]
    private var index = 0

    init(_ scalars: [Unicode.Scalar]) {
        self.scalars = scalars
    }

    var peek: Unicode.Scalar? { self.index < self.scalars.count ? self.scalars[self.index] : nil }

    mutating func next() -> Unicode.Scalar? {
        guard let scalar = self.peek else { return nil }
        self.index += 1
        return scalar
    }

    mutating func skip() {
        self.index += 1
    }

    /// As much of a variable's name as is here.
    mutating func name() -> String {
        var name = String.UnicodeScalarView()
        while let scalar = self.peek,
            name.isEmpty ? Interpolation.startsName(scalar) : Interpolation.continuesName(scalar)
        {
            name.append(scalar)
            self.index += 1
        }
        return String(name)
    }

    /// The operator after a name: one or two characters.
    mutating func form() -> String {
        guard let first = self.next() else { return "" }
        guard first == ":", let second = self.next() else { return String(first) }
        return String(first) + String(second)
    }
}
