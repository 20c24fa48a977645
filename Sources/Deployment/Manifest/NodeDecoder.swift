/// Reads typed values from nodes and collects what is wrong with them.
///
/// Every reader returns nil after a complaint (or in silence, when the node is `invalid`).
struct NodeDecoder {
    private(set) var diagnostics: [Diagnostic] = []

    mutating func error(at location: Location, _ message: String, remedy: String?) {
        self.diagnostics.append(Diagnostic(at: location, message, remedy: remedy))
    }

    mutating func append(_ diagnostics: [Diagnostic]) {
        self.diagnostics += diagnostics
    }

    // MARK: Mappings and lists

    /// The entries of a mapping with known keys.
    mutating func fields(_ node: ManifestNode, of what: String, keys: [String]) -> [String: ManifestNode.Entry]? {
        guard let entries = self.entries(node, what) else { return nil }
        var fields: [String: ManifestNode.Entry] = [:]
        for entry in entries {
            if keys.contains(entry.key) {
                fields[entry.key] = entry
            } else {
                self.unknownKey(entry, of: what, keys: keys)
            }
        }
        return fields
    }

    mutating func unknownKey(_ entry: ManifestNode.Entry, of what: String, keys: [String]) {
        let nearest = Spelling.nearest(to: entry.key, among: keys)
        self.error(
            at: entry.keyLocation,
            "unknown key '\(Spelling.excerpt(entry.key))' in \(what)",
            remedy: nearest.map { "write '\($0)'" } ?? "the keys here are \(keys.joined(separator: ", "))"
        )
    }

    /// The entries of a mapping with free keys.
    mutating func entries(_ node: ManifestNode, _ what: String) -> [ManifestNode.Entry]? {
        switch node.content {
        case .mapping(let entries): return entries
        case .invalid: return nil
        default:
            self.wrongType(node, what, wanted: "a mapping", remedy: "write 'key: value' lines, indented under it")
            return nil
        }
    }

    mutating func items(_ node: ManifestNode, _ what: String) -> [ManifestNode]? {
        switch node.content {
        case .sequence(let items): return items
        case .invalid: return nil
        default:
            self.wrongType(node, what, wanted: "a list", remedy: "write [a, b], or one '- item' line each")
            return nil
        }
    }

    // MARK: Scalars

    mutating func scalar(
        _ node: ManifestNode,
        _ what: String,
        wanted: String = "a text"
    ) -> Located<ManifestNode.Scalar>? {
        switch node.content {
        case .scalar(let scalar): return Located(scalar, node.location)
        case .invalid: return nil
        default:
            self.wrongType(node, what, wanted: wanted, remedy: nil)
            return nil
        }
    }

    /// A text that is not empty.
    mutating func text(_ node: ManifestNode, _ what: String) -> Located<String>? {
        guard let scalar = self.scalar(node, what) else { return nil }
        let text = scalar.value.text
        guard text.contains(where: { !$0.isWhitespace }) else {
            self.error(at: node.location, "\(what) is empty", remedy: "write a text, or remove the key")
            return nil
        }
        guard !text.unicodeScalars.contains(where: { $0.value == 0 }) else {
            self.error(at: node.location, "\(what) contains a NUL character", remedy: "remove it")
            return nil
        }
        return Located(text, node.location)
    }

    mutating func texts(_ node: ManifestNode, _ what: String) -> [Located<String>] {
        guard let items = self.items(node, what) else { return [] }
        return items.compactMap { self.text($0, "an item of \(what)") }
    }

    /// A text that may have `{{...}}` in it, which may use the given names.
    mutating func template(_ node: ManifestNode, _ what: String, names: [String]) -> Located<Template>? {
        guard let scalar = self.scalar(node, what) else { return nil }
        return self.template(scalar, what, names: names)
    }

    mutating func template(
        _ scalar: Located<ManifestNode.Scalar>,
        _ what: String,
        names: [String]
    ) -> Located<Template>? {
        guard !scalar.value.text.unicodeScalars.contains(where: { $0.value == 0 }) else {
            self.error(at: scalar.location, "\(what) contains a NUL character", remedy: "remove it")
            return nil
        }
        do throws(Template.Failure) {
            var template = try TemplateParser.parse(scalar.value.text)
            template.isSecret = scalar.value.isSecret
            template.isOptional = scalar.value.isOptional
            template.written = scalar.value.written ?? scalar.value.text
            for name in template.names where !names.contains(name) {
                let nearest = Spelling.nearest(to: name, among: names)
                self.error(
                    at: scalar.location,
                    "unknown name '\(Spelling.excerpt(name))' in '{{...}}'",
                    remedy: nearest.map { "write '{{\($0)}}'" }
                        ?? (names.isEmpty
                            ? "no names can be used here" : "the names here are \(names.joined(separator: ", "))")
                )
                return nil
            }
            return Located(template, scalar.location)
        } catch {
            self.error(at: scalar.location, error.message, remedy: error.remedy)
            return nil
        }
    }

    mutating func integer(_ node: ManifestNode, _ what: String, in range: ClosedRange<Int>) -> Located<Int>? {
        guard let scalar = self.scalar(node, what, wanted: "a whole number") else { return nil }
        guard let number = Int(scalar.value.text) else {
            self.error(
                at: node.location,
                "\(what) must be a whole number, not '\(scalar.value.shown)'",
                remedy: range.upperBound == Int.max
                    ? "write \(range.lowerBound) or more" : "write \(range.lowerBound) to \(range.upperBound)"
            )
            return nil
        }
        guard range.contains(number) else {
            self.error(
                at: node.location,
                "\(what) is \(number), which is out of range",
                remedy: range.upperBound == Int.max
                    ? "write \(range.lowerBound) or more" : "write \(range.lowerBound) to \(range.upperBound)"
            )
            return nil
        }
        return Located(number, node.location)
    }

    mutating func port(_ node: ManifestNode, _ what: String) -> Located<Int>? {
        self.integer(node, what, in: 1...65535)
    }

    mutating func boolean(_ node: ManifestNode, _ what: String) -> Bool? {
        guard let scalar = self.scalar(node, what, wanted: "true or false") else { return nil }
        switch scalar.value.text {
        case "true": return true
        case "false": return false
        default:
            self.error(
                at: node.location,
                "\(what) must be true or false, not '\(scalar.value.shown)'",
                remedy: "write true or false"
            )
            return nil
        }
    }

    /// A duration in seconds.
    mutating func duration(_ node: ManifestNode, _ what: String, allowsZero: Bool = false) -> Double? {
        guard let scalar = self.scalar(node, what, wanted: "a duration") else { return nil }
        guard let seconds = DurationText.seconds(scalar.value.text) else {
            self.error(
                at: node.location,
                "\(what) must be a duration, not '\(scalar.value.shown)'",
                remedy: "write 500ms, 10s, 2m or 1h, or a number of seconds"
            )
            return nil
        }
        guard seconds <= DurationText.limit, seconds > 0 || allowsZero else {
            self.error(
                at: node.location,
                seconds > 0 ? "\(what) is longer than a year" : "\(what) must be longer than 0",
                remedy: "write 500ms, 10s, 2m or 1h, or a number of seconds"
            )
            return nil
        }
        return seconds
    }

    /// One of the values of an enumeration.
    mutating func choice<Choice: CaseIterable & RawRepresentable<String>>(
        _ node: ManifestNode,
        _ what: String,
        _ type: Choice.Type
    ) -> Located<Choice>? {
        let words = Choice.allCases.map(\.rawValue)
        guard let scalar = self.scalar(node, what, wanted: Spelling.alternatives(words)) else { return nil }
        guard let choice = Choice(rawValue: scalar.value.text) else {
            let nearest = Spelling.nearest(to: scalar.value.text, among: words)
            self.error(
                at: node.location,
                "\(what) cannot be '\(scalar.value.shown)'",
                remedy: "write \(nearest.map { "'\($0)'" } ?? Spelling.alternatives(words))"
            )
            return nil
        }
        return Located(choice, node.location)
    }

    // MARK: Complaints

    mutating func wrongType(_ node: ManifestNode, _ what: String, wanted: String, remedy: String?) {
        switch node.content {
        case .invalid:
            break
        case .null:
            self.error(at: node.location, "\(what) has no value", remedy: "write \(wanted), or remove the key")
        default:
            self.error(
                at: node.location,
                "\(what) must be \(wanted), not \(node.kind)",
                remedy: remedy ?? "write \(wanted)"
            )
        }
    }
}

/// Durations as people write them.
package enum DurationText {
    /// A year.
    package static let limit = 366.0 * 86400

    /// Seconds, or nil when the text is no duration.
    package static func seconds(_ text: String) -> Double? {
        let digits = text.prefix { ("0"..."9").contains($0) || $0 == "." }
        let factor: Double
        switch text[digits.endIndex...] {
        case "ms": factor = 0.001
        case "", "s": factor = 1
        case "m": factor = 60
        case "h": factor = 3600
        default: return nil
        }
        guard digits.first != ".", digits.last != ".", digits.count <= 20, let number = Double(digits) else {
            return nil
        }
        return factor == 0.001 ? number / 1000 : number * factor
    }
}
