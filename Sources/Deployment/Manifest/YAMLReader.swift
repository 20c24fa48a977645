import Yams

/// Reads YAML into a tree of nodes with positions.
///
/// Refuses what a manifest has no use for (anchors, aliases, merge keys, tags).
struct YAMLReader {
    /// Deeper than any manifest; keeps the recursion of those who read the tree small.
    private static let depthLimit = 40
    /// Each duplicate key costs one more parse.
    private static let duplicateLimit = 25

    private let file: String
    private(set) var diagnostics: [Diagnostic] = []
    /// Keys that were masked because the parser stops at the first duplicate: the place and the name that was there.
    private var masked: [Location: String] = [:]

    init(file: String) {
        self.file = file
    }

    /// The root of the only document, or nil after a complaint.
    mutating func read(_ text: String) -> ManifestNode? {
        var scalars = Array(text.unicodeScalars)
        if scalars.first == "\u{FEFF}" {
            scalars.removeFirst()
        }
        guard self.accepts(scalars) else { return nil }
        guard let (root, parser) = self.compose(scalars) else { return nil }
        // Nodes refer to their anchors weakly; the parser owns them.
        return withExtendedLifetime(parser) { self.convert(root, depth: 0) }
    }

    // MARK: Before the parser

    /// Refuses what would keep the parser busy for ever: aliases multiply in keys, which it compares.
    private mutating func accepts(_ scalars: [Unicode.Scalar]) -> Bool {
        var aliases = 0
        var anchors = 0
        var line = 1
        var column = 1
        var previous: Unicode.Scalar = "\n"
        for (index, scalar) in scalars.enumerated() {
            if scalar == "*" || scalar == "&", " \t\n[{,:?-".unicodeScalars.contains(previous),
                index + 1 < scalars.count, scalars[index + 1].properties.isAlphabetic || scalars[index + 1] == "_"
            {
                if scalar == "*" { aliases += 1 } else { anchors += 1 }
                if aliases >= 16, anchors >= 1 {
                    self.refuseAnchor(at: Location(file: self.file, line: line, column: column), "aliases (*name)")
                    return false
                }
            }
            if scalar == "\n" {
                line += 1
                column = 1
            } else {
                column += 1
            }
            previous = scalar
        }
        return true
    }

    private mutating func refuseAnchor(at location: Location, _ what: String) {
        self.diagnostics.append(
            Diagnostic(
                at: location,
                "\(what) are not supported in a manifest",
                remedy: "write the value out; what all processes share belongs under the top-level 'env'"
            )
        )
    }

    // MARK: The parser

    private mutating func compose(_ original: [Unicode.Scalar]) -> (Yams.Node, Yams.Parser)? {
        var scalars = original
        while true {
            do {
                var text = String.UnicodeScalarView()
                text.append(contentsOf: scalars)
                let parser = try Yams.Parser(yaml: String(text), resolver: .basic, encoding: .utf8)
                guard let node = try parser.singleRoot() else {
                    self.complain(line: 1, column: 1, "the manifest is empty", remedy: Self.example)
                    return nil
                }
                return (node, parser)
            } catch YamlError.duplicatedKeysInMapping(let duplicates, let context) {
                guard self.masked.count < Self.duplicateLimit, let key = duplicates.first,
                    self.mask(key, at: context.mark, in: &scalars)
                else {
                    let key = duplicates.first.map { "key '\(Spelling.excerpt($0))'" } ?? "a key"
                    self.complain(
                        line: context.mark.line,
                        column: context.mark.column,
                        "\(key) is given twice in one mapping",
                        remedy: "keep one of the two"
                    )
                    return nil
                }
            } catch let error as YamlError {
                self.report(error, scalars)
                return nil
            } catch {
                self.complain(line: 1, column: 1, "the file cannot be read as YAML: \(error)", remedy: nil)
                return nil
            }
        }
    }

    /// Replaces the key by a text of the same length that occurs nowhere else, so that parsing can go on.
    private mutating func mask(_ key: String, at mark: Mark, in scalars: inout [Unicode.Scalar]) -> Bool {
        guard !key.isEmpty, var index = Self.index(of: mark, in: scalars) else { return false }
        if scalars[index] == "\"" || scalars[index] == "'" {
            index += 1
        }
        let name = Array(key.unicodeScalars)
        guard index + name.count <= scalars.count, Array(scalars[index..<index + name.count]) == name,
            let replacement = Unicode.Scalar(UInt32(0xE000 + self.masked.count))
        else { return false }
        for offset in name.indices {
            scalars[index + offset] = replacement
        }
        self.masked[self.location(mark)] = key
        return true
    }

    private static func index(of mark: Mark, in scalars: [Unicode.Scalar]) -> Int? {
        var line = 1
        var index = 0
        while line < mark.line {
            guard index < scalars.count else { return nil }
            if scalars[index] == "\n" || scalars[index] == "\u{2028}" || scalars[index] == "\u{2029}"
                || scalars[index] == "\u{85}"
                || (scalars[index] == "\r" && (index + 1 == scalars.count || scalars[index + 1] != "\n"))
            {
                line += 1
            }
            index += 1
        }
        index += mark.column - 1
        return index < scalars.count ? index : nil
    }

    private mutating func report(_ error: YamlError, _ scalars: [Unicode.Scalar]) {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            self.report(context: context, problem: problem, mark: mark, scalars)
        case .reader(let problem, let offset, let value, _):
            var line = 1
            var column = 1
            // The offset counts characters of the text.
            var text = String.UnicodeScalarView()
            text.append(contentsOf: scalars)
            for character in String(text).prefix(offset ?? 0) {
                if character.isNewline {
                    line += 1
                    column = 1
                } else {
                    column += character.unicodeScalars.count
                }
            }
            let what = value >= 0 ? " (U+\(String(String(value + 0x10000, radix: 16, uppercase: true).suffix(4))))" : ""
            self.complain(
                line: line,
                column: column,
                "a character that YAML does not allow: \(problem)\(what)",
                remedy: "delete it, or write it as an escape in double quotes"
            )
        default:
            self.complain(line: 1, column: 1, "the file cannot be read as YAML", remedy: nil)
        }
    }

    private mutating func report(
        context: YamlError.Context?,
        problem: String,
        mark: Mark,
        _ scalars: [Unicode.Scalar]
    ) {
        if problem.contains("another document") {
            self.complain(
                line: mark.line,
                column: mark.column,
                "the file has a second YAML document",
                remedy: "one file is one deployment: delete the '---' line or split the file"
            )
        } else if problem.contains("undefined alias") {
            self.refuseAnchor(at: self.location(mark), "aliases (*name)")
        } else if let index = Self.index(of: mark, in: scalars), scalars[index] == "\t" {
            self.complain(
                line: mark.line,
                column: mark.column,
                "a tab is used for indentation, which YAML does not allow",
                remedy: "indent with spaces"
            )
        } else if problem.hasPrefix("Maximum nesting level") {
            self.tooDeep(at: self.location(mark))
        } else {
            var message = "this is not YAML: \(problem)"
            if let context {
                message += " \(context.text)"
                if context.mark.line != mark.line, !context.text.isEmpty {
                    message += " that begins in line \(context.mark.line), column \(context.mark.column)"
                }
            }
            self.complain(
                line: mark.line,
                column: mark.column,
                message,
                remedy: "check quotes, brackets and indentation here and in the line above"
            )
        }
    }

    private mutating func tooDeep(at location: Location) {
        self.diagnostics.append(
            Diagnostic(
                at: location,
                "nested more than \(Self.depthLimit) levels deep",
                remedy: "no key of a manifest needs more than six levels; check the brackets"
            )
        )
    }

    // MARK: After the parser

    private mutating func convert(_ node: Yams.Node, depth: Int) -> ManifestNode {
        let location = node.mark.map { self.location($0) } ?? Location(file: self.file, line: 1, column: 1)
        let invalid = ManifestNode(location: location, content: .invalid)
        if node.anchor != nil {
            self.refuseAnchor(at: location, "anchors (&name) and aliases (*name)")
            return invalid
        }
        guard depth < Self.depthLimit else {
            self.tooDeep(at: location)
            return invalid
        }
        switch node {
        case .scalar(let scalar):
            return self.convert(scalar, location: location)
        case .sequence(let sequence):
            guard self.accepts(tag: sequence.tag, at: location) else { return invalid }
            return ManifestNode(
                location: location,
                content: .sequence(sequence.map { self.convert($0, depth: depth + 1) })
            )
        case .mapping(let mapping):
            guard self.accepts(tag: mapping.tag, at: location) else { return invalid }
            return ManifestNode(location: location, content: .mapping(self.convert(mapping, depth: depth)))
        case .alias:
            self.refuseAnchor(at: location, "aliases (*name)")
            return invalid
        }
    }

    private mutating func convert(_ scalar: Yams.Node.Scalar, location: Location) -> ManifestNode {
        guard self.accepts(tag: scalar.tag, at: location) else {
            return ManifestNode(location: location, content: .invalid)
        }
        if scalar.style == .plain, ["", "~", "null", "Null", "NULL"].contains(scalar.string) {
            return ManifestNode(location: location, content: .null)
        }
        return ManifestNode(location: location, content: .scalar(.init(text: scalar.string)))
    }

    private mutating func accepts(tag: Tag, at location: Location) -> Bool {
        let known: [Tag.Name] = [.implicit, .nonSpecific, .str, .seq, .map]
        if known.contains(where: { $0.rawValue == tag.rawValue }) { return true }
        self.diagnostics.append(
            Diagnostic(
                at: location,
                "YAML tags ('\(Spelling.excerpt(tag.rawValue))') are not supported in a manifest",
                remedy: "delete the tag; the key decides the type of its value"
            )
        )
        return false
    }

    private mutating func convert(_ mapping: Yams.Node.Mapping, depth: Int) -> [ManifestNode.Entry] {
        var entries: [ManifestNode.Entry] = []
        var places: [String: Location] = [:]
        for pair in mapping {
            let value = self.convert(pair.value, depth: depth + 1)
            let location = pair.key.mark.map { self.location($0) } ?? value.location
            guard case .scalar(let scalar) = pair.key, pair.key.anchor == nil else {
                if pair.key.anchor != nil {
                    self.refuseAnchor(at: location, "anchors (&name) and aliases (*name)")
                } else {
                    self.diagnostics.append(
                        Diagnostic(
                            at: location,
                            "a key must be a text, not a list or a mapping",
                            remedy: "quote it if it is meant as a text"
                        )
                    )
                }
                continue
            }
            let key = self.masked[location] ?? scalar.string
            if key == "<<", scalar.style == .plain {
                self.refuseAnchor(at: location, "merge keys (<<)")
                continue
            }
            if let first = places[key] {
                self.diagnostics.append(
                    Diagnostic(
                        at: location,
                        "key '\(Spelling.excerpt(key))' is given twice; the first is in line \(first.line)",
                        remedy: "keep one of the two"
                    )
                )
                continue
            }
            places[key] = location
            entries.append(.init(key: key, keyLocation: location, value: value))
        }
        return entries
    }

    // MARK: Positions

    private func location(_ mark: Mark) -> Location {
        Location(file: self.file, line: mark.line, column: mark.column)
    }

    private mutating func complain(line: Int, column: Int, _ message: String, remedy: String?) {
        self.diagnostics.append(
            Diagnostic(at: Location(file: self.file, line: line, column: column), message, remedy: remedy)
        )
    }

    static let example =
        "start with 'name: my-deployment' and a 'processes' mapping; 'launch/embedded.yaml' is an example"
}
